//! An engine that runs, and no cluster.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::bed::{Bed, Cluster, Tool};

use crate::{refused, said};

/// A name and directories for a cluster that is never to be made; should it be, it is removed.
pub(crate) struct Place {
    pub(crate) cluster: Cluster,
}

impl Place {
    pub(crate) fn new(suffix: &str) -> Result<Self> {
        let bed = Bed::ensure_with(&[Tool::Kind])?;
        Ok(Self {
            cluster: Cluster::reserve(&bed, suffix)?,
        })
    }

    /// Fails if there is a node, a record, a kubeconfig or a data directory.
    pub(crate) fn is_untouched(&self) -> Result<()> {
        let label = format!("label=io.x-k8s.kind.cluster={}", self.cluster.name());
        let mut docker = self.cluster.command("docker");
        let nodes = said(docker.args(["ps", "--all", "--quiet", "--filter", &label]))?;
        ensure!(nodes.is_empty(), "nodes were made: {nodes}");
        let record = format!("state/wharf/clusters/{}.json", self.cluster.name());
        for name in ["share", "kubeconfig", &record] {
            ensure!(!self.cluster.dir().join(name).exists(), "{name} was made");
        }
        Ok(())
    }
}

#[test]
fn a_dry_run_changes_nothing() -> Result<()> {
    let place = Place::new("cli-dry")?;
    let plan = ["up", "--dry-run", "--port", "5999", "--nodes", "3"];
    let text = said(&mut place.cluster.wharf(&plan)?)?;
    let data = place
        .cluster
        .dir()
        .join("share/wharf/clusters")
        .join(place.cluster.name());
    for part in [
        "3 nodes",
        "localhost:5999",
        "1. Create cluster",
        &data.display().to_string(),
    ] {
        ensure!(text.contains(part), "no \"{part}\" in\n{text}");
    }
    place.is_untouched()?;
    let json = said(place.cluster.wharf(&plan)?.args(["--output", "json"]))?;
    let json: Value = serde_json::from_str(&json)?;
    let steps = json["result"]["steps"].as_array().context("no steps")?;
    ensure!(steps.len() > 5 && steps[0] == "createCluster", "{json}");
    ensure!(
        json["result"]["port"] == 5999 && json["result"]["nodes"] == 3,
        "{json}"
    );
    place.is_untouched()
}

#[test]
fn images_may_be_kept_elsewhere() -> Result<()> {
    let place = Place::new("cli-storage")?;
    for (storage, words) in [
        ("pvc", "claim wharf-system/data"),
        ("emptydir", "the registry's pod alone"),
        ("host:/srv/images", "images in /srv/images"),
    ] {
        let plan = ["up", "--dry-run", "--port=5999", "--storage", storage];
        let text = said(&mut place.cluster.wharf(&plan)?)?;
        ensure!(text.contains(words), "{storage}: {text}");
        // Said twice, it must be the same.
        let both = [&plan[..], &["--data=/srv/images"]].concat();
        match storage.starts_with("host:") {
            true => drop(said(&mut place.cluster.wharf(&both)?)?),
            false => {
                let text = refused(&mut place.cluster.wharf(&both)?, 2)?;
                ensure!(text.contains("leave one of them out"), "{text}");
            }
        }
    }
    // In a cluster of somebody else a directory is a node's, which this machine need not have.
    let adopt = ["up", "--adopt", "--data=/srv/images"];
    let done = place.cluster.wharf(&adopt)?.output()?;
    ensure!(done.status.code() == Some(2), "{done:?}");
    place.is_untouched()
}

#[test]
fn a_cluster_that_is_not_there() -> Result<()> {
    let place = Place::new("cli-none")?;
    let text = refused(&mut place.cluster.wharf(&["status"])?, 5)?;
    let up = format!("`wharf up --name {}`", place.cluster.name());
    ensure!(text.contains("no cluster") && text.contains(&up), "{text}");
    let text = refused(&mut place.cluster.wharf(&["env"])?, 5)?;
    ensure!(text.contains("no cluster") && text.contains(&up), "{text}");
    let text = refused(&mut place.cluster.wharf(&["up", "--adopt"])?, 5)?;
    ensure!(text.contains("leave --adopt out"), "{text}");
    let text = said(&mut place.cluster.wharf(&["down"])?)?;
    ensure!(text.contains("There is no cluster"), "{text}");
    place.is_untouched()
}
