//! The short way to the registry, through the API server alone, and what is done where it is closed.

use std::io::{Read, Write};

use anyhow::{Result, ensure};
use wharf_tests::talk::until;

use crate::api::Proxy;
use crate::{
    PATIENCE, Running, World, echo, echoes, echoes_much, fill, is_answered_after_its_end, server,
    slow_to_answer,
};

fn registry(world: &World, proxy: Proxy) -> Result<Running> {
    world.api.state().proxy = proxy;
    Running::start(world, &["run", ":5000"])
}

#[test]
fn every_byte_arrives_through_a_tunnel() -> Result<()> {
    let world = World::new(&[(8080, echo()?)])?;
    let forward = registry(&world, Proxy::Accepts)?;
    for round in 1..=2 {
        echoes_much(&mut forward.connect(0)?)?;
        ensure!(world.api.state().tunnels == round, "another way was taken");
    }
    Ok(())
}

#[test]
fn where_there_is_no_tunnel_there_is_the_longer_way() -> Result<()> {
    for proxy in [Proxy::Refuses, Proxy::Waits] {
        let world = World::new(&[(8080, echo()?)])?;
        let forward = registry(&world, proxy)?;
        echoes(&mut forward.connect(0)?, "by the longer way")?;
        // The same pod is not asked again at once: whoever waits would wait each time.
        world.api.state().proxy = Proxy::Accepts;
        echoes(&mut forward.connect(0)?, "by the longer way")?;
        ensure!(world.api.state().tunnels == 0, "{proxy:?}: a tunnel");
    }
    Ok(())
}

#[test]
fn what_a_pod_has_not_heard_is_said_to_the_next_through_its_tunnel() -> Result<()> {
    let world = World::new(&[(8080, echo()?)])?;
    let forward = registry(&world, Proxy::Refuses)?;
    world.api.state().refusals = usize::MAX;
    let mut stream = forward.connect(0)?;
    stream.write_all(b"said once")?;
    let before = world.api.state().lookups;
    until(PATIENCE, &true, || {
        Ok(world.api.state().lookups > before + 2)
    })?;
    {
        let mut state = world.api.state();
        state.replaced += 1;
        state.proxy = Proxy::Accepts;
    }
    let mut heard = [0; 9];
    stream.read_exact(&mut heard)?;
    ensure!(&heard == b"said once" && world.api.state().tunnels == 1);
    echoes(&mut stream, "and more")
}

/// Only registries know of tunnels: nothing that it does not understand is said to a user's own program.
#[test]
fn other_services_are_asked_for_no_tunnel() -> Result<()> {
    let world = World::new(&[(8080, echo()?)])?;
    world.api.state().proxy = Proxy::Accepts;
    let forward = Running::start(&world, &["app", ":80"])?;
    echoes(&mut forward.connect(0)?, "hello")?;
    ensure!(world.api.state().tunnels == 0, "a tunnel");
    Ok(())
}

#[test]
fn who_has_said_everything_is_still_answered_through_a_tunnel() -> Result<()> {
    let world = World::new(&[(8080, slow_to_answer()?)])?;
    let forward = registry(&world, Proxy::Accepts)?;
    is_answered_after_its_end(&mut forward.connect(0)?)
}

/// Downloads and uploads that nobody reads: they wait, hold little, and nobody waits for them.
#[test]
fn tunnels_that_stand_still_are_in_nobodys_way() -> Result<()> {
    let flood = server(|mut stream| {
        let mut first = [0; 1];
        let _ = stream.read_exact(&mut first);
        match first[0] {
            b'd' => drop(std::io::copy(&mut std::io::repeat(b'x'), &mut stream)),
            b'u' => std::thread::sleep(PATIENCE),
            _ => drop(stream.write_all(b"ok")),
        }
    })?;
    let world = World::new(&[(8080, flood)])?;
    let forward = registry(&world, Proxy::Accepts)?;
    let mut still = Vec::new();
    for _ in 0..12 {
        let mut download = forward.connect(0)?;
        download.write_all(b"d")?;
        let mut upload = forward.connect(0)?;
        fill(&mut upload, b'u')?;
        still.extend([download, upload]);
    }
    let kib = wharf_tests::wharf::kib(forward.child.id(), "VmHWM")?;
    ensure!(
        kib < 64 << 10,
        "{kib} KiB for 24 transfers that stand still"
    );
    let mut beside = forward.connect(0)?;
    beside.write_all(b"?")?;
    let mut answer = String::new();
    beside.read_to_string(&mut answer)?;
    ensure!(answer == "ok", "{answer}");
    Ok(())
}
