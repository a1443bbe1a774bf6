//! What tests say to a registry again and again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::content;
use crate::http::{Answer, Body, Connection, Request};
use crate::wharf::Server;

/// A client with good manners: it goes on with a new connection where the server ends one.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Client {
    /// A client of the server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// Sends a request and returns the answer, whatever it is.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn send(&mut self, request: Request<'_>) -> Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address)?,
        };
        let answer = connection.send(request)?;
        // A connection has so many requests, and the last answer says so.
        if answer.header("Connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    /// As [`ask`].
    ///
    /// # Errors
    /// It is answered otherwise.
    pub fn ask(&mut self, status: u16, request: Request<'_>) -> Result<Answer> {
        let asked = describe(&request);
        expect(self.send(request)?, status, &asked)
    }
}

/// Sends a request that must be answered with `status`.
///
/// # Errors
/// It is answered otherwise; the request and the answer are in the error.
pub fn ask(http: &mut Connection, status: u16, request: Request<'_>) -> Result<Answer> {
    let asked = describe(&request);
    expect(http.send(request)?, status, &asked)
}

fn describe(request: &Request<'_>) -> String {
    format!("{:?}", String::from_utf8_lossy(&request.head()))
}

fn expect(answer: Answer, status: u16, asked: &str) -> Result<Answer> {
    ensure!(
        answer.status == status,
        "{} instead of {status} to {asked}: {:?} {}",
        answer.status,
        answer.headers,
        String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)])
    );
    Ok(answer)
}

/// Sends a request that must be refused with `status` and an error of the specification's form with
/// this code.
///
/// # Errors
/// It is answered otherwise; the request and the answer are in the error.
pub fn refuse(
    http: &mut Connection,
    status: u16,
    code: &str,
    request: Request<'_>,
) -> Result<Answer> {
    let asked = format!("{:?}", String::from_utf8_lossy(&request.head()));
    let answer = ask(http, status, request)?;
    let actual = answer.error_code()?;
    ensure!(actual == code, "{actual} instead of {code} to {asked}");
    Ok(answer)
}

/// A `GET`.
#[must_use]
pub fn get(target: impl Into<String>) -> Request<'static> {
    Request::new("GET", target)
}

/// A `HEAD`.
#[must_use]
pub fn head(target: impl Into<String>) -> Request<'static> {
    Request::new("HEAD", target)
}

/// A `DELETE`.
#[must_use]
pub fn delete(target: impl Into<String>) -> Request<'static> {
    Request::new("DELETE", target)
}

/// Opens an upload and says where it goes on.
///
/// # Errors
/// The registry refuses.
pub fn open(http: &mut Connection, repository: &str) -> Result<String> {
    let request = Request::new("POST", format!("/v2/{repository}/blobs/uploads/"));
    Ok(ask(http, 202, request)?.location()?.to_owned())
}

/// Pushes a blob and returns its digest.
///
/// # Errors
/// The registry refuses.
pub fn push(http: &mut Connection, repository: &str, bytes: &[u8]) -> Result<String> {
    let digest = content::sha256(bytes);
    let upload = open(http, repository)?;
    let request = Request::new("PUT", format!("{upload}?digest={digest}"));
    let answer = ask(http, 201, request.body(Body::Sized(bytes)))?;
    let location = format!("/v2/{repository}/blobs/{digest}");
    ensure!(answer.location()? == location, "{answer:?}");
    Ok(digest)
}

/// The blobs of a small image: its config and its layers.
#[must_use]
pub fn blobs_of(seed: &str) -> [Vec<u8>; 3] {
    let config = json!({"os": "linux", "architecture": "amd64", "author": seed}).to_string();
    [
        config,
        format!("one layer of {seed}"),
        format!("another layer of {seed}"),
    ]
    .map(String::into_bytes)
}

