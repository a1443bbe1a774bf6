//! What a registry takes in a cluster where `wharf up` does not bring it: wharf's image, and a volume.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::bed::Cluster;
use crate::{command, wharf};

const CONTAINERFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/Containerfile");
/// For what moves hundreds of megabytes.
const LONG: Duration = Duration::from_secs(600);
/// Where a volume is on its node.
const VOLUME: &str = "/var/wharf-test-volume";

/// Builds wharf's image from a folder that has the program and nothing else.
///
/// # Errors
/// Docker cannot.
pub fn build(cluster: &Cluster, tag: &str) -> Result<()> {
    let context = cluster.dir().join("context");
    std::fs::create_dir_all(&context)?;
    std::fs::copy(wharf::binary()?, context.join("wharf"))?;
    let context = context.display().to_string();
    cluster.docker(&["build", "--file", CONTAINERFILE, "--tag", tag, &context])?;
    Ok(())
}

/// Brings an image of docker's to the nodes of a kind cluster.
///
/// # Errors
/// kind cannot.
pub fn load(cluster: &Cluster, image: &str) -> Result<()> {
    let mut load = cluster.command("kind");
    load.args(["load", "docker-image", image, "--name", cluster.name()]);
    command::output(&mut load, LONG).map(drop)
}

/// A volume for the claim, where nobody makes one that the registry's user can write to: the bed's own nodes have the provisioner
/// of Kubernetes' tests, whose volumes are root's.
///
/// # Errors
/// The cluster does not take it.
pub fn make_volume(cluster: &Cluster, node: &str) -> Result<()> {
    let classes = cluster.get(&["storageclasses"])?;
    let class = classes["items"].get(0).unwrap_or(&Value::Null);
    if !class.is_null() && class["provisioner"] != "kubernetes.io/host-path" {
        return Ok(());
    }
    let make = [
        "exec",
        node,
        "install",
        "--directory",
        "--owner=65532",
        VOLUME,
    ];
    cluster.docker(&make)?;
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "wharf-test"},
        "spec": {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class["metadata"]["name"],
            "hostPath": {"path": VOLUME, "type": "Directory"},
            // On other nodes there is another directory of that name.
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    });
    cluster.apply(&volume)
}
