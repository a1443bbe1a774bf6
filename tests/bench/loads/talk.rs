//! The requests that loads are made of.

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use wharf_tests::content::{CONFIG, INDEX, LAYER, MANIFEST, hex};

use crate::blocks::Content;
use crate::crowd::Worker;
use crate::wire::{Answer, Sink};

/// Manifests of these types are what clients say that they take.
pub(super) fn accept() -> String {
    format!(
        "Accept: {MANIFEST}, {INDEX}, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json\r\n"
    )
}

/// Begins an upload, and says where it goes on.
pub(super) fn open(worker: &mut Worker, repository: &str) -> Result<String> {
    let target = format!("/v2/{repository}/blobs/uploads/");
    let answer = worker.wire.send("POST", &target, "", b"")?;
    answer.expect(202, "POST of an upload")?.target()
}

/// Where an upload ends: the server's location, with the digest behind whatever it says already.
pub(super) fn with_digest(location: &str, digest: &str) -> String {
    let sign = if location.contains('?') { '&' } else { '?' };
    format!("{location}{sign}digest={digest}")
}

/// A blob in two requests.
pub(super) fn push_blob(
    worker: &mut Worker,
    repository: &str,
    content: Content,
    digest: &str,
) -> Result<u64> {
    let location = open(worker, repository)?;
    let target = with_digest(&location, digest);
    const TYPE: &str = "Content-Type: application/octet-stream\r\n";
    let answer = match content.size <= 64 << 10 {
        true => {
            let Worker { wire, blocks, .. } = worker;
            wire.send("PUT", &target, TYPE, blocks.small(content))?
        }
        false => put_part(worker, "PUT", &target, TYPE, content, 0, content.size)?,
    };
    answer.expect(201, "PUT of a blob")?;
    Ok(content.size)
}

/// Sends a part of a content, which begins at a multiple of a block.
pub(super) fn put_part(
    worker: &mut Worker,
    method: &str,
    target: &str,
    headers: &str,
    content: Content,
    from: u64,
    length: u64,
) -> Result<Answer> {
    let length = length.min(content.size - from);
    let Worker { wire, blocks, .. } = worker;
    wire.begin(method, target, headers, Some(length), b"")?;
    blocks.part(content, from, length, |bytes| wire.write(bytes))?;
    wire.answer(method, &mut Sink::Drop)
        .with_context(|| format!("{method} {target}"))
}

/// As docker pushes a layer: one PATCH in chunks, without saying how long it will be, and an empty PUT.
pub(super) fn stream_blob(
    worker: &mut Worker,
    repository: &str,
    content: Content,
    digest: &str,
) -> Result<u64> {
    let location = open(worker, repository)?;
    let Worker { wire, blocks, .. } = worker;
    wire.begin(
        "PATCH",
        &location,
        "Transfer-Encoding: chunked\r\n",
        None,
        b"",
    )?;
    blocks.chunked(content, |bytes| wire.write(bytes))?;
    let answer = wire.answer("PATCH", &mut Sink::Drop).context("PATCH")?;
    let location = answer.expect(202, "PATCH of an upload")?.target()?;
    finish(worker, &location, digest)?;
    Ok(content.size)
}

/// Ends an upload whose bytes are all there.
pub(super) fn finish(worker: &mut Worker, location: &str, digest: &str) -> Result<()> {
    let target = with_digest(location, digest);
    let answer = worker.wire.send("PUT", &target, "", b"")?;
    answer.expect(201, "empty PUT of a blob").map(|_| ())
}

/// Puts a manifest.
pub(super) fn put_manifest(
    worker: &mut Worker,
    repository: &str,
    reference: &str,
    manifest: &[u8],
) -> Result<()> {
    let target = format!("/v2/{repository}/manifests/{reference}");
    let headers = format!("Content-Type: {MANIFEST}\r\n");
    let answer = worker.wire.send("PUT", &target, &headers, manifest)?;
    answer.expect(201, "PUT of a manifest").map(|_| ())
}

/// Reads something back, and sees that it is what its digest says.
pub(super) fn verify(worker: &mut Worker, target: &str, digest: &str) -> Result<()> {
    let mut hash = Sha256::new();
    let answer = worker
        .wire
        .send_to("GET", target, &accept(), b"", &mut Sink::Hash(&mut hash))?;
    answer.expect(200, target)?;
    let read = format!("sha256:{}", hex(&hash.finalize()));
    ensure!(read == digest, "{target} has content of {read}");
    Ok(())
}

/// A manifest of blobs: the first is its config. `more` are further members, each with a comma before it.
pub(super) fn manifest(blobs: &[(u64, &str)], more: &str) -> Vec<u8> {
    let describe = |(size, digest): &(u64, &str), media_type| {
        format!(r#"{{"mediaType":"{media_type}","size":{size},"digest":"{digest}"}}"#)
    };
    let config = blobs.first().map(|blob| describe(blob, CONFIG));
    let layers: Vec<_> = blobs
        .iter()
        .skip(1)
        .map(|blob| describe(blob, LAYER))
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]{more}}}"#,
        config.unwrap_or_default(),
        layers.join(",")
    )
    .into_bytes()
}

/// An annotation that makes a manifest different from all others.
pub(super) fn annotation(number: u64) -> String {
    format!(r#","annotations":{{"org.opencontainers.image.version":"{number:016x}"}}"#)
}
