//! How it ends: what runs is finished, what is stored stays.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use wharf_tests::content::{INDEX, Random, index, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::wharf::Server;

use crate::{PATIENCE, get, push};

#[test]
fn a_running_upload_is_finished_first() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start()?;
        let bytes = Random::new(1).bytes(2 << 20);
        let blob = format!("/v2/a/blobs/{}", sha256(&bytes));
        let mut http = Connection::open(server.address())?;
        let post = format!("/v2/a/blobs/uploads/?digest={}", sha256(&bytes));
        let post = Request::new("POST", post)
            .header("Expect", "100-continue")
            .body(Body::Sized(&bytes));
        http.write(&post.head())?;
        // By this we know that the request runs.
        assert_eq!(http.read_head()?.status, 100);
        http.write(&bytes[..1 << 20])?;

        let pid = server
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(pid.unwrap(), signal)?;
        let deadline = Instant::now() + PATIENCE;
        while Connection::open(server.address()).is_ok() {
            ensure!(Instant::now() < deadline, "it still takes new connections");
            std::thread::sleep(Duration::from_millis(1));
        }
        http.write(&bytes[1 << 20..])?;
        let answer = http.read_answer("POST")?;
        assert_eq!((answer.status, answer.location()?), (201, blob.as_str()));
        let status = server.terminate(PATIENCE)?;
        ensure!(status.is_some_and(|status| status.success()), "{status:?}");
        server.restart()?;
        assert_eq!(get(server.address(), &blob)?.body, bytes);
    }
    Ok(())
}

/// Clients keep connections open for their next request, and nobody may have to wait for that.
#[test]
fn idle_connections_are_not_waited_for() -> Result<()> {
    let mut server = Server::start()?;
    let mut idle = Connection::open(server.address())?;
    idle.send(Request::new("GET", "/v2/"))?;
    let unused = Connection::open(server.address())?;
    // Well below the time that running requests get.
    let status = server.terminate(Duration::from_secs(15))?;
    ensure!(status.is_some_and(|status| status.success()), "{status:?}");
    assert!(idle.read_to_end()?.is_empty());
    drop(unused);
    Ok(())
}

#[test]
fn what_was_pushed_is_there_after_restarts() -> Result<()> {
    let mut server = Server::start()?;
    let blob = push(server.address(), b"content")?;
    let empty = index(&[]);
    let put = Request::new("PUT", "/v2/a/manifests/v1").header("Content-Type", INDEX);
    let answer = Connection::open(server.address())?.send(put.body(Body::Sized(&empty)))?;
    ensure!(answer.status == 201, "{answer:?}");
    for _ in 0..3 {
        server.terminate(PATIENCE)?;
        server.restart()?;
        assert_eq!(get(server.address(), &blob)?.body, b"content");
        let manifest = get(server.address(), "/v2/a/manifests/v1")?;
        assert_eq!(manifest.header("Content-Type"), Some(INDEX));
        assert_eq!(manifest.body, empty);
        assert_eq!(
            get(server.address(), "/v2/a/tags/list")?.json()?["tags"][0],
            "v1"
        );
    }
    Ok(())
}
