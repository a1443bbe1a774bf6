//! The registry's pod has to go.

use anyhow::{Result, ensure};
use serde_json::json;

use super::world::World;

/// As the cluster's own autoscalers and operators do it.
pub(crate) fn evicted(world: &World) -> Result<()> {
    let (pod, _) = world.registry()?;
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": "wharf-system"},
    });
    let file = world.cluster.dir().join("eviction.json");
    std::fs::write(&file, eviction.to_string())?;
    let (file, path) = (
        file.display().to_string(),
        format!("/api/v1/namespaces/wharf-system/pods/{pod}/eviction"),
    );
    let create = ["create", "--raw", &path, "--filename", &file];
    world.cluster.kubectl(&create)?;
    world.works()?;
    let (now, _) = world.registry()?;
    ensure!(now != pod, "{pod} was not evicted");
    Ok(())
}

/// The registry moves to the other node, where its images are as well.
pub(crate) fn drained(world: &World) -> Result<()> {
    let (_, node) = world.registry()?;
    let images = world.ask("/v2/_catalog")?.swap_remove(0).json()?;
    let tags = world.ask("/v2/python-server/tags/list")?.swap_remove(0);
    let drain = [
        "drain",
        &node,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--force",
        "--timeout=180s",
    ];
    world.cluster.kubectl(&drain)?;
    world.works()?;
    let (_, now) = world.registry()?;
    ensure!(now != node, "the registry is on {node} still");
    let there = world.ask("/v2/_catalog")?.swap_remove(0).json()?;
    ensure!(there == images, "{there} of {images}");
    // Beside what has come since, everything that was there.
    let then = tags.json()?;
    let now = world.ask("/v2/python-server/tags/list")?.swap_remove(0);
    let now = now.json()?.to_string();
    for tag in then["tags"].as_array().into_iter().flatten() {
        ensure!(now.contains(&tag.to_string()), "no {tag} in {now}");
    }
    world.cluster.kubectl(&["uncordon", &node])?;
    Ok(())
}
