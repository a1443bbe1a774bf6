//! Reading what changes: no answer is older than what was acknowledged before it was asked for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wharf_tests::content::{MANIFEST, sha256};
use wharf_tests::http::Connection;
use wharf_tests::talk::{ask, blobs_of, delete, get, head, manifest_of, push_blobs, put, serve};

/// An image's manifest that says which of many it is.
fn numbered(number: usize) -> Result<Vec<u8>> {
    let mut manifest: Value = serde_json::from_slice(&manifest_of("moving"))?;
    manifest["annotations"] = json!({"number": number.to_string()});
    Ok(serde_json::to_vec(&manifest)?)
}

#[test]
fn what_was_read_before_a_change_is_not_said_after_it() -> Result<()> {
    let (_server, mut http) = serve()?;
    push_blobs(&mut http, "a", "moving")?;
    let (old, new) = (numbered(1)?, numbered(2)?);
    let tag = "/v2/a/manifests/v1";
    for manifest in [&old, &new] {
        ask(&mut http, 201, put("a", "v1", MANIFEST, manifest))?;
        for _ in 0..2 {
            ensure!(ask(&mut http, 200, get(tag))?.body == *manifest);
        }
    }
    ask(&mut http, 201, put("a", "also", MANIFEST, &new))?;
    let by_digest = format!("/v2/a/manifests/{}", sha256(&new));
    for path in [tag, "/v2/a/manifests/also", &by_digest] {
        ask(&mut http, 200, head(path))?;
    }
    ask(&mut http, 202, delete(tag))?;
    ask(&mut http, 404, head(tag))?;
    ask(&mut http, 202, delete(&by_digest))?;
    for path in ["/v2/a/manifests/also", &by_digest] {
        ask(&mut http, 404, head(path))?;
    }
    // The other manifest still needs the blobs; without it, they can go.
    let blob = format!("/v2/a/blobs/{}", sha256(&blobs_of("moving")[1]));
    ask(&mut http, 200, head(&blob))?;
    ask(&mut http, 409, delete(&blob))?;
    let old = format!("/v2/a/manifests/{}", sha256(&old));
    ask(&mut http, 202, delete(old))?;
    ask(&mut http, 202, delete(&blob))?;
    ask(&mut http, 404, head(&blob))?;
    Ok(())
}

#[test]
fn who_reads_a_moving_tag_never_sees_it_go_back() -> Result<()> {
    const MOVES: usize = 100;
    let (server, mut http) = serve()?;
    push_blobs(&mut http, "a", "moving")?;
    ask(&mut http, 201, put("a", "v1", MANIFEST, &numbered(0)?))?;
    let (acknowledged, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let read = || -> Result<usize> {
        let mut http = Connection::open(server.address())?;
        let mut seen = 0;
        while !ended.load(Ordering::SeqCst) {
            let least = acknowledged.load(Ordering::SeqCst);
            let answer = ask(&mut http, 200, get("/v2/a/manifests/v1"))?;
            let manifest: Value = serde_json::from_slice(&answer.body)?;
            let number = manifest["annotations"]["number"].as_str();
            let number: usize = number.context("no number")?.parse()?;
            ensure!(number >= least, "{number} after {least} was acknowledged");
            seen += 1;
            // A connection does not last for ever.
            if seen % 1000 == 0 {
                http = Connection::open(server.address())?;
            }
        }
        Ok(seen)
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(read), scope.spawn(read)];
        let moved = (1..=MOVES).try_for_each(|number| {
            ask(&mut http, 201, put("a", "v1", MANIFEST, &numbered(number)?))?;
            acknowledged.store(number, Ordering::SeqCst);
            Ok(())
        });
        ended.store(true, Ordering::SeqCst);
        for reader in readers {
            let seen = reader
                .join()
                .map_err(|_| anyhow::anyhow!("a reader panicked"))??;
            ensure!(seen > 0, "a reader read nothing");
        }
        moved
    })
}
