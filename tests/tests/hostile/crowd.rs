//! More callers than anybody has.

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wharf_tests::http::Connection;
use wharf_tests::talk::{ask, get};
use wharf_tests::wharf::Server;

use crate::still_serves;

/// What the server may have with all of them.
const MOST_KIB: u64 = 120_000_000 >> 10;

/// Lets this process have so many files open.
fn allow_files(files: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let raised = Rlimit {
            current: Some(limit.maximum.map_or(files, |most| most.min(files))),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised)
            .with_context(|| format!("this machine does not allow {files} open files"))?;
    }
    Ok(())
}

fn visitor(server: &Server) -> Result<Connection> {
    let mut http = Connection::open_small(server.address())?;
    ask(&mut http, 200, get("/v2/"))?;
    Ok(http)
}

#[test]
fn five_thousand_idle_connections() -> Result<()> {
    allow_files(6000)?;
    // As most shells start it: with 1024 files, which it may raise.
    let server = Server::start_within(
        ["prlimit", "--nofile=1024:12000"],
        ["--idle-timeout", "3600"],
    )?;
    let mut visitors = Vec::new();
    for number in 0..5000 {
        visitors.push(visitor(&server)?);
        if number % 500 == 0 {
            still_serves(&server, number)?;
        }
    }
    still_serves(&server, 1)?;
    let peak = server.kib("VmHWM")?;
    ensure!(peak < MOST_KIB, "{peak} KiB");
    // All of them are still there.
    for visitor in &mut visitors {
        ask(visitor, 200, get("/v2/"))?;
    }
    let peak = server.kib("VmHWM")?;
    wharf_tests::command::say(&format!("5000 idle connections: at most {peak} KiB"));
    ensure!(peak < MOST_KIB, "{peak} KiB");
    drop(visitors);
    still_serves(&server, 2)
}

/// Whoever is too much waits in the system's queue until others, who do nothing, are closed. Nobody
/// is sent away, and the server never runs out of files.
#[test]
fn more_connections_than_files() -> Result<()> {
    let server = Server::start_within(["prlimit", "--nofile=200:200"], ["--idle-timeout", "2"])?;
    // 68 of them get a place; of the others, the system says that they are connected.
    let idle: Vec<_> = (0..250)
        .map(|_| Connection::open_small(server.address()))
        .collect::<Result<_, _>>()?;
    for seed in 0..5 {
        still_serves(&server, seed)?;
    }
    ensure!(
        !server.log().contains("could not accept"),
        "{}",
        server.log()
    );
    drop(idle);
    still_serves(&server, 9)
}
