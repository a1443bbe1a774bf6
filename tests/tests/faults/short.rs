//! Writes and reads that do less than was asked for: at a limit on the size of files, and in a file that
//! shrinks while it is read.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use wharf_tests::content::{MANIFEST, Random, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{ask, file_of, get, open, push, push_blobs, push_image, put};
use wharf_tests::wharf::Server;

use crate::{check, readiness};

/// A server that gets an error and no signal where a file may not grow any more.
fn serve() -> Result<Server> {
    let wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    Server::start_within(wrapper, [""; 0])
}

/// From now on, files of the server get so long and no longer. What of a write is below the limit is
/// written.
fn limit(server: &Server, bytes: Option<u64>) -> Result<()> {
    let id = server.id().context("the server does not run")?;
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let (current, maximum) = (bytes, None);
    prlimit(pid, Resource::Fsize, Rlimit { current, maximum })?;
    Ok(())
}

#[test]
fn an_upload_whose_bytes_are_written_in_part_fails_and_goes_on_behind_them() -> Result<()> {
    let server = serve()?;
    for most in [1 << 22, (1 << 22) + 1, (1 << 22) + 300_007] {
        let mut http = Connection::open(server.address())?;
        // So little more that it is in the server's last write.
        let bytes = Random::new(most).bytes(usize::try_from(most)? + 1000);
        let digest = sha256(&bytes);
        let upload = open(&mut http, "app")?;
        limit(&server, Some(most))?;
        let patch = Request::new("PATCH", &upload).body(Body::Chunked(&bytes));
        ask(&mut http, 507, patch)?;
        let blob = get(format!("/v2/app/blobs/{digest}"));
        ask(&mut Connection::open(server.address())?, 404, blob)?;

        limit(&server, None)?;
        // Where it goes on is said by who refuses a chunk from elsewhere.
        let mut http = Connection::open(server.address())?;
        let elsewhere = Request::new("PATCH", &upload).header("Content-Range", "1-1");
        let refused = ask(&mut http, 416, elsewhere.body(Body::Sized(b"x")))?;
        let stored = format!("0-{}", most - 1);
        ensure!(refused.header("Range") == Some(&stored), "{refused:?}");
        let rest = &bytes[usize::try_from(most)?..];
        let put = Request::new("PUT", format!("{upload}?digest={digest}"));
        ask(&mut http, 201, put.body(Body::Sized(rest)))?;
        let blob = get(format!("/v2/app/blobs/{digest}"));
        ensure!(ask(&mut http, 200, blob)?.body == bytes, "{most}");
    }
    Ok(())
}

/// A commit of which a part gets into the journal: a byte, the head of a page, one page or some.
#[test]
fn a_torn_commit_is_none_and_nothing_more_is_written_behind_it() -> Result<()> {
    let mut server = serve()?;
    let mut pushed = Vec::new();
    for more in [1, 24, 5_000, 10_000, 20_000] {
        let mut http = Connection::open(server.address())?;
        let tag = format!("v{more}");
        push_image(&mut http, "app", &tag)?;
        pushed.push(tag);
        let torn = format!("torn{more}");
        let manifest = push_blobs(&mut http, "app", &torn)?;
        let journal = server.data().join("catalog.db-wal").metadata()?.len();
        limit(&server, Some(journal + more))?;
        let push = put("app", &torn, MANIFEST, &manifest);
        ask(&mut http, 503, push).context(torn.clone())?;
        let state = readiness(&server)?;
        ensure!(state == "read-only", "{torn}: the server is {state}");
        limit(&server, None)?;
        for life in ["the same", "the next"] {
            let mut http = Connection::open(server.address())?;
            for tag in &pushed {
                check(&mut http, "app", tag).with_context(|| format!("{torn}, in {life} life"))?;
            }
            let manifest = get(format!("/v2/app/manifests/{torn}"));
            ask(&mut http, 404, manifest)?;
            if life == "the same" {
                server.kill()?;
                server.restart()?;
            }
        }
        push_image(&mut Connection::open(server.address())?, "app", &torn)?;
        pushed.push(torn);
    }
    Ok(())
}

#[test]
fn a_blob_whose_file_shrinks_while_it_is_read_is_cut_off_and_not_filled_up() -> Result<()> {
    let server = serve()?;
    let mut http = Connection::open(server.address())?;
    let bytes = Random::new(1).bytes(64 << 20);
    let digest = push(&mut http, "app", &bytes)?;
    let path = format!("/v2/app/blobs/{digest}");
    let mut reader = Connection::open(server.address())?;
    reader.write(&get(&path).header("Connection", "close").head())?;
    let head = reader.read_head()?;
    ensure!(head.status == 200, "{head:?}");
    // Far behind what may be on its way by now.
    let file = file_of(&server, &digest)?.context("no file")?;
    let file = File::options().write(true).open(file)?;
    file.set_len((40 << 20) + 12_345)?;
    let read = reader.read_to_end()?;
    ensure!(read.len() < bytes.len(), "all of it came");
    ensure!(bytes.starts_with(&read), "other bytes came");

    // And from then on it is known.
    ask(&mut http, 404, get(&path))?;
    push(&mut http, "app", &bytes)?;
    ensure!(ask(&mut http, 200, get(&path))?.body == bytes);
    Ok(())
}
