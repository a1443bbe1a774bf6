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

use std::path::PathBuf;

use anyhow::{Result, ensure};
use wharf_tests::content::Random;
use wharf_tests::http::Connection;
use wharf_tests::talk::{ask, files, get, push};
use wharf_tests::wharf::Server;

/// A server of the test's own and a connection to it.
fn serve() -> Result<(Server, Connection)> {
    let server = Server::start()?;
    let http = Connection::open(server.address())?;
    Ok((server, http))
}

/// All files that hold content: blobs and open uploads' bytes.
fn stored(server: &Server) -> Result<Vec<PathBuf>> {
    let mut stored = Vec::new();
    for folder in ["blobs/sha256", "blobs/sha512", "uploads"] {
        stored.extend(files(&server.data().join(folder))?);
    }
    Ok(stored)
}

/// Pushes and pulls a blob as any client would, on a connection of its own.
fn still_serves(server: &Server, seed: u64) -> Result<()> {
    let mut http = Connection::open(server.address())?;
    let bytes = Random::new(seed).bytes(100_000);
    let digest = push(&mut http, "bystander", &bytes)?;
    let blob = ask(&mut http, 200, get(format!("/v2/bystander/blobs/{digest}")))?;
    ensure!(blob.body == bytes, "a bystander got something else");
    Ok(())
}
