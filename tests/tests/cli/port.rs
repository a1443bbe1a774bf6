//! The port belongs to somebody else.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::command::{self, say};

use crate::cluster::Place;
use crate::{PATIENCE, refused};

#[test]
fn the_port_is_taken() -> Result<()> {
    let place = Place::new("cli-port")?;
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    on_families(&place, v4.local_addr()?.port(), &["127.0.0.1"])?;
    let Ok(v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        say("cli: this machine has no [::1], so a port is taken on 127.0.0.1 alone");
        return Ok(());
    };
    on_families(&place, v6.local_addr()?.port(), &["[::1]"])?;
    // Both, by taking the other family's twin of a port of this one.
    let twins = || -> Result<(TcpListener, TcpListener)> {
        let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let other = TcpListener::bind((Ipv6Addr::LOCALHOST, one.local_addr()?.port()))?;
        Ok((one, other))
    };
    let (one, _other) = (0..20)
        .find_map(|_| twins().ok())
        .context("no port has a free twin")?;
    on_families(&place, one.local_addr()?.port(), &["127.0.0.1", "[::1]"])
}

/// `up` at a port that this process has on these families.
fn on_families(place: &Place, port: u16, families: &[&str]) -> Result<()> {
    let text = port.to_string();
    let up = ["up", "--port", &text];
    let sentence = refused(&mut place.cluster.wharf(&up)?, 6)?;
    let comm = std::fs::read_to_string("/proc/self/comm")?;
    let owner = format!("by {} (process {})", comm.trim(), std::process::id());
    ensure!(
        sentence.contains(&owner) && sentence.contains("--port"),
        "{sentence}"
    );
    for family in ["127.0.0.1", "[::1]"] {
        let is_named = sentence.contains(&format!("{family}:{port}"));
        ensure!(
            is_named == families.contains(&family),
            "{family}: {sentence}"
        );
    }
    // A program is told the same in an event.
    let output = command::finish(
        place.cluster.wharf(&up)?.args(["--output", "json"]),
        PATIENCE,
    )?;
    ensure!(output.status.code() == Some(6), "{output:?}");
    let events = output.stdout.lines().map(serde_json::from_str);
    let events = events.collect::<Result<Vec<Value>, _>>()?;
    let last = events.last().context("no events")?;
    ensure!(
        last["state"] == "failed"
            && last["error"]
                .as_str()
                .is_some_and(|error| error.contains(&owner)),
        "{last}"
    );
    place.is_untouched()
}
