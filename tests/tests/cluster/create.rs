//! `wharf up` makes the cluster, whatever stops it on the way.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use wharf_tests::command;
use wharf_tests::steps::Run;

use crate::world::{PATIENCE, World, until};

/// The step that makes the cluster, as events name it.
const CREATE: &str = "Create cluster";

pub(crate) fn interrupted(world: &World) -> Result<()> {
    let mut up = world.start_up()?;
    has_begun(world, &mut up)?;
    // As a terminal does it: everybody is told, and what the engine was asked for goes on.
    up.signal_all(Signal::INT)?;
    let status = up.ends()?;
    let said = up.errors()?;
    ensure!(status.code() == Some(130), "{status}: {said}");
    let go_on = format!(
        "`wharf up --name {}` again completes it",
        world.cluster.name()
    );
    ensure!(
        said.contains("interrupted") && said.contains(&go_on),
        "{said}"
    );
    // What is there is no cluster, and is called so.
    let status = command::finish(&mut world.wharf(&["status"])?, PATIENCE)?;
    ensure!(
        status.status.code() == Some(7) && status.stderr.contains("half-made"),
        "{status:?}"
    );
    Ok(())
}

pub(crate) fn killed_while_creating(world: &World) -> Result<()> {
    // A program that says something at the very moment of the kill has nobody to say it to, and ends
    // as well; then there is nothing to overtake, and another try is due.
    let mut tries = 0;
    let up = loop {
        tries += 1;
        let mut up = world.start_up()?;
        up.reaches("Delete what is left")?;
        has_begun(world, &mut up)?;
        up.kill()?;
        // What it has started is to be there still, however long the following takes here.
        match up.signal_all(Signal::STOP) {
            Ok(()) => break up,
            Err(error) if tries == 5 => return Err(error),
            Err(_) => {}
        }
    };
    // Who came in now would find a half-made cluster, and delete it under its maker's hands.
    let overtaking = command::finish(world.up()?.args(["--wait", "1s"]), PATIENCE)?;
    up.signal_all(Signal::CONT)?;
    ensure!(
        overtaking.status.code() == Some(6) && overtaking.stderr.contains("still works on"),
        "{overtaking:?}"
    );
    Ok(())
}

pub(crate) fn completed(world: &World) -> Result<()> {
    let mut up = world.start_up()?;
    up.reaches("Delete what is left")?;
    let events = up.succeeds()?;
    for event in &events[..events.len() - 1] {
        let is_event = matches!(event["state"].as_str(), Some("running" | "done"))
            && event["step"].as_u64() <= event["of"].as_u64();
        ensure!(is_event, "no event: {event}");
    }
    let result = &events.last().context("no events")?["result"];
    ensure!(
        result["name"] == world.cluster.name()
            && result["context"] == world.cluster.context()
            && result["registry"] == format!("localhost:{}", world.port)
            && result["nodes"] == 2,
        "{result}"
    );
    Ok(())
}

/// The port is taken now, by a container.
pub(crate) fn port_of_another(world: &World) -> Result<()> {
    let port = world.port.to_string();
    let data = world.cluster.dir().join("of-another");
    let mut up = world.wharf(&["up", "--name", "wharf-test-another", "--port", &port])?;
    let refused = command::finish(up.arg("--data").arg(&data), PATIENCE)?;
    let owner = format!("by the Docker container {}", world.nodes()?[0]);
    ensure!(
        refused.status.code() == Some(6)
            && refused.stderr.contains(&owner)
            && refused.stderr.contains("--port"),
        "{refused:?}"
    );
    ensure!(!data.exists(), "{} was made all the same", data.display());
    Ok(())
}

/// Waits until the cluster is being made: a node of it is there, and the step is not over.
fn has_begun(world: &World, up: &mut Run) -> Result<()> {
    up.reaches(CREATE)?;
    until("a node was made", || Ok(!world.nodes()?.is_empty()))?;
    let events = up.events()?;
    let last = events.last().context("no events")?;
    let is_creating = last["state"] == "running"
        && last["name"]
            .as_str()
            .is_some_and(|name| name.starts_with(CREATE));
    ensure!(
        is_creating,
        "it was to be stopped while it creates the cluster, and is at {last}"
    );
    Ok(())
}
