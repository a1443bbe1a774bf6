//! A disk that is full, and one that fails: the request fails, nothing wrong is served, nothing that was
//! acknowledged is lost.

mod full;
mod inject;
mod order;
mod short;
mod strace;

use anyhow::{Result, ensure};
use wharf_tests::content::sha256;
use wharf_tests::http::Connection;
use wharf_tests::talk::{ask, blobs_of, get, manifest_of};
use wharf_tests::wharf::Server;

/// Holds the server to an image that it acknowledged.
fn check(http: &mut Connection, repository: &str, tag: &str) -> Result<()> {
    let manifest = ask(http, 200, get(format!("/v2/{repository}/manifests/{tag}")))?;
    ensure!(manifest.body == manifest_of(tag), "{repository}:{tag}");
    for blob in blobs_of(tag) {
        let path = format!("/v2/{repository}/blobs/{}", sha256(&blob));
        ensure!(ask(http, 200, get(path))?.body == blob);
    }
    Ok(())
}

/// What `/readyz` says.
fn readiness(server: &Server) -> Result<String> {
    let answer = Connection::open(server.address())?.send(get("/readyz"))?;
    let status = answer.json()?["status"].as_str().map(str::to_owned);
    Ok(status.unwrap_or_default())
}
