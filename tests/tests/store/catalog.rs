//! A catalog that is lost, or older than the blobs, costs no blob.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection as Database;
use wharf_tests::content::sha256;
use wharf_tests::http::Connection;
use wharf_tests::talk::{ask, blobs_of, delete, files, get, manifest_of, push, push_image, until};
use wharf_tests::wharf::Server;

use crate::{PATIENCE, operate, report, said, serve, stored};

#[test]
fn a_lost_catalog_is_restored_and_nothing_goes_until_it_is_accepted() -> Result<()> {
    let (mut server, mut http) = serve(&["--catalog-copy-every", "1s", "--gc-grace", "1s"])?;
    push_image(&mut http, "app", "v1")?;
    until(PATIENCE, &true, || Ok(copied(&server)?.is_some()))?;
    let first = copied(&server)?.context("no copy")?;
    // Pushed after the copy, and copied as well; the newest copy is the one to take.
    push_image(&mut http, "app", "v2")?;
    until(PATIENCE, &true, || {
        Ok(copied(&server)?.is_some_and(|copy| copy > first))
    })?;
    server.kill()?;
    let copies = files(&server.data().join("copies"))?;
    ensure!(copies.len() <= 2, "{copies:?}");
    // Pushed after the last copy.
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    push_image(&mut http, "app", "v3")?;
    server.kill()?;
    for copy in copied(&server)?
        .into_iter()
        .filter(|copy| *copy > first + 1)
    {
        // Only those from before v3, so that something is lacking.
        let _ = fs::remove_file(server.data().join(format!("copies/catalog-{copy}.db")));
    }
    let before = stored(&server)?;
    fs::remove_file(server.data().join("catalog.db"))?;
    for file in ["catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(server.data().join(file));
    }
    age(&server)?;

    let restored = said(&operate(&server, &["catalog", "restore"])?);
    ensure!(restored.contains("catalog accept"), "{restored}");
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    ask(&mut http, 200, get("/v2/app/manifests/v1"))?;
    ask(&mut http, 404, get("/v2/app/manifests/v3"))?;
    ensure!(server.log().contains("the catalog is older than the blobs"));
    // It may not even take what it knows to be garbage.
    ask(
        &mut http,
        202,
        delete(format!("/v2/app/manifests/{}", sha256(&manifest_of("v1")))),
    )?;
    std::thread::sleep(Duration::from_millis(2100));
    let held = report(&server, &["gc", "--orphans"])?;
    ensure!(
        held["collected"]["collection"]["held"].is_string(),
        "{held}"
    );
    ensure!(held["collected"]["sweep"]["held"].is_string(), "{held}");
    assert_eq!(stored(&server)?, before);
    // What was pushed after the copy is pushed again, over what is there.
    push_image(&mut http, "app", "v3")?;
    let busy = operate(&server, &["catalog", "accept"])?;
    ensure!(busy.status.code() == Some(6), "{}", said(&busy));
    server.terminate(PATIENCE)?;

    ensure!(operate(&server, &["catalog", "accept"])?.status.success());
    server.restart()?;
    until(PATIENCE, &false, || {
        operate(&server, &["gc", "--orphans"])?;
        Ok(stored(&server).map_or(true, |now| now.contains(&sha256(&blobs_of("v1")[1]))))
    })?;
    let mut http = Connection::open(server.address())?;
    for blob in blobs_of("v3") {
        let path = format!("/v2/app/blobs/{}", sha256(&blob));
        ensure!(ask(&mut http, 200, get(path))?.body == blob);
    }
    Ok(())
}

#[test]
fn a_catalog_that_nobody_changes_is_copied_once() -> Result<()> {
    let (server, mut http) = serve(&["--catalog-copy-every", "1s"])?;
    // It makes a copy whatever there is, when it has started; from then on it knows.
    until(PATIENCE, &true, || Ok(copied(&server)?.is_some()))?;
    // By this one's copies it is seen how time passes.
    let (busy, mut busy_http) = serve(&["--catalog-copy-every", "1s"])?;
    for blob in [b"one", b"two"] {
        let before = copied(&server)?;
        push(&mut http, "app", blob)?;
        until(PATIENCE, &true, || Ok(copied(&server)? > before))?;
        let once = copied(&server)?;
        let start = copied(&busy)?.unwrap_or(0);
        let mut number = 0;
        until(PATIENCE, &true, || {
            number += 1;
            push(&mut busy_http, "a", format!("{start} {number}").as_bytes())?;
            Ok(copied(&busy)?.is_some_and(|copy| copy > start + 2))
        })?;
        let later = copied(&server)?;
        ensure!(
            later == once,
            "{later:?} after {once:?}, and nothing changed"
        );
    }
    Ok(())
}

#[test]
fn what_was_pushed_before_a_restart_is_copied_after_it() -> Result<()> {
    let (mut server, mut http) = serve(&[])?;
    push_image(&mut http, "app", "v1")?;
    server.terminate(PATIENCE)?;
    server.set_arguments(["--catalog-copy-every", "1s"]);
    server.restart()?;
    until(PATIENCE, &true, || Ok(copied(&server)?.is_some()))
}

