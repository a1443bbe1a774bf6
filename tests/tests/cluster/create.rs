//! `wharf up` makes the cluster, whatever stops it on the way.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use wharf_tests::command::{self, say};
use wharf_tests::content::Random;

use crate::up::Up;
use crate::world::{PATIENCE, World, until};

/// The step that makes the cluster, as events name it.
const CREATE: &str = "Create cluster";
/// Those after it, in order, up to where a first run ends.
const LATER: [&str; 6] = [
    "Wait for the nodes",
    "Bring wharf's image",
    "Tell containerd",
    "Ask the registry",
    "Keep wharf's image",
    "Prove it",
];
const INSTALL: &str = "Install the registry";

pub(crate) fn interrupted(world: &World) -> Result<()> {
    let mut up = Up::start(world)?;
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
        let mut up = Up::start(world)?;
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

pub(crate) fn killed_afterwards(world: &World) -> Result<()> {
    let seed = match std::env::var("WHARF_SEED") {
        Ok(seed) => seed.parse().context("WHARF_SEED is no number")?,
        Err(_) => u64::from(std::process::id()),
    };
    let mut random = Random::new(seed);
    let (first, moment) = (LATER[random.below(LATER.len())], random.below(1500));
    say(&format!(
        "cluster: killed at \"{first}\" and {moment} ms into the install, WHARF_SEED={seed}"
    ));

    let mut up = Up::start(world)?;
    up.reaches("Delete what is left")?;
    up.reaches(first)?;
    up.kill()?;
    let nodes = identities(world)?;

    let mut up = Up::start(world)?;
    up.reaches(INSTALL)?;
    // Any moment of it will do: this is the choice, and nothing is waited for.
    std::thread::sleep(Duration::from_millis(u64::try_from(moment)?));
    up.kill()?;

    let events = Up::start(world)?.succeeds()?;
    let made_anew = events.iter().any(|event| {
        let name = event["name"].as_str().unwrap_or_default();
        name.starts_with(CREATE) || name.starts_with("Delete")
    });
    ensure!(
        !made_anew && identities(world)? == nodes,
        "the cluster was made anew: {events:?}"
    );
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
fn has_begun(world: &World, up: &mut Up) -> Result<()> {
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

fn identities(world: &World) -> Result<String> {
    let nodes = world.nodes()?;
    let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
    world.docker(
        &[
            &["container", "inspect", "--format", "{{.Id}}"],
            nodes.as_slice(),
        ]
        .concat(),
    )
}
