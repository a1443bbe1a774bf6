//! The protocol, statement by statement, against the real server and over real sockets.

mod blobs;
mod deletes;
mod errors;
mod guard;
mod interrupted;
mod limits;
mod manifests;
mod manners;
mod moves;
mod names;
mod referrers;
mod sessions;
mod small;
mod statements;
mod tags;
mod uploads;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_tests::content;
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{ask, get, head, open, put, refuse};
use wharf_tests::wharf::Server;

/// A server of the test's own and a connection to it.
fn serve() -> Result<(Server, Connection)> {
    let server = Server::start()?;
    let http = Connection::open(server.address())?;
    Ok((server, http))
}

/// Pushes a blob and returns its digest.
fn push(http: &mut Connection, repository: &str, bytes: &[u8]) -> Result<String> {
    let digest = content::sha256(bytes);
    let upload = open(http, repository)?;
    let request = Request::new("PUT", format!("{upload}?digest={digest}"));
    let answer = ask(http, 201, request.body(Body::Sized(bytes)))?;
    let location = format!("/v2/{repository}/blobs/{digest}");
    ensure!(answer.location()? == location, "{answer:?}");
    Ok(digest)
}

/// Pushes the blobs of a small image and returns its manifest, still to be pushed.
fn push_blobs(http: &mut Connection, repository: &str, seed: &str) -> Result<Vec<u8>> {
    let config = json!({"os": "linux", "architecture": "amd64", "author": seed}).to_string();
    let layers = [
        format!("one layer of {seed}"),
        format!("another layer of {seed}"),
    ];
    for blob in [&config, &layers[0], &layers[1]] {
        push(http, repository, blob.as_bytes())?;
    }
    Ok(content::manifest(
        &content::descriptor(content::CONFIG, config.as_bytes()),
        &layers.map(|layer| content::descriptor(content::LAYER, layer.as_bytes())),
    ))
}

/// Pushes an image under a tag and returns its manifest.
fn push_image(http: &mut Connection, repository: &str, tag: &str) -> Result<Vec<u8>> {
    let manifest = push_blobs(http, repository, tag)?;
    ask(
        http,
        201,
        put(repository, tag, content::MANIFEST, &manifest),
    )?;
    Ok(manifest)
}

/// All files that hold content: blobs and open uploads' bytes.
fn stored(server: &Server) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in ["blobs/sha256", "blobs/sha512", "uploads"] {
        collect(&server.data().join(folder), &mut files)?;
    }
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        // An algorithm's folders come with its first blob.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
