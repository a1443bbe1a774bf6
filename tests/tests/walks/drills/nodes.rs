//! Nodes that stop, and come again.

use anyhow::{Context, Result};
use wharf_tests::command::say;
use wharf_tests::is_long;

use super::world::World;

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
    let address = &world.cluster.addresses(node)?[0];
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
/// again by the restart policy that kind gave them. In the long run: an engine that is restarted ends them all as well (suite
/// `deploy`).
pub(crate) fn died_at_once(world: &World) -> Result<()> {
    if !is_long() {
        say(
            "drills: the nodes die at once with WHARF_LONG=1; here the engine ends them, when it is restarted",
        );
        return Ok(());
    }
    let before = world.cluster.inspected("{{.State.Pid}}")?;
    let image = world.cluster.inspected("{{.Image}}")?;
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
    world.cluster.are_started_anew(&before)?;
    world.works()
}
