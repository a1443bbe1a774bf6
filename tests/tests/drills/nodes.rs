//! Nodes that stop, and come again.

use std::time::Duration;

use anyhow::{Context, Result};
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

/// What a machine that loses its power, or an engine that is killed, does to nodes: their first processes are gone at the same moment, and
/// the engine starts the containers again by the restart policy that kind gave them. The engine itself goes on here, because others use it;
/// so what it does when it comes up (it makes its network, proxies and rules anew, then starts containers by the same policy) is not covered.
pub(crate) fn died_at_once(world: &World) -> Result<()> {
    let nodes = world.cluster.nodes()?;
    let names: Vec<_> = nodes.iter().map(String::as_str).collect();
    let inspect = |format: &str| -> Result<String> {
        let inspect = ["container", "inspect", "--format", format];
        world.cluster.docker(&[&inspect[..], &names].concat())
    };
    let before = inspect("{{.State.Pid}} {{.State.StartedAt}}")?;
    let image = inspect("{{.Image}}")?;
    // Not `docker kill`: a container that was stopped by somebody is not started again. Nobody in a container can kill its first process,
    // and nobody outside need be root: so it is done from a container that sees all processes.
    let kill = [
        "run",
        "--rm",
        "--privileged",
        "--pid=host",
        "--entrypoint=kill",
    ];
    let image = [image.lines().next().context("no image")?, "-KILL"];
    let processes = before.lines().filter_map(|line| line.split(' ').next());
    let processes: Vec<_> = processes.collect();
    world
        .cluster
        .docker(&[&kill[..], &image, &processes].concat())?;
    let is_anew = || -> Result<bool> {
        let now = inspect("{{.State.Pid}} {{.State.StartedAt}}")?;
        let old: Vec<_> = before.lines().collect();
        let is_running = inspect("{{.State.Running}}")?
            .lines()
            .all(|is| is == "true");
        Ok(is_running && now.lines().all(|line| !old.contains(&line)))
    };
    until(Duration::from_secs(60), &true, is_anew).context("the engine starts them again")?;
    world.works()
}
