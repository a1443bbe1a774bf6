//! Nodes that stop, and come again.

use std::time::Duration;

use anyhow::{Context, Result};
use wharf_tests::command::say;
use wharf_tests::talk::until;

use crate::world::World;

pub(crate) fn worker_restarted(world: &World) -> Result<()> {
    let nodes = world.cluster.nodes()?;
    restart(world, nodes.last().context("no nodes")?)?;
    world.works()
}

/// Of the control plane itself, and of the port that the host has.
pub(crate) fn control_plane_restarted(world: &World) -> Result<()> {
    let nodes = world.cluster.nodes()?;
    restart(world, &nodes[0])?;
    world.works()
}

/// Stops a node and starts it, with the address that it had, now and from then on: Docker gives whatever is free, in the order in which nodes
/// start. To cope with another is for the node's image, as kind's own does; of the bed's, the control plane would not come up.
fn restart(world: &World, node: &str) -> Result<()> {
    let network = world.network();
    let format = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = world
        .cluster
        .docker(&["container", "inspect", format, node])?;
    let address = address.trim();
    for arguments in [
        &["stop", "--time=1", node][..],
        &["network", "disconnect", network, node],
        &["network", "connect", "--ip", address, network, node],
        &["start", node],
    ] {
        world.cluster.docker(arguments)?;
    }
    Ok(())
}

/// What a machine that loses its power does to nodes: their first processes are gone at the same moment, and the engine starts the containers
/// again by the restart policy that kind gave them.
pub(crate) fn died_at_once(world: &World) -> Result<()> {
    let before = inspected(world, "{{.State.Pid}}")?;
    let image = inspected(world, "{{.Image}}")?;
    // Not `docker kill`: a container that was stopped by somebody is not started again. Nobody in a container can kill its first process,
    // and nobody outside need be root: so it is done from a container that sees all processes.
    let kill = [
        "run",
        "--rm",
        "--privileged",
        "--pid=host",
        "--entrypoint=kill",
    ];
    let image = [image.first().context("no image")?, "-KILL"];
    let processes: Vec<_> = before.iter().map(String::as_str).collect();
    world
        .cluster
        .docker(&[&kill[..], &image, &processes].concat())?;
    are_started_anew(world, &before)?;
    world.works()
}

/// The engine stops all nodes, and starts them when it has made its network, proxies and rules anew. By the policy that kind gives them
/// (`on-failure:1`) it does so once after somebody has started them, as `up` has done before this.
pub(crate) fn engine_restarted(world: &World) -> Result<()> {
    let before = inspected(world, "{{.State.Pid}}")?;
    if !world.restart_engine()? {
        say("drills: the engine is not the tests' own, and was not restarted");
        return Ok(());
    }
    are_started_anew(world, &before)?;
    world.works()
}

/// What the engine says of each node.
fn inspected(world: &World, format: &str) -> Result<Vec<String>> {
    let nodes = world.cluster.nodes()?;
    let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
    let inspect = ["container", "inspect", "--format", format];
    let said = world.cluster.docker(&[&inspect[..], &nodes].concat())?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// Waits until each node runs in another process than one of these.
fn are_started_anew(world: &World, before: &[String]) -> Result<()> {
    let are_anew = || -> Result<bool> {
        let now = inspected(world, "{{.State.Running}} {{.State.Pid}}")?;
        let is_anew = |line: &String| {
            let pid = line.strip_prefix("true ");
            pid.is_some_and(|pid| !before.iter().any(|old| old == pid))
        };
        Ok(now.iter().all(is_anew))
    };
    until(Duration::from_secs(60), &true, are_anew).context("the engine starts them again")
}
