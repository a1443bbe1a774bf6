//! What somebody who means harm sends or plants. Each case sees that it is refused, that nothing
//! outside of the data directory was touched, and that the server goes on serving.

mod browsers;
mod confusion;
mod crowd;
mod manifests;
mod memory;
mod names;
mod planted;
mod proxy;
mod slow;
mod smuggling;

use anyhow::{Result, ensure};
use wharf_tests::content::Random;
use wharf_tests::http::Connection;
use wharf_tests::talk::{ask, get, push};
use wharf_tests::wharf::Server;

/// Pushes and pulls a blob as any client would, on a connection of its own.
fn still_serves(server: &Server, seed: u64) -> Result<()> {
    let mut http = Connection::open(server.address())?;
    let bytes = Random::new(seed).bytes(100_000);
    let digest = push(&mut http, "bystander", &bytes)?;
    let blob = ask(&mut http, 200, get(format!("/v2/bystander/blobs/{digest}")))?;
    ensure!(blob.body == bytes, "a bystander got something else");
    Ok(())
}
