//! Somebody who can write into the data directory plants there what leads out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use wharf_tests::content::sha256;
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{ask, get, open, push, refuse, serve, stored};
use wharf_tests::wharf::Server;

use crate::still_serves;

/// What nobody may read, write or remove, and as long as [`CONTENT`].
const SECRET: &[u8] = b"the secret of someone else";
const CONTENT: &[u8] = b"some content that is there";

/// A file of someone else's, beside the data directory.
struct Victim {
    path: PathBuf,
    folder: PathBuf,
}

impl Victim {
    fn new(server: &Server) -> Result<Self> {
        assert_eq!(SECRET.len(), CONTENT.len());
        let folder = server.scratch().join("someone");
        fs::create_dir(&folder)?;
        let path = folder.join("secret");
        fs::write(&path, SECRET)?;
        Ok(Self { path, folder })
    }

    fn untouched(&self) -> Result<()> {
        ensure!(fs::read(&self.path)? == SECRET, "the secret was written to");
        let files = fs::read_dir(&self.folder)?.count();
        ensure!(files == 1, "{files} files beside the secret");
        Ok(())
    }
}

fn pipe(path: &Path) -> Result<()> {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
    Ok(())
}

/// The one file that holds content.
fn only_file(server: &Server) -> Result<PathBuf> {
    let files = stored(server)?;
    ensure!(files.len() == 1, "{files:?}");
    Ok(files[0].clone())
}

#[test]
fn what_stands_for_a_blob_is_not_served() -> Result<()> {
    let (server, mut http) = serve()?;
    let victim = Victim::new(&server)?;
    let digest = push(&mut http, "a", CONTENT)?;
    let blob = format!("/v2/a/blobs/{digest}");
    // A copy of the data directory that was made of hard links takes nothing away.
    let kept = server.scratch().join("kept");
    fs::hard_link(only_file(&server)?, &kept)?;
    assert_eq!(ask(&mut http, 200, get(&blob))?.body, CONTENT);
    fs::copy(&kept, server.scratch().join("copy"))?;
    fs::remove_file(&kept)?;
    fs::rename(server.scratch().join("copy"), &kept)?;

    type Plant = fn(&Path, &Path, &Path) -> Result<()>;
    let plants: [(&str, Plant); 5] = [
        ("a symbolic link", |victim, _, file| {
            Ok(symlink(victim, file)?)
        }),
        ("a symbolic link to the right content", |_, kept, file| {
            Ok(symlink(kept, file)?)
        }),
        ("a hard link", |victim, _, file| {
            Ok(fs::hard_link(victim, file)?)
        }),
        ("a folder", |_, _, file| Ok(fs::create_dir(file)?)),
        ("a pipe", |_, _, file| pipe(file)),
    ];
    for (what, plant) in plants {
        let file = only_file(&server)?;
        fs::remove_file(&file)?;
        plant(&victim.path, &kept, &file)?;
        for range in ["bytes=0-", "bytes=3-5"] {
            let request = get(&blob).header("Range", range);
            refuse(&mut http, 404, "BLOB_UNKNOWN", request).with_context(|| what.to_owned())?;
        }
        victim.untouched()?;
        // What was planted is gone or stays, and the content comes to another place.
        match fs::symlink_metadata(&file) {
            Ok(there) if there.is_dir() => fs::remove_dir(&file)?,
            Ok(_) => fs::remove_file(&file)?,
            Err(_) => {}
        }
        push(&mut http, "a", CONTENT).with_context(|| format!("again, after {what}"))?;
        assert_eq!(ask(&mut http, 200, get(&blob))?.body, CONTENT);
    }
    still_serves(&server, 1)
}

#[test]
fn folders_that_lead_elsewhere_are_not_entered() -> Result<()> {
    for inner in [true, false] {
        let (server, mut http) = serve()?;
        let victim = Victim::new(&server)?;
        let digest = push(&mut http, "a", CONTENT)?;
        let file = only_file(&server)?;
        let fan_out = file.parent().context("no folder")?.to_owned();
        let folder = match inner {
            true => fan_out.clone(),
            false => fan_out.parent().context("no folder")?.to_owned(),
        };
        let moved = server.scratch().join("moved");
        fs::rename(&folder, &moved)?;

        symlink(&moved, &folder)?;
        let blob = get(format!("/v2/a/blobs/{digest}"));
        refuse(&mut http, 404, "BLOB_UNKNOWN", blob.clone())?;
        fs::remove_file(&folder)?;

        // Nor is anything put there: the same content again, in another repository.
        symlink(&victim.folder, &folder)?;
        let upload = open(&mut http, "b")?;
        let bytes = b"content that goes to the same folder, or not far from it".repeat(9);
        for seed in 0..if inner { 2000 } else { 1 } {
            let bytes = [&bytes[..], format!("{seed}").as_bytes()].concat();
            let digest = sha256(&bytes);
            // The folder is named after the first digits.
            if inner && !fan_out.ends_with(&digest[7..9]) {
                continue;
            }
            let put = Request::new("PUT", format!("{upload}?digest={digest}"));
            let answer = ask(&mut http, 500, put.body(Body::Sized(&bytes)))?;
            ensure!(!String::from_utf8_lossy(&answer.body).contains("wharf-test"));
            break;
        }
        victim.untouched()?;
        fs::remove_file(&folder)?;
        fs::rename(&moved, &folder)?;
        push(&mut http, "a", CONTENT)?;
        ask(&mut http, 200, blob)?;
        still_serves(&server, 2)?;
    }
    Ok(())
}