#[test]
fn a_copy_that_could_not_be_made_is_made_later() -> Result<()> {
    let (server, mut http) = serve(&["--catalog-copy-every", "1s"])?;
    let folder = server.data().join("copies");
    fs::write(&folder, "in the way")?;
    push_image(&mut http, "app", "v1")?;
    until(PATIENCE, &true, || {
        Ok(server.log().contains("could not copy the catalog"))
    })?;
    fs::remove_file(&folder)?;
    until(PATIENCE, &true, || Ok(copied(&server)?.is_some()))
}

/// A journal that is not the database's own: taken for it, it would write pages of one into the other.
#[test]
fn a_restored_catalog_is_not_mixed_with_the_journal_of_the_one_before() -> Result<()> {
    let (mut server, mut http) = serve(&["--catalog-copy-every", "1s"])?;
    push_image(&mut http, "app", "v1")?;
    server.terminate(PATIENCE)?;
    server.restart()?;
    until(PATIENCE, &true, || Ok(copied(&server)?.is_some()))?;
    server.terminate(PATIENCE)?;
    server.set_arguments(["--catalog-copy-every", "1h"]);
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    for tag in ["v2", "v3", "v4"] {
        push_image(&mut http, "app", tag)?;
    }
    server.kill()?;
    let journal = server.data().join("catalog.db-wal");
    ensure!(journal.metadata()?.len() > 0, "nothing is in the journal");

    let restored = operate(&server, &["catalog", "restore"])?;
    ensure!(restored.status.success(), "{}", said(&restored));
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    ask(&mut http, 200, get("/v2/app/manifests/v1"))?;
    for tag in ["v2", "v3", "v4"] {
        ask(&mut http, 404, get(format!("/v2/app/manifests/{tag}")))?;
        push_image(&mut http, "app", tag)?;
    }
    server.terminate(PATIENCE)?;
    let sound: String = Database::open(server.data().join("catalog.db"))?.query_row(
        "PRAGMA integrity_check",
        [],
        |row| row.get(0),
    )?;
    ensure!(sound == "ok", "{sound}");
    Ok(())
}

#[test]
fn there_may_be_no_copy() -> Result<()> {
    let (mut server, _http) = serve(&[])?;
    let running = operate(&server, &["catalog", "restore"])?;
    ensure!(running.status.code() == Some(6), "{}", said(&running));
    server.terminate(PATIENCE)?;
    let none = operate(&server, &["catalog", "restore"])?;
    ensure!(
        none.status.code() == Some(5) && said(&none).contains("there is no copy"),
        "{}",
        said(&none)
    );
    ensure!(
        server.data().join("catalog.db").exists(),
        "the catalog that was there is gone"
    );
    server.restart()?;
    Ok(())
}

#[test]
fn what_a_newer_wharf_laid_out_is_refused() -> Result<()> {
    let (mut server, _http) = serve(&[])?;
    server.terminate(PATIENCE)?;
    fs::write(server.data().join("format"), "7\n")?;
    let refused = format!("{:#}", server.restart().err().context("it was served")?);
    ensure!(refused.contains("use a newer wharf"), "{refused}");
    Ok(())
}

/// What the first format had instead of what the second one has.
const FORMAT_1: &str = "
    ALTER TABLE repository_blob ADD COLUMN last_used INTEGER NOT NULL DEFAULT 0;
    UPDATE repository_blob SET last_used = unixepoch();
    DROP TABLE loose_blob;
    DROP INDEX blob_by_verification;
    DELETE FROM meta WHERE key <> 'store_id';
    INSERT INTO blob (digest, size, location, created_at, verified_at)
        VALUES ('sha256:' || hex(zeroblob(32)), 1, hex(zeroblob(16)), 0, 0);
    PRAGMA user_version = 1;";

#[test]
fn a_directory_of_the_first_format_is_taken_over() -> Result<()> {
    let (mut server, mut http) = serve(&["--gc-grace", "1s"])?;
    push_image(&mut http, "app", "v1")?;
    server.terminate(PATIENCE)?;
    Database::open(server.data().join("catalog.db"))?.execute_batch(FORMAT_1)?;
    fs::remove_file(server.data().join("format"))?;
    fs::remove_file(server.data().join("blobs/generation"))?;

    server.restart()?;
    let mut http = Connection::open(server.address())?;
    let loose = push(&mut http, "app", b"needed by nothing")?;
    until(PATIENCE, &false, || Ok(stored(&server)?.contains(&loose)))?;
    let manifest = ask(&mut http, 200, get("/v2/app/manifests/v1"))?;
    ensure!(manifest.body == manifest_of("v1"));
    for blob in blobs_of("v1") {
        let path = format!("/v2/app/blobs/{}", sha256(&blob));
        ensure!(ask(&mut http, 200, get(path))?.body == blob);
    }
    Ok(())
}

/// The newest copy's number.
fn copied(server: &Server) -> Result<Option<u64>> {
    let copies = files(&server.data().join("copies"))?;
    let numbers = copies.iter().filter_map(|copy| {
        let name = copy.file_name()?.to_str()?;
        name.strip_prefix("catalog-")?
            .strip_suffix(".db")?
            .parse()
            .ok()
    });
    Ok(numbers.max())
}

/// Makes every file older than an orphan has to be.
fn age(server: &Server) -> Result<()> {
    let before = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    for file in files(&server.data().join("blobs"))? {
        File::options()
            .write(true)
            .open(file)?
            .set_modified(before)?;
    }
    Ok(())
}
