//! The data directory: one server's at a time, and not any directory.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use wharf_tests::talk::until;
use wharf_tests::wharf::{self, Server};

use crate::{PATIENCE, Started, fails, get, push, wharf_serve};

/// Tries to serve a directory that cannot be served, and returns what it said.
fn refused(data: &Path) -> Result<String> {
    let mut command = wharf_serve()?;
    command
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data);
    Ok(fails(&mut command)?.stderr)
}

#[test]
fn it_is_where_the_desktop_keeps_data_unless_told_otherwise() -> Result<()> {
    for (variable, data) in [
        ("XDG_DATA_HOME", "wharf/registry"),
        ("HOME", ".local/share/wharf/registry"),
    ] {
        let mut server = Started::new(|command, folder| {
            command
                .env(variable, folder)
                .args(["--listen", "127.0.0.1:0", "--ready-file"]);
            command.arg(folder.join("ready"));
        })?;
        server.ready()?;
        ensure!(
            server.path(data).join("catalog.db").exists(),
            "{}",
            server.log()
        );
    }
    Ok(())
}

#[test]
fn a_second_server_is_refused_and_told_whose_it_is() -> Result<()> {
    let mut server = Server::start()?;
    let blob = push(server.address(), b"content")?;
    for _ in 0..2 {
        let said = refused(&server.data())?;
        let first = server
            .id()
            .map(|id| format!("process {id}"))
            .unwrap_or_default();
        ensure!(
            said.contains(&first) && said.contains(&server.data().display().to_string()),
            "{said}"
        );
    }
    assert_eq!(get(server.address(), &blob)?.body, b"content");
    // A lock goes with its process, however that ends: nothing stale keeps the next one out.
    server.kill()?;
    server.restart()?;
    assert_eq!(get(server.address(), &blob)?.body, b"content");
    Ok(())
}

#[test]
fn a_second_server_may_wait_for_the_first_to_leave() -> Result<()> {
    let mut first = Server::start()?;
    let blob = push(first.address(), b"content")?;
    let data = first.data();
    let wait = |command: &mut std::process::Command, folder: &Path| {
        command
            .args(["--listen", "127.0.0.1:0", "--lock-wait", "600", "--data"])
            .arg(&data);
        command.arg("--ready-file").arg(folder.join("ready"));
    };
    let mut second = Started::new(wait)?;
    let third = Started::new(wait)?;
    // Both would have failed by now, or answered, if they did not wait.
    ensure!(refused(&data)?.contains("in use"));
    ensure!(
        !second.path("ready").exists() && second.child.try_wait()?.is_none(),
        "{}",
        second.log()
    );
    // Whoever waits can be called off.
    let mut third = third;
    until(PATIENCE, &true, || catches_sigterm(third.child.id()))?;
    third.signal(Signal::TERM)?;
    third.ends_well()?;

    first.terminate(PATIENCE)?;
    let addresses = second.ready()?;
    assert_eq!(get(addresses[0], &blob)?.body, b"content");
    let said = refused(&data)?;
    ensure!(
        said.contains(&format!("process {}", second.child.id())),
        "{said}"
    );
    Ok(())
}

/// Whether a process does more at SIGTERM than die of it: it needs a moment from its start to that.
fn catches_sigterm(process: u32) -> Result<bool> {
    let caught = u64::from_str_radix(&wharf::status(process, "SigCgt")?, 16)?;
    Ok(caught >> (Signal::TERM.as_raw() - 1) & 1 == 1)
}

#[test]
fn waiting_has_an_end() -> Result<()> {
    let server = Server::start()?;
    let mut command = wharf_serve()?;
    command
        .args(["--listen", "127.0.0.1:0", "--lock-wait", "1", "--data"])
        .arg(server.data());
    let said = fails(&mut command)?.stderr;
    ensure!(said.contains("in use"), "{said}");
    Ok(())
}

#[test]
fn catalog_and_blobs_that_do_not_belong_together_are_not_served() -> Result<()> {
    let (mut one, mut two) = (Server::start()?, Server::start()?);
    for server in [&mut one, &mut two] {
        push(server.address(), b"content")?;
        server.terminate(Duration::from_secs(60))?;
    }
    let id = one.data().join("blobs/store-id");
    let good = fs::read(&id)?;
    let others = fs::read_to_string(two.data().join("blobs/store-id"))?;
    let blobs = || -> Result<usize> { Ok(walk(&one.data().join("blobs"))?) };
    let before = blobs()?;

    fs::write(&id, &others)?;
    let said = refused(&one.data())?;
    let ids = [others.trim(), std::str::from_utf8(&good)?.trim()];
    ensure!(ids.iter().all(|id| said.contains(id)), "{said}");
    fs::write(&id, "")?;
    ensure!(refused(&one.data())?.contains("do not belong together"));
    // Without its name, a store with blobs could be anyone's.
    fs::remove_file(&id)?;
    ensure!(refused(&one.data())?.contains("do not belong together"));
    fs::write(&id, &good)?;

    // A lost catalog: a new one would know none of the blobs.
    let (catalog, away) = (one.data().join("catalog.db"), one.scratch().join("away"));
    fs::rename(&catalog, &away)?;
    ensure!(refused(&one.data())?.contains("wharf catalog restore"));
    ensure!(!catalog.exists(), "a new catalog was made");
    fs::write(
        &catalog,
        "no database, but long enough to be looked at as one".repeat(100),
    )?;
    ensure!(refused(&one.data())?.contains("catalog"));

    assert_eq!(blobs()?, before);
    for leftover in ["catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(one.data().join(leftover));
    }
    fs::rename(&away, &catalog)?;
    one.restart()?;
    let path = format!("/v2/a/blobs/{}", wharf_tests::content::sha256(b"content"));
    assert_eq!(get(one.address(), &path)?.body, b"content");
    Ok(())
}

fn walk(folder: &Path) -> std::io::Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        files += if path.is_dir() { walk(&path)? } else { 1 };
    }
    Ok(files)
}

#[test]
fn a_directory_that_cannot_be_made_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    fs::write(&file, "")?;
    let data = file.join("data");
    let said = refused(&data)?;
    ensure!(said.contains(&data.display().to_string()), "{said}");
    Ok(())
}
