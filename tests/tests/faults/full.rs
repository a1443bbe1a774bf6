//! A disk without room.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use wharf_tests::content::{self, MANIFEST, Random};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{
    ask, delete, file_of, get, manifest_of, open, push, push_image, put, until,
};
use wharf_tests::volume::Volume;
use wharf_tests::wharf::Server;

use crate::{check, readiness};

const PATIENCE: Duration = Duration::from_secs(90);

/// A server on a disk of its own, which is small.
struct Small {
    server: Server,
    volume: Volume,
    _dir: TempDir,
}

impl Small {
    fn new(mkfs: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("wharf-full-").tempdir()?;
        let volume = Volume::make(&dir.path().join("disk"), 96 << 20, mkfs)?;
        let data = volume.path().join("data");
        Ok(Self {
            server: Server::start_on(Some(&data), ["--gc-grace", "1s"])?,
            volume,
            _dir: dir,
        })
    }

    fn filler(&self) -> PathBuf {
        self.volume.path().join("filler")
    }

    /// Fills the disk to its last byte.
    fn fill(&self) -> Result<()> {
        let mut filler = File::options()
            .create(true)
            .append(true)
            .open(self.filler())?;
        let mut piece = 1 << 20;
        while piece > 0 {
            match filler
                .write_all(&vec![1; piece])
                .and_then(|()| filler.sync_all())
            {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => piece /= 2,
                written => written?,
            }
        }
        Ok(())
    }

    /// Waits until the server has noticed.
    fn is(&self, state: &str) -> Result<()> {
        until(PATIENCE, &state.to_owned(), || readiness(&self.server))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Before its disk goes.
        let _ = self.server.kill();
    }
}

#[test]
fn a_full_disk_refuses_uploads_and_nothing_else_and_recovers_by_itself() -> Result<()> {
    let small = Small::new(&["mkfs.ext4", "-q", "-F"])?;
    let mut http = Connection::open(small.server.address())?;
    push_image(&mut http, "app", "v1")?;
    // In an image: as garbage it would go before we have looked, and make room.
    let layer = Random::new(1).bytes(8 << 20);
    let large = push(&mut http, "app", &layer)?;
    push(&mut http, "app", b"{}")?;
    let image = content::manifest(
        &content::descriptor(content::CONFIG, b"{}"),
        &[content::descriptor(content::LAYER, &layer)],
    );
    let request = put("app", "large", MANIFEST, &image);
    ask(&mut http, 201, request)?;
    // It must not notice before the disk is full: the filler would eat what it gives up then.
    small.server.freeze()?;
    small.fill()?;
    small.server.thaw()?;
    small.is("disk-full")?;
    until(PATIENCE, &0, || {
        Ok(fs::metadata(small.server.data().join("ballast")).map_or(0, |ballast| ballast.len()))
    })?;

    let refused = http.send(Request::new("POST", "/v2/app/blobs/uploads/"))?;
    ensure!(
        refused.status == 507 && refused.error_code()? == "DENIED",
        "{refused:?}"
    );
    check(&mut http, "app", "v1")?;
    ask(&mut http, 200, get(format!("/v2/app/blobs/{large}")))?;
    // The ballast has made room for the catalog: what is there can be tagged and deleted.
    let manifest = ask(&mut http, 200, get("/v2/app/manifests/v1"))?;
    let media_type = manifest
        .header("Content-Type")
        .context("no type")?
        .to_owned();
    ask(
        &mut http,
        201,
        put("app", "stable", &media_type, &manifest.body),
    )?;
    ask(&mut http, 202, delete("/v2/app/manifests/stable"))?;
    let image = content::sha256(&image);
    ask(&mut http, 202, delete(format!("/v2/app/manifests/{image}")))?;
    // The large blob is garbage now, and makes room when it goes; a person makes the rest.
    until(PATIENCE, &None, || file_of(&small.server, &large))?;
    fs::remove_file(small.filler())?;
    small.is("ok")?;
    push_image(&mut http, "app", "v2")?;
    check(&mut http, "app", "v1")
}

#[test]
fn a_disk_that_gets_full_in_the_middle_of_anything_costs_nothing_that_was_acknowledged()
-> Result<()> {
    let small = Small::new(&["mkfs.ext4", "-q", "-F"])?;
    let address = small.server.address();
    let mut http = Connection::open(address)?;
    push_image(&mut http, "app", "v1")?;

    // In the middle of a body.
    let upload = open(&mut http, "app")?;
    let body = Random::new(2).bytes(120 << 20);
    let patch = Request::new("PATCH", &upload).body(Body::Chunked(&body));
    let answer = http.send(patch)?;
    ensure!(
        answer.status == 507 && answer.error_code()? == "DENIED",
        "{answer:?}"
    );
    ask(&mut Connection::open(address)?, 204, delete(&upload))?;
    small.is("ok")?;

    // With not a byte left, whatever is tried is done or refused; also by the catalog, which has no ballast
    // any more.
    let (mut refused, first) = (0, manifest_of("v1"));
    for round in 0..20 {
        small.fill()?;
        let tag = format!("full-{round}");
        let pushed = push_image(&mut Connection::open(address)?, "app", &tag);
        let mut http = Connection::open(address)?;
        if pushed.is_ok() {
            check(&mut http, "app", &tag)?;
        }
        check(&mut http, "app", "v1")?;
        let again = format!("again-{round}");
        let tagged = http.send(put("app", &again, MANIFEST, &first))?;
        ensure!(matches!(tagged.status, 201 | 507), "{tagged:?}");
        refused += usize::from(tagged.status == 507);
        let gone = http.send(delete(format!("/v2/app/manifests/{tag}")))?;
        ensure!(matches!(gone.status, 202 | 404 | 507), "{gone:?}");
    }
    ensure!(refused > 0, "the catalog had room all the time");
    fs::remove_file(small.filler())?;
    small.is("ok")?;
    let mut http = Connection::open(address)?;
    push_image(&mut http, "app", "v2")?;
    check(&mut http, "app", "v2")?;
    check(&mut http, "app", "v1")
}

#[test]
fn a_disk_without_inodes_is_full_as_well() -> Result<()> {
    let small = Small::new(&["mkfs.ext4", "-q", "-F", "-N", "1024"])?;
    let mut http = Connection::open(small.server.address())?;
    push_image(&mut http, "app", "v1")?;
    let folder = small.volume.path().join("files");
    fs::create_dir(&folder)?;
    let mut count = 0;
    while make(&folder, count)? {
        count += 1;
    }
    ensure!(count > 10, "{count} files were all");
    small.is("disk-full")?;
    let answer = http.send(Request::new("POST", "/v2/app/blobs/uploads/"))?;
    ensure!(
        answer.status == 507 && answer.error_code()? == "DENIED",
        "{answer:?}"
    );
    check(&mut http, "app", "v1")?;
    fs::remove_dir_all(&folder)?;
    small.is("ok")?;
    push_image(&mut http, "app", "v2")?;
    check(&mut http, "app", "v1")
}

fn make(folder: &Path, number: usize) -> Result<bool> {
    match File::create(folder.join(number.to_string())) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(false),
        file => Ok(file.map(|_| true)?),
    }
}
