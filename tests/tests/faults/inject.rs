//! A disk that fails now and then: at the n-th call of each kind that is made on the way of a push, a pull,
//! a deletion and a collection.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command::say;
use wharf_tests::content::{MANIFEST, sha256};
use wharf_tests::http::Connection;
use wharf_tests::is_long;
use wharf_tests::talk::{blobs_of, delete, get, manifest_of, push, put};
use wharf_tests::wharf::Server;

use crate::strace::{self, Struck};
use crate::{check, readiness};

/// What a store does with its disk, and with its disk alone.
const CALLS: [&str; 12] = [
    "openat",
    "openat2",
    "mkdir",
    "writev",
    "pwrite64",
    "pread64",
    "preadv2",
    "fdatasync",
    "fsync",
    "rename",
    "unlink",
    "rmdir",
];

#[test]
fn a_call_that_fails_fails_its_request_and_nothing_else() -> Result<()> {
    let faults = strike("error=EIO", |server, struck, images| {
        // Where it is not known what is on the disk, nothing more is written, until a restart looks.
        let is_read_only = readiness(server)? == "read-only";
        ensure!(
            is_read_only || !struck.journal,
            "the journal is written to behind what it lacks"
        );
        if is_read_only {
            let pushed = image(&mut Connection::open(server.address())?, "later");
            ensure!(pushed.is_err(), "a push was taken in read-only mode");
            images.read_only += 1;
        }
        ensure!(server.id().is_some());
        server.terminate(Duration::from_secs(60))?;
        server.restart()?;
        Ok(())
    })?;
    ensure!(faults.read_only > 0, "the catalog never failed");
    Ok(())
}

#[test]
fn a_process_that_is_killed_at_any_call_loses_nothing() -> Result<()> {
    strike("signal=KILL", |server, _, _| {
        // It is dead already, if the call came.
        server.kill()?;
        server.restart()?;
        Ok(())
    })?;
    Ok(())
}

/// What was acknowledged, and what came of the faults.
#[derive(Default)]
struct Images {
    pushed: Vec<String>,
    deleted: Vec<String>,
    struck: usize,
    read_only: usize,
}

fn strike(
    fault: &str,
    mut recover: impl FnMut(&mut Server, &Struck, &mut Images) -> Result<()>,
) -> Result<Images> {
    Bed::ensure_tools(&[Tool::Strace])?;
    let mut server = Server::start_with(["--gc-grace", "1s"])?;
    let mut images = Images::default();
    let mut http = Connection::open(server.address())?;
    image(&mut http, "first")?;
    images.pushed.push("first".to_owned());
    for call in CALLS {
        for nth in depths(call) {
            let at = format!("{fault} at the {nth}. {call} of a thread");
            let tracer = strace::attach(&server, call, fault, nth).with_context(|| at.clone())?;
            provoke(&server, &format!("{call}-{nth}"), &mut images).with_context(|| at.clone())?;
            let struck = strace::detach(tracer)?;
            images.struck += struck.times.min(1);
            recover(&mut server, &struck, &mut images).with_context(|| at.clone())?;
            let mut http = Connection::open(server.address())?;
            for tag in &images.pushed {
                check(&mut http, "app", tag).with_context(|| at.clone())?;
            }
            for tag in &images.deleted {
                let path = format!("/v2/app/manifests/{}", sha256(&manifest_of(tag)));
                ensure!(http.send(get(path))?.status == 404, "{at}: {tag} is back");
            }
            // And it is as good as before.
            image(&mut http, &format!("after-{call}-{nth}")).with_context(|| at.clone())?;
            if struck.times == 0 {
                break;
            }
        }
    }
    say(&format!(
        "faults: {fault} struck {} times, {} times the catalog became read-only; {} images pushed, {} deleted, all as acknowledged",
        images.struck,
        images.read_only,
        images.pushed.len(),
        images.deleted.len()
    ));
    ensure!(
        images.struck >= CALLS.len(),
        "{} faults struck",
        images.struck
    );
    Ok(images)
}

/// At which of the calls the fault comes. The counting is each thread's own, so that even a small number comes
/// late in a push.
fn depths(call: &str) -> Vec<u64> {
    match (is_long(), call) {
        (true, "pwrite64") => (1..=80).collect(),
        (true, _) => (1..=40).collect(),
        // The last ones in the middle of the commit of a manifest, whose answer is what counts.
        (false, "pwrite64") => vec![1, 3, 8, 48, 56],
        (false, _) => vec![1, 3, 8],
    }
}

/// Does all that a client may do. Whatever fails is given up; what is answered has to be right.
fn provoke(server: &Server, tag: &str, images: &mut Images) -> Result<()> {
    let connect = || Connection::open(server.address());
    for tag in [format!("{tag}-a"), format!("{tag}-b")] {
        let pushed = connect().is_ok_and(|mut http| image(&mut http, &tag).is_ok());
        if pushed {
            images.pushed.push(tag);
        }
    }
    // What is garbage a moment later, so that the collector has something to do.
    let _ = connect().map(|mut http| push(&mut http, "loose", tag.as_bytes()));
    for tag in &images.pushed {
        for blob in blobs_of(tag) {
            let path = format!("/v2/app/blobs/{}", sha256(&blob));
            let Ok(answer) = connect().and_then(|mut http| http.send(get(path))) else {
                continue;
            };
            ensure!(
                answer.status != 200 || answer.body == blob,
                "{tag}: wrong bytes were served"
            );
        }
    }
    // The first one stays, to be looked at whatever happens, and so do those of just now.
    if images.pushed.len() > 3 {
        let tag = images.pushed.remove(1);
        let path = format!("/v2/app/manifests/{}", sha256(&manifest_of(&tag)));
        match connect().and_then(|mut http| http.send(delete(path))) {
            Ok(answer) if answer.status == 202 => images.deleted.push(tag),
            // After a failure, or without an answer, nobody knows.
            Ok(answer) => ensure!(answer.status >= 500, "{tag}: {}", answer.status),
            Err(_) => {}
        }
    }
    // For as long as the collector needs to come by.
    std::thread::sleep(Duration::from_millis(1200));
    Ok(())
}

/// Pushes an image into a repository of the test.
fn image(http: &mut Connection, tag: &str) -> Result<()> {
    for blob in blobs_of(tag) {
        push(http, "app", &blob)?;
    }
    let answer = http.send(put("app", tag, MANIFEST, &manifest_of(tag)))?;
    ensure!(answer.status == 201, "{}", answer.status);
    Ok(())
}
