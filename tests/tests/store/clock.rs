//! A clock that jumps, and a journal that was torn.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use anyhow::{Result, ensure};
use rusqlite::Connection as Database;
use wharf_tests::content::{MANIFEST, Random, sha256};
use wharf_tests::http::Connection;
use wharf_tests::talk::{ask, blobs_of, get, manifest_of, push, push_image, put};
use wharf_tests::wharf::Server;

use crate::{PATIENCE, report, serve, stored};

const DAY: i64 = 24 * 3600;

/// Lets the catalog look as if the machine's clock had been set by so many seconds since.
fn jump(server: &Server, seconds: i64) -> Result<()> {
    let catalog = Database::open(server.data().join("catalog.db"))?;
    let changed = catalog.execute("UPDATE loose_blob SET last_used = last_used - ?", [seconds])?;
    ensure!(changed > 0, "nothing was used");
    Ok(())
}

#[test]
fn a_clock_set_a_day_forward_takes_nothing_from_a_push() -> Result<()> {
    let (mut server, mut http) = serve(&["--gc-grace", "2m"])?;
    for blob in blobs_of("v1") {
        push(&mut http, "a", &blob)?;
    }
    server.terminate(PATIENCE)?;
    jump(&server, DAY)?;
    server.restart()?;
    let held = report(&server, &["gc"])?;
    ensure!(
        held["collected"]["collection"]["held"].is_string(),
        "{held}"
    );
    let mut http = Connection::open(server.address())?;
    ask(&mut http, 201, put("a", "v1", MANIFEST, &manifest_of("v1")))?;
    Ok(())
}

#[test]
fn a_clock_set_a_day_back_does_not_make_garbage_last_for_ever() -> Result<()> {
    let (mut server, mut http) = serve(&[])?;
    push(&mut http, "a", b"content")?;
    server.terminate(PATIENCE)?;
    jump(&server, -DAY)?;
    // The first look finds a use in the future, and takes it for one of now.
    report(&server, &["gc", "--gc-grace", "1s"])?;
    ensure!(stored(&server)?.len() == 1, "taken before its time");
    std::thread::sleep(Duration::from_millis(2100));
    report(&server, &["gc", "--gc-grace", "1s"])?;
    ensure!(stored(&server)?.is_empty());
    Ok(())
}

#[test]
fn a_torn_journal_costs_nothing_that_was_acknowledged() -> Result<()> {
    let (mut server, mut http) = serve(&[])?;
    for round in 0..5 {
        let tag = format!("v{round}");
        push_image(&mut http, "a", &tag)?;
        server.kill()?;
        // As a loss of power in the middle of the next commit leaves it: some of it there, some not.
        let mut journal = File::options()
            .append(true)
            .open(server.data().join("catalog.db-wal"))?;
        journal.write_all(&Random::new(round).bytes(24 + 2000 * (1 + usize::try_from(round)?)))?;
        drop(journal);
        server.restart()?;
        http = Connection::open(server.address())?;
        for earlier in 0..=round {
            let tag = format!("v{earlier}");
            let manifest = ask(&mut http, 200, get(format!("/v2/a/manifests/{tag}")))?;
            ensure!(manifest.body == manifest_of(&tag));
            for blob in blobs_of(&tag) {
                ask(
                    &mut http,
                    200,
                    get(format!("/v2/a/blobs/{}", sha256(&blob))),
                )?;
            }
        }
    }
    Ok(())
}
