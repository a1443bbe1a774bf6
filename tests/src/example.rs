//! The example in a cluster: pushed from the host, run by a kubelet; and what a cluster of somebody else was like before.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bed::Cluster;
use crate::http::{Connection, Request};
use crate::talk::until;

/// The example: an image to push and to run, and its manifests.
pub const DIRECTORY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/examples/python-server"
);

/// Its name in the registry at this port, for docker on the host and for pods alike.
#[must_use]
pub fn image(port: u16) -> String {
    format!("localhost:{port}/python-server")
}

/// Builds it.
///
/// # Errors
/// Docker cannot.
pub fn build(cluster: &Cluster, image: &str) -> Result<()> {
    cluster
        .docker(&["build", "--tag", image, DIRECTORY])
        .map(drop)
}

/// Builds and pushes it.
///
/// # Errors
/// Docker cannot.
pub fn push(cluster: &Cluster, image: &str) -> Result<()> {
    build(cluster, image)?;
    cluster.docker(&["push", image]).map(drop)
}

/// Runs a pod of an image, as the registry has it.
///
/// # Errors
/// It does not become ready.
pub fn run(cluster: &Cluster, pod: &str, image: &str) -> Result<()> {
    let image = format!("--image={image}");
    cluster.kubectl(&["run", pod, &image, "--image-pull-policy=Always"])?;
    let pod = format!("pod/{pod}");
    let wait = ["wait", "--for=condition=Ready", &pod, "--timeout=120s"];
    cluster.kubectl(&wait).map(drop)
}

/// A DaemonSet called `everywhere` that runs an image on every node, the control plane's as well, as the registry has it.
#[must_use]
pub fn everywhere(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "everywhere", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "everywhere"}},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": {"app": "everywhere"}},
                "spec": {
                    "tolerations": [{"operator": "Exists"}],
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "example",
                        "image": image,
                        "imagePullPolicy": "Always",
                        "readinessProbe": {
                            "httpGet": {"path": "/", "port": 8080},
                            "periodSeconds": 1,
                        },
                    }],
                },
            },
        },
    })
}

/// The status of an answer from the host's side.
///
/// # Errors
/// Nothing answers.
pub fn get(port: u16, path: &str) -> Result<u16> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Ok(Connection::open(address)?
        .send(Request::new("GET", path))?
        .status)
}

/// Waits until the registry answers on the host's side: nodes may have to come up again before.
///
/// # Errors
/// It still does not after ten minutes.
pub fn until_answered(port: u16) -> Result<()> {
    until(Duration::from_secs(600), &200, || {
        Ok(get(port, "/").unwrap_or(0))
    })
}

/// What the cluster says about its registry (KEP-1755).
///
/// # Errors
/// It says nothing.
pub fn hosting(cluster: &Cluster) -> Result<String> {
    let map = [
        "configmap",
        "local-registry-hosting",
        "--namespace=kube-public",
    ];
    let map: Value = cluster.get(&map)?;
    let text = map["data"]["localRegistryHosting.v1"].as_str();
    Ok(text.context("no KEP-1755")?.to_owned())
}

/// What wharf must not change for good in a cluster of somebody else, and mostly not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The first node's identity.
    pub node: String,
    /// The configuration of what runs its containers.
    pub runtime: String,
    hosts: String,
    images: BTreeSet<String>,
    namespaces: String,
    containers: BTreeSet<String>,
}

impl Shape {
    /// Looks at a cluster.
    ///
    /// # Errors
    /// It does not answer, or nobody knows what runs its containers.
    pub fn of(cluster: &Cluster) -> Result<Self> {
        let nodes = cluster.nodes()?;
        let node = nodes.first().context("no nodes")?;
        let on_node = |command: &[&str]| cluster.docker(&[&["exec", node], command].concat());
        let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let namespaces = "--output=jsonpath={.items[*].metadata.name}";
        let named = format!("name=^{}", cluster.name());
        let all = ["ps", "--all", "--filter", &named, "--format", "{{.Names}}"];
        let version = "--output=jsonpath={.items[0].status.nodeInfo.containerRuntimeVersion}";
        let version = cluster.kubectl(&["get", "nodes", version])?;
        let runtime = version.split(':').next().unwrap_or_default();
        let (hash, directories, images): (&[&str], &[&str], &[&str]) = match runtime {
            "containerd" => (
                &["sha256sum", "/etc/containerd/config.toml"],
                &["ls", "-R", "/etc/containerd/certs.d"],
                &["ctr", "--namespace=k8s.io", "images", "ls"],
            ),
            "docker" => (
                &[
                    "sha256sum",
                    "/etc/docker/daemon.json",
                    "/lib/systemd/system/docker.service",
                ],
                &["ls", "-R", "/etc/docker", "/etc/containerd/certs.d"],
                // What has lost its name is still there.
                &["docker", "image", "ls", "--format", DOCKER_COLUMNS],
            ),
            other => bail!("nodes with {other}"),
        };
        Ok(Self {
            node: cluster.docker(&["container", "inspect", "--format", "{{.Id}}", node])?,
            runtime: on_node(hash)?,
            hosts: on_node(directories)?,
            images: without_example(&on_node(images)?),
            namespaces: cluster.kubectl(&["get", "namespaces", namespaces])?,
            containers: lines(cluster.docker(&all)?),
        })
    }
}

/// An image as containerd's client lists it, under a heading: its name, something else, and what identifies it.
const DOCKER_COLUMNS: &str = "table {{.Repository}}:{{.Tag}}\t-\t{{.ID}}";

/// The images of a node, but for the example's, under whatever name: that was pulled on somebody's behalf.
fn without_example(table: &str) -> BTreeSet<String> {
    let columns = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        (columns[0].clone(), columns[2].clone())
    };
    let images: Vec<_> = table.lines().skip(1).map(columns).collect();
    let examples: Vec<_> = images
        .iter()
        .filter(|(name, _)| name.contains("python-server"))
        .map(|(_, digest)| digest)
        .collect();
    let others = images
        .iter()
        .filter(|(_, digest)| !examples.contains(&digest));
    others.map(|(name, _)| name.clone()).collect()
}