#[test]
fn an_upload_that_became_something_else_is_not_committed() -> Result<()> {
    let (server, mut http) = serve()?;
    let victim = Victim::new(&server)?;
    let digest = sha256(CONTENT);
    let everywhere = plants().into_iter().flat_map(|plant| {
        let names = ["a".to_owned(), "a".repeat(LONG)];
        names.map(|name| (plant, name))
    });
    for (plant, name) in everywhere {
        let upload = open(&mut http, &name)?;
        let data = bytes_of(&server, &upload)?;
        fs::remove_file(&data)?;
        plant(&victim.path, &data)?;
        let patch = Request::new("PATCH", &upload).body(Body::Chunked(CONTENT));
        ask(&mut http, 202, patch)?;
        let put = Request::new("PUT", format!("{upload}?digest={digest}"));
        ask(&mut http, 500, put)?;
        victim.untouched()?;
        let blob = get(format!("/v2/{name}/blobs/{digest}"));
        refuse(&mut http, 404, "BLOB_UNKNOWN", blob)?;
    }
    still_serves(&server, 3)
}

/// What may stand for a file that leads to another's.
type Plant = fn(&Path, &Path) -> Result<()>;

fn plants() -> [Plant; 4] {
    [
        |victim, data| Ok(symlink(victim, data)?),
        |victim, data| Ok(fs::hard_link(victim, data)?),
        |_, data| Ok(fs::create_dir(data)?),
        |_, data| pipe(data),
    ]
}

/// Bytes of a repository's name with which its uploads have a folder each.
const LONG: usize = 250;

/// The file of an open upload.
fn bytes_of(server: &Server, upload: &str) -> Result<PathBuf> {
    let id = upload.rsplit('/').next().unwrap_or_default();
    let uploads = server.data().join("uploads");
    for entry in fs::read_dir(&uploads)? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with(&format!("{id}.")) {
            return Ok(uploads.join(name));
        }
    }
    Ok(uploads.join(id).join("data"))
}

/// What an upload session has become while nobody looked: the next start takes over what is ours,
/// and no more.
#[test]
fn uploads_that_lead_elsewhere_are_not_taken_over() -> Result<()> {
    let (mut server, mut http) = serve()?;
    let victim = Victim::new(&server)?;
    let mut uploads = Vec::new();
    for _ in 0..6 {
        uploads.push(open(&mut http, &"a".repeat(LONG))?);
    }
    for _ in plants() {
        uploads.push(open(&mut http, "a")?);
    }
    let good = open(&mut http, "a")?;
    server.kill()?;
    let folder = |upload: &str| {
        let id = upload.rsplit('/').next().unwrap_or_default();
        server.data().join("uploads").join(id)
    };
    let replace = |upload: &str, name: &str| -> Result<PathBuf> {
        let path = folder(upload).join(name);
        fs::remove_file(&path)?;
        Ok(path)
    };
    symlink(&victim.path, replace(&uploads[0], "data")?)?;
    fs::hard_link(&victim.path, replace(&uploads[1], "data")?)?;
    pipe(&replace(&uploads[2], "data")?)?;
    pipe(&replace(&uploads[3], "session")?)?;
    symlink(&victim.path, replace(&uploads[4], "session")?)?;
    for (upload, plant) in uploads[6..].iter().zip(plants()) {
        let data = bytes_of(&server, upload)?;
        fs::remove_file(&data)?;
        plant(&victim.path, &data)?;
    }
    let whole = folder(&uploads[5]);
    fs::rename(&whole, server.scratch().join("elsewhere"))?;
    symlink(server.scratch().join("elsewhere"), &whole)?;
    // Files under names of uploads are none.
    fs::write(server.data().join("uploads").join("0".repeat(32)), "a file")?;
    fs::create_dir(server.data().join("uploads").join("1".repeat(32)))?;
    fs::create_dir_all(
        server
            .data()
            .join("uploads")
            .join("2".repeat(32))
            .join("data/x"),
    )?;

    server.restart()?;
    let mut http = Connection::open(server.address())?;
    for (index, upload) in uploads.iter().enumerate() {
        let patch = Request::new("PATCH", upload).body(Body::Chunked(b"overwritten"));
        let answer = http.send(patch)?;
        // A second name is known once the file is opened.
        let expected = if matches!(index, 1 | 7) { 500 } else { 404 };
        assert_eq!(answer.status, expected, "upload {index}: {answer:?}");
        victim.untouched()?;
    }
    let elsewhere = server.scratch().join("elsewhere/data");
    ensure!(fs::read(elsewhere)?.is_empty(), "written through a folder");
    let patch = Request::new("PATCH", &good).body(Body::Chunked(CONTENT));
    ask(&mut http, 202, patch)?;
    let put = Request::new("PUT", format!("{good}?digest={}", sha256(CONTENT)));
    ask(&mut http, 201, put)?;
    still_serves(&server, 4)
}

/// With these, there is nothing to serve from: it says so and ends.
#[test]
fn a_directory_whose_own_files_lead_elsewhere_is_refused() -> Result<()> {
    for name in ["wharf.lock", "catalog.db", "blobs", "uploads"] {
        let (mut server, _http) = serve()?;
        let victim = Victim::new(&server)?;
        // In good order, so that nothing else is wrong with it.
        server.terminate(Duration::from_secs(30))?;
        let path = server.data().join(name);
        let moved = server.scratch().join("moved");
        fs::rename(&path, &moved)?;
        match name {
            "catalog.db" => symlink(&moved, &path)?,
            "wharf.lock" => symlink(&victim.path, &path)?,
            _ => symlink(&victim.folder, &path)?,
        }
        let error = server.restart().expect_err(name).to_string();
        ensure!(error.contains("ended at once"), "{name}: {error}");
        ensure!(error.contains("could not open"), "{name}: {error}");
        victim.untouched()?;
    }
    Ok(())
}
