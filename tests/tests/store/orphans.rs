//! Files that no row names.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use wharf_tests::content::{Random, sha256};
use wharf_tests::http::{Connection, Request};
use wharf_tests::talk::{ask, files, get, open, push, until};
use wharf_tests::wharf::Server;

use crate::{PATIENCE, operate, report, said, serve, stored};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn an_old_file_without_a_row_goes_into_quarantine_and_a_young_one_stays() -> Result<()> {
    let (mut server, mut http) = serve(&[])?;
    let needed = push(&mut http, "a", &Random::new(1).bytes(1 << 20))?;
    // A server looks for orphans when it starts.
    server.terminate(PATIENCE)?;
    let old = plant(&server, b"old", 2 * DAY)?;
    let young = plant(&server, b"young", DAY / 2)?;
    // Not ours to judge.
    let foreign = old.with_file_name("notes.txt");
    fs::write(&foreign, "a person's")?;
    let dry = report(&server, &["gc", "--dry-run"])?;
    ensure!(
        dry["collected"]["sweep"]["orphans"] == 1 && old.exists(),
        "{dry}"
    );

    let swept = said(&operate(&server, &["gc"])?);
    ensure!(
        swept.contains("1 files (3 B) that the catalog does not name went into quarantine"),
        "{swept}"
    );
    ensure!(!old.exists() && young.exists() && foreign.exists());
    ensure!(quarantined(&server)?.len() == 1);

    let another = plant(&server, b"other", 2 * DAY)?;
    server.restart()?;
    until(PATIENCE, &false, || Ok(another.exists()))?;
    ensure!(young.exists() && foreign.exists());
    ensure!(stored(&server)?.contains(&needed));
    Ok(())
}

#[test]
fn what_was_in_quarantine_for_a_week_is_gone() -> Result<()> {
    let (mut server, mut http) = serve(&[])?;
    push(&mut http, "a", b"content")?;
    server.terminate(PATIENCE)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    for days in [6, 8] {
        let folder = server
            .data()
            .join("quarantine")
            .join((now - days * DAY).as_secs().to_string());
        fs::create_dir_all(&folder)?;
        fs::write(
            folder.join(format!("{}.{}", &sha256(b"x")[7..], "0".repeat(32))),
            "x",
        )?;
    }
    operate(&server, &["gc"])?;
    ensure!(quarantined(&server)?.len() == 1);
    Ok(())
}

#[test]
fn more_than_a_crash_leaves_is_not_touched_unless_a_person_says_so() -> Result<()> {
    let (mut server, mut http) = serve(&[])?;
    push(&mut http, "a", &Random::new(1).bytes(1 << 10))?;
    server.terminate(PATIENCE)?;
    let orphan = plant(&server, &[0; 100], 2 * DAY)?;
    let held = said(&operate(&server, &["gc"])?);
    ensure!(
        held.contains("stay where they are") && held.contains("wharf gc --orphans"),
        "{held}"
    );
    ensure!(orphan.exists());
    operate(&server, &["gc", "--orphans"])?;
    ensure!(!orphan.exists());
    Ok(())
}

#[test]
fn a_file_whose_upload_is_open_is_no_orphan() -> Result<()> {
    let bytes = b"committed and not entered";
    let (mut server, upload, file) = cut_between_name_and_row(bytes)?;
    server.restart()?;
    operate(&server, &["gc", "--orphans"])?;
    ensure!(file.exists());
    let mut http = Connection::open(server.address())?;
    let digest = sha256(bytes);
    let put = Request::new("PUT", format!("{upload}?digest={digest}"));
    ask(&mut http, 201, put)?;
    ensure!(stored(&server)?.contains(&digest));
    Ok(())
}

#[test]
fn a_file_whose_bytes_were_lost_with_the_power_is_not_taken_for_a_blob() -> Result<()> {
    let bytes = b"named, and never synced";
    let (mut server, upload, file) = cut_between_name_and_row(bytes)?;
    fs::write(&file, vec![0; bytes.len()])?;
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    let digest = sha256(bytes);
    let put = Request::new("PUT", format!("{upload}?digest={digest}"));
    ask(&mut http, 400, put)?;
    ask(&mut http, 404, get(format!("/v2/a/blobs/{digest}")))?;
    push(&mut http, "a", bytes)?;
    let blob = ask(&mut http, 200, get(format!("/v2/a/blobs/{digest}")))?;
    ensure!(blob.body == bytes);
    Ok(())
}

/// A server that was killed between the name of a blob's file and the catalog's row, with the upload's path and that file. The
/// upload is known to the next one, because its repository's name is too long to be a part of the upload's.
fn cut_between_name_and_row(bytes: &[u8]) -> Result<(Server, String, PathBuf)> {
    let (mut server, mut http) = serve(&[])?;
    push(&mut http, "a", &Random::new(1).bytes(1 << 20))?;
    let upload = open(&mut http, &"a".repeat(250))?;
    server.kill()?;
    let id = upload.rsplit('/').next().unwrap_or_default();
    let file = place(&server, bytes, id, 2 * DAY)?;
    fs::remove_file(server.data().join("uploads").join(id).join("data"))?;
    Ok((server, upload, file))
}

/// Puts a blob's file where no row names it.
fn plant(server: &Server, bytes: &[u8], age: Duration) -> Result<PathBuf> {
    place(server, bytes, &"f".repeat(32), age)
}

fn place(server: &Server, bytes: &[u8], upload: &str, age: Duration) -> Result<PathBuf> {
    let hex = sha256(bytes).split_off("sha256:".len());
    let folder = server.data().join("blobs/sha256").join(&hex[..2]);
    let path = folder.join(format!("{hex}.{upload}"));
    fs::write(&path, bytes)?;
    File::options()
        .write(true)
        .open(&path)?
        .set_modified(SystemTime::now() - age)?;
    Ok(path)
}

fn quarantined(server: &Server) -> Result<Vec<PathBuf>> {
    files(&server.data().join("quarantine"))
}
