//! What happens to connections.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc;

use anyhow::{Context, Result, ensure};
use wharf_tests::http::{Connection, Request};
use wharf_tests::localhost;
use wharf_tests::talk::until;

use crate::api::Api;
use crate::{
    PATIENCE, Running, World, connect, echo, echoes, echoes_much, fill, is_answered_after_its_end,
    server, slow_to_answer,
};

#[test]
fn every_byte_arrives_in_both_families() -> Result<()> {
    let world = World::new(&[(8080, echo()?), (90, echo()?)])?;
    let forward = Running::start(&world, &["app", ":http", ":90"])?;
    ensure!(forward.addresses(0)?.len() == localhost::addresses().len());
    for address in [forward.addresses(0)?, forward.addresses(1)?].concat() {
        echoes_much(&mut connect(address)?).with_context(|| address.to_string())?;
    }
    Ok(())
}

/// Downloads that nobody reads and uploads that nobody reads: they wait, hold little, and nobody waits for them.
#[test]
fn transfers_that_stand_still_are_in_nobodys_way() -> Result<()> {
    let flood = server(|mut stream| {
        let _ = std::io::copy(&mut std::io::repeat(b'x'), &mut stream);
    })?;
    let deaf = server(|_stream| std::thread::sleep(PATIENCE))?;
    let world = World::new(&[(8080, echo()?), (90, flood), (91, deaf)])?;
    let forward = Running::start(&world, &["app", ":80", ":90"])?;
    let pod = Running::start(&world, &["pod/app-0", ":91"])?;
    let mut still = Vec::new();
    for _ in 0..12 {
        still.push(forward.connect(1)?);
        let mut upload = pod.connect(0)?;
        fill(&mut upload, b'x')?;
        still.push(upload);
    }
    for _ in 0..3 {
        echoes(&mut forward.connect(0)?, "hello")?;
    }
    for running in [&forward, &pod] {
        let kib = wharf_tests::wharf::kib(running.child.id(), "VmHWM")?;
        ensure!(
            kib < 64 << 10,
            "{kib} KiB for 12 transfers that stand still"
        );
    }
    // One that is given up goes, and so does its way: the rest does not notice.
    drop(still);
    echoes(&mut forward.connect(0)?, "hello")
}

#[test]
fn what_a_pod_has_not_heard_is_said_to_the_next() -> Result<()> {
    let world = World::new(&[(8080, echo()?)])?;
    let forward = Running::start(&world, &["app", ":80"])?;
    world.api.state().refusals = 2;
    let mut stream = forward.connect(0)?;
    echoes(&mut stream, "said once")?;
    ensure!(world.api.state().refusals == 0, "nobody refused it");
    echoes(&mut stream, "and more")
}

#[test]
fn a_connection_is_held_until_a_pod_is_ready() -> Result<()> {
    let world = World::new(&[(8080, echo()?)])?;
    let forward = Running::start(&world, &["app", ":80"])?;
    world.api.state().is_ready = false;
    let mut stream = forward.connect(0)?;
    let before = world.api.state().lookups;
    until(PATIENCE, &true, || {
        Ok(world.api.state().lookups > before + 2)
    })?;
    world.api.state().is_ready = true;
    echoes(&mut stream, "at last")
}

#[test]
fn whoever_waited_in_vain_for_the_registry_is_told_so() -> Result<()> {
    let world = World::new(&[])?;
    let forward = Running::start(&world, &["run", ":5000", "--hold", "1s"])?;
    world.api.state().is_ready = false;
    let answer = Connection::open(forward.addresses(0)?[0])?.send(Request::new("GET", "/v2/"))?;
    let code = answer.json()?["errors"][0]["code"].clone();
    ensure!(answer.status == 503 && code == "UNAVAILABLE", "{answer:?}");
    // Others speak other protocols: they see an end that is none.
    let other = Running::start(&world, &["app", ":80", "--hold", "1s"])?;
    is_reset(other.addresses(0)?[0])
}

fn is_reset(address: SocketAddr) -> Result<()> {
    let heard = connect(address)?.read(&mut [0; 9]);
    let is_reset = matches!(&heard, Err(error) if error.kind() == ErrorKind::ConnectionReset);
    ensure!(is_reset, "{heard:?}");
    Ok(())
}

/// As after `wharf down` and `wharf up`: the context is the same and leads elsewhere.
#[test]
fn a_cluster_that_moved_is_found_again() -> Result<()> {
    let pod = echo()?;
    let mut world = World::new(&[(8080, pod)])?;
    let forward = Running::start(&world, &["app", ":80"])?;
    echoes(&mut forward.connect(0)?, "before")?;
    world.api = Api::start(&[(8080, pod)])?;
    let mut held = forward.connect(0)?;
    world.api.write_kubeconfig(&world.kubeconfig())?;
    echoes(&mut held, "after")?;
    echoes(&mut forward.connect(0)?, "and ever after")
}

#[test]
fn who_has_said_everything_is_still_answered() -> Result<()> {
    let world = World::new(&[(8080, slow_to_answer()?)])?;
    let forward = Running::start(&world, &["app", ":80"])?;
    is_answered_after_its_end(&mut forward.connect(0)?)
}

#[test]
fn a_client_that_goes_is_gone_for_its_pod() -> Result<()> {
    let (say, heard) = mpsc::channel();
    let pod = server(move |mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = say.send(all);
    })?;
    let world = World::new(&[(8080, pod)])?;
    let forward = Running::start(&world, &["app", ":80"])?;
    let mut stream = forward.connect(0)?;
    stream.write_all(b"half of an upload")?;
    drop(stream);
    ensure!(heard.recv_timeout(PATIENCE)? == b"half of an upload");
    Ok(())
}

#[test]
fn a_way_that_breaks_does_not_look_like_an_end() -> Result<()> {
    let world = World::new(&[(8080, echo()?)])?;
    let forward = Running::start(&world, &["app", ":80"])?;
    let mut stream = forward.connect(0)?;
    echoes(&mut stream, "half of a download")?;
    world.api.cut();
    let end = stream.read(&mut [0; 9]);
    ensure!(
        matches!(&end, Err(error) if error.kind() == ErrorKind::ConnectionReset),
        "{end:?}"
    );
    Ok(())
}

/// A server that refuses an upload before it has heard all of it, and hangs up.
#[test]
fn an_early_answer_arrives_while_the_client_still_sends() -> Result<()> {
    let pod = server(|mut stream| {
        if stream.read_exact(&mut [0; 4]).is_ok() {
            let _ = stream.write_all(b"too much");
        }
    })?;
    let world = World::new(&[(8080, pod)])?;
    let forward = Running::start(&world, &["app", ":80"])?;
    let mut stream = forward.connect(0)?;
    let mut sending = stream.try_clone()?;
    let sender = std::thread::spawn(move || {
        // It ends where nobody hears it any more.
        let _ = std::io::copy(&mut std::io::repeat(b'x').take(8 << 20), &mut sending);
    });
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"too much");
    drop(stream);
    sender.join().map_err(|_| anyhow::anyhow!("panicked"))
}
