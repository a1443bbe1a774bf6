//! Callers that send next to nothing and stay.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use wharf_tests::content::{INDEX, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{ask, get, open};
use wharf_tests::wharf::Server;

use crate::still_serves;

/// As `--idle-timeout` has it. Long enough that nobody who sends is cut by a busy machine.
const IDLE: Duration = Duration::from_secs(6);
/// Of each kind.
const CALLERS: usize = 60;

/// A head that never ends.
fn endless_head(server: &Server) -> Result<Connection> {
    let mut http = Connection::open(server.address())?;
    http.write(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n")?;
    Ok(http)
}

/// A body that begins.
fn begun(server: &Server, request: Request<'_>) -> Result<Connection> {
    let mut http = Connection::open(server.address())?;
    http.write(&request.head())?;
    http.write_chunk(b"a")?;
    Ok(http)
}

fn patch(upload: &str) -> Request<'static> {
    Request::new("PATCH", upload).body(Body::Chunked(&[]))
}

#[test]
fn who_sends_nothing_is_cut_and_who_sends_little_is_served() -> Result<()> {
    let idle = IDLE.as_secs().to_string();
    let server = Server::start_with(["--idle-timeout", &idle])?;
    let mut http = Connection::open(server.address())?;
    let (mut heads, mut silent, mut slow) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..CALLERS {
        heads.push(endless_head(&server)?);
        let upload = open(&mut http, "silent")?;
        silent.push((begun(&server, patch(&upload))?, upload));
        let upload = open(&mut http, "slow")?;
        slow.push((begun(&server, patch(&upload))?, upload));
    }
    let manifest = Request::new("PUT", "/v2/silent/manifests/v1")
        .header("Content-Type", INDEX)
        .body(Body::Chunked(&[]));
    let mut silent_manifest = begun(&server, manifest)?;

    // Longer than a head may take in all, and a body may be silent.
    let (end, mut sent) = (Instant::now() + IDLE + IDLE / 2, 1);
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(200));
        sent += 1;
        for (slow, _) in &mut slow {
            slow.write_chunk(b"a")?;
        }
        for head in &mut heads {
            // They notice the end only when they read.
            let _ = head.write(b"X-Y: z\r\n");
        }
        still_serves(&server, sent)?;
    }
    for mut head in heads {
        head.closed()?;
    }
    for (mut silent, upload) in silent {
        let answer = silent.read_answer("PATCH")?;
        assert_eq!(
            (answer.status, answer.header("Connection")),
            (408, Some("close"))
        );
        assert_eq!(answer.error_code()?, "BLOB_UPLOAD_INVALID");
        silent.closed()?;
        // What came is kept, for a client that comes back.
        let status = ask(&mut Connection::open(server.address())?, 204, get(&upload))?;
        assert_eq!(status.header("Range"), Some("0-0"));
    }
    assert_eq!(silent_manifest.read_answer("PUT")?.status, 408);
    silent_manifest.closed()?;
    let bytes = b"a".repeat(usize::try_from(sent)?);
    for (mut slow, upload) in slow {
        slow.write(b"0\r\n\r\n")?;
        assert_eq!(slow.read_answer("PATCH")?.status, 202);
        let put = format!("{upload}?digest={}", sha256(&bytes));
        ask(&mut slow, 201, Request::new("PUT", put))?;
    }
    Ok(())
}

/// Nothing at all, or nothing more after an answer.
#[test]
fn a_connection_without_a_request_is_closed() -> Result<()> {
    let server = Server::start_with(["--idle-timeout", "1"])?;
    let mut silent = Connection::open(server.address())?;
    let mut served = Connection::open(server.address())?;
    ask(&mut served, 200, get("/v2/"))?;
    silent.closed()?;
    served.closed()?;
    still_serves(&server, 1)
}

/// A large manifest has its turn for a time that does not depend on who sends it, and small ones
/// need no turn.
#[test]
fn large_manifests_that_do_not_come_keep_nobody_waiting() -> Result<()> {
    let server = Server::start()?;
    let index = wharf_tests::content::index(&[]);
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut http = Connection::open(server.address())?;
        let claim = Request::new("PUT", "/v2/a/manifests/large")
            .header("Content-Type", INDEX)
            .body(Body::Claiming(4 << 20, b""));
        http.write(&claim.head())?;
        http.write(&[b' '; 1000])?;
        waiting.push(http);
    }
    // They are all heard of by then; a small one that came before them would show nothing.
    thread::sleep(Duration::from_secs(1));
    let mut http = Connection::open(server.address())?;
    let put = wharf_tests::talk::put("a", "v1", INDEX, &index);
    ask(&mut http, 201, put)?;
    ask(&mut http, 200, get("/v2/a/manifests/v1"))?;
    still_serves(&server, 2)
}
