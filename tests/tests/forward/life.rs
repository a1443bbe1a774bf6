//! How forwards begin and end, and what is said of them.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use wharf_tests::command;
use wharf_tests::wharf::Server;

use crate::{PATIENCE, World, addresses, connect, echo, echoes};

#[test]
fn one_in_the_background_stays_until_it_is_stopped() -> Result<()> {
    let world = World::new(&[(8080, echo()?)])?;
    let started = world.says(&["start", "app", ":80"])?;
    let address = addresses(&started, 0)?[0];
    echoes(&mut connect(address)?, "hello")?;
    let log = started["log"].as_str().context("no log")?;
    ensure!(std::fs::read_to_string(log)?.contains("app-0"), "{log}");

    // Wanted once more it is left alone; wanted otherwise it is not thrown over.
    let port = address.port();
    for words in [":80".to_owned(), format!("{port}:80")] {
        let again = world.says(&["start", "app", &words])?;
        ensure!(again["pid"] == started["pid"], "{again}");
    }
    let other = format!("{}:80", port.wrapping_sub(1));
    let taken = format!("from port {port} ");
    fails(&world, &["start", "app", &other], 6, &taken)?;
    fails(&world, &["run", "app", ":80"], 6, "is forwarded already")?;

    let status = world.says(&["status"])?;
    let forward = &status["forwards"][0];
    ensure!(
        forward["target"] == "service team/app"
            && forward["context"] == "fake"
            && forward["wrong"].is_null(),
        "{status}"
    );
    world.says(&["stop", "app"])?;
    ensure!(connect(address).is_err(), "{address} still listens");
    ensure!(is_empty(&world.home.path().join("state/wharf/forwards"))?);
    fails(&world, &["status"], 5, "")?;
    world.says(&["stop", "app"])?;
    Ok(())
}

#[test]
fn one_that_was_killed_is_missed_and_replaced() -> Result<()> {
    let registry = Server::start()?;
    let world = World::new(&[(8080, registry.address())])?;
    let started = world.says(&["start", ":5000"])?;
    world.says(&["status"])?;
    kill(&started)?;
    fails(&world, &["status"], 7, "it was killed")?;
    let port = addresses(&started, 0)?[0].port();
    world.says(&["start", &format!("{port}:5000")])?;
    world.says(&["status"])?;
    world.says(&["stop"])?;
    Ok(())
}

/// As when a home is deleted: nobody could find it again, to stop it.
#[test]
fn one_whose_files_were_removed_ends() -> Result<()> {
    let world = World::new(&[(8080, echo()?)])?;
    let started = world.says(&["start", "app", ":80"])?;
    std::fs::remove_dir_all(world.home.path().join("state"))?;
    ends(&started)
}

#[test]
fn what_cannot_be_forwarded_is_said_with_a_way_out() -> Result<()> {
    let world = World::new(&[])?;
    fails(
        &world,
        &["nothing", "80"],
        5,
        "there is no service team/nothing",
    )?;
    fails(
        &world,
        &["start", "nothing", "80"],
        5,
        "there is no service",
    )?;
    fails(&world, &["app", "8080:81"], 5, "it has 80, 90")?;
    fails(&world, &["app"], 2, "wharf forward app 8080:80")?;
    fails(&world, &["app", "eighty"], 2, "is no port")?;
    fails(&world, &["app", "80", "--context", "x"], 5, "it has: fake")?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let wanted = format!("{port}:80");
    for command in ["run", "start"] {
        let owner = format!("process {}", std::process::id());
        fails(&world, &[command, "app", &wanted], 6, &owner)?;
    }
    ensure!(is_empty(&world.home.path().join("state/wharf/forwards"))?);
    Ok(())
}

fn fails(world: &World, arguments: &[&str], code: i32, words: &str) -> Result<()> {
    let output = command::finish(&mut world.forward(arguments)?, PATIENCE)?;
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(
        output.status.code() == Some(code) && said.contains(words),
        "{arguments:?}: exit {code} and \"{words}\" were expected: {output:?}"
    );
    Ok(())
}

fn kill(forward: &Value) -> Result<()> {
    let pid = i32::try_from(forward["pid"].as_i64().context("no process")?)?;
    let pid = Pid::from_raw(pid).context("no process")?;
    kill_process(pid, Signal::KILL)?;
    ends(forward)
}

/// Waits until it listens no more.
fn ends(forward: &Value) -> Result<()> {
    // It is somebody else's child, so its end is seen by what it leaves free.
    let listens = || connect(addresses(forward, 0)?[0]).map(|_| true);
    wharf_tests::talk::until(PATIENCE, &false, || Ok(listens().unwrap_or(false)))
}

fn is_empty(folder: &Path) -> Result<bool> {
    Ok(std::fs::read_dir(folder)?.next().is_none())
}