/// The manifest of [`blobs_of`].
#[must_use]
pub fn manifest_of(seed: &str) -> Vec<u8> {
    let [config, one, another] = blobs_of(seed);
    content::manifest(
        &content::descriptor(content::CONFIG, &config),
        &[one, another].map(|layer| content::descriptor(content::LAYER, &layer)),
    )
}

/// The request that pushes a manifest.
#[must_use]
pub fn put<'a>(
    repository: &str,
    reference: &str,
    media_type: &str,
    bytes: &'a [u8],
) -> Request<'a> {
    Request::new("PUT", format!("/v2/{repository}/manifests/{reference}"))
        .header("Content-Type", media_type)
        .body(Body::Sized(bytes))
}

/// Pushes the blobs of the image of a seed and returns its manifest, still to be pushed.
///
/// # Errors
/// The registry refuses.
pub fn push_blobs(http: &mut Connection, repository: &str, seed: &str) -> Result<Vec<u8>> {
    for blob in blobs_of(seed) {
        push(http, repository, &blob)?;
    }
    Ok(manifest_of(seed))
}

/// Pushes an image under a tag, which is its seed as well, and returns its manifest.
///
/// # Errors
/// The registry refuses.
pub fn push_image(http: &mut Connection, repository: &str, tag: &str) -> Result<Vec<u8>> {
    let manifest = push_blobs(http, repository, tag)?;
    let request = put(repository, tag, content::MANIFEST, &manifest);
    ask(http, 201, request)?;
    Ok(manifest)
}

/// A server of the test's own and a connection to it.
///
/// # Errors
/// It does not start.
pub fn serve() -> Result<(Server, Connection)> {
    let server = Server::start()?;
    let http = Connection::open(server.address())?;
    Ok((server, http))
}

/// All files of a server that hold content: blobs and open uploads' bytes.
///
/// # Errors
/// A folder cannot be read.
pub fn stored(server: &Server) -> Result<Vec<PathBuf>> {
    stored_in(&server.data())
}

/// As [`stored`], in a data directory.
///
/// # Errors
/// A folder cannot be read.
pub fn stored_in(data: &Path) -> Result<Vec<PathBuf>> {
    let mut stored = Vec::new();
    for folder in ["blobs/sha256", "blobs/sha512", "uploads"] {
        stored.extend(files(&data.join(folder))?);
    }
    Ok(stored)
}

/// The file with the bytes of a blob, where there is one.
///
/// # Errors
/// A folder cannot be read.
pub fn file_of(server: &Server, digest: &str) -> Result<Option<PathBuf>> {
    let (algorithm, hex) = digest.split_once(':').context("no digest")?;
    let files = files(&server.data().join("blobs").join(algorithm))?;
    let is_of = |file: &PathBuf| file.file_stem().is_some_and(|stem| stem == hex);
    Ok(files.into_iter().find(is_of))
}

/// Changes one bit of a blob on disk.
///
/// # Errors
/// It has no file, or the file cannot be changed.
pub fn damage(server: &Server, digest: &str) -> Result<()> {
    let file = file_of(server, digest)?.with_context(|| format!("{digest} has no file"))?;
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(&file, bytes)?)
}

/// All files in a folder and below it; none where there is no such folder.
///
/// # Errors
/// A folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        // It may go while we look.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(self::files(&path)?),
            false => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}

/// Waits until something is so. What a server does by itself takes the time that it takes; a minute
/// is the promise.
///
/// # Errors
/// It does not come true within `limit`; what was seen last is in the error.
pub fn until<T: std::fmt::Debug + PartialEq>(
    limit: Duration,
    expected: &T,
    mut look: impl FnMut() -> Result<T>,
) -> Result<()> {
    let started = Instant::now();
    loop {
        let seen = look()?;
        if seen == *expected {
            return Ok(());
        }
        ensure!(
            started.elapsed() < limit,
            "after {} s it is {seen:?} and not {expected:?}",
            limit.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
