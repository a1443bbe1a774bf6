//! Uploads that are interrupted: by broken connections, restarts, lost answers and other writers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wharf_tests::content::{Random, sha256};
use wharf_tests::http::{Body, Connection, Request};

use crate::sessions::chunk;
use wharf_tests::talk::{ask, get, head, open, push, refuse, serve, stored};

/// Waits until a session has this many bytes; the server learns of a broken connection when the
/// system tells it.
fn arrived(http: &mut Connection, upload: &str, bytes: usize) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let range = format!("0-{}", bytes - 1);
    loop {
        let answer = ask(http, 204, get(upload))?;
        if answer.header("Range") == Some(&range) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not {range} but {answer:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_truncated_body_shows_nothing_and_is_resumed_where_it_broke() -> Result<()> {
    let (server, mut http) = serve()?;
    let bytes = Random::new(2).bytes(1_500_000);
    let digest = sha256(&bytes);
    let blob = format!("/v2/a/blobs/{digest}");
    // By length and by chunks; with the last request and before it.
    for (method, claimed) in [
        ("PATCH", true),
        ("PATCH", false),
        ("PUT", true),
        ("PUT", false),
    ] {
        let upload = open(&mut http, "a")?;
        let target = if method == "PUT" {
            format!("{upload}?digest={digest}")
        } else {
            upload.clone()
        };
        let mut broken = Connection::open(server.address())?;
        let part = &bytes[..1_200_000];
        if claimed {
            broken.write(
                &Request::new(method, target)
                    .body(Body::Claiming(bytes.len(), part))
                    .head(),
            )?;
            broken.write(part)?;
        } else {
            broken.write(
                &Request::new(method, target)
                    .body(Body::Chunked(part))
                    .head(),
            )?;
            broken.write_chunk(part)?;
        }
        drop(broken);
        arrived(&mut http, &upload, part.len())?;
        refuse(&mut http, 404, "BLOB_UNKNOWN", get(&blob))?;
        ask(&mut http, 404, head(&blob))?;
        // Of what is left, only as much as to see it go on there: another round needs the blob to
        // be unknown.
        ask(
            &mut http,
            202,
            chunk(&upload, "1200000-1499999", &bytes[1_200_000..]),
        )?;
        if (method, claimed) == ("PUT", false) {
            ask(
                &mut http,
                201,
                Request::new("PUT", format!("{upload}?digest={digest}")),
            )?;
        }
    }
    assert_eq!(ask(&mut http, 200, get(&blob))?.body, bytes);
    Ok(())
}

#[test]
fn a_truncated_single_post_leaves_nothing() -> Result<()> {
    let (server, mut http) = serve()?;
    let digest = sha256(b"whole");
    let mut broken = Connection::open(server.address())?;
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    // All bytes but one that was promised are there, and they would match.
    broken.write(
        &Request::new("POST", target)
            .body(Body::Claiming(6, b"whole"))
            .head(),
    )?;
    broken.write(b"whole")?;
    broken.close_sending()?;
    // The answer, if one comes, comes when all is over.
    let _ = broken.read_to_end();
    refuse(
        &mut http,
        404,
        "BLOB_UNKNOWN",
        get(format!("/v2/a/blobs/{digest}")),
    )?;
    assert!(stored(&server)?.is_empty(), "{:?}", stored(&server)?);
    Ok(())
}

#[test]
fn a_session_survives_restarts() -> Result<()> {
    let (mut server, mut http) = serve()?;
    let bytes = Random::new(3).bytes(600_000);
    let digest = sha256(&bytes);
    let upload = open(&mut http, "a")?;
    let untouched = open(&mut http, "a")?;
    ask(
        &mut http,
        202,
        chunk(&upload, "0-199999", &bytes[..200_000]),
    )?;
    server.kill()?;
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    assert_eq!(
        ask(&mut http, 204, get(&upload))?.header("Range"),
        Some("0-199999")
    );
    ask(
        &mut http,
        202,
        chunk(&upload, "200000-399999", &bytes[200_000..400_000]),
    )?;
    server.terminate(Duration::from_secs(30))?;
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    ask(
        &mut http,
        202,
        Request::new("PATCH", &upload).body(Body::Chunked(&bytes[400_000..])),
    )?;
    ask(
        &mut http,
        201,
        Request::new("PUT", format!("{upload}?digest={digest}")),
    )?;
    assert_eq!(
        ask(&mut http, 200, get(format!("/v2/a/blobs/{digest}")))?.body,
        bytes
    );
    assert_eq!(
        ask(&mut http, 204, get(untouched))?.header("Range"),
        Some("0-0")
    );
    Ok(())
}

#[test]
fn a_put_is_answered_again_when_its_answer_was_lost() -> Result<()> {
    let (mut server, mut http) = serve()?;
    let upload = open(&mut http, "a")?;
    let digest = sha256(b"content");
    let put = |digest: &str| {
        Request::new("PUT", format!("{upload}?digest={digest}")).body(Body::Sized(b"content"))
    };
    let first = ask(&mut http, 201, put(&digest))?;
    let again = ask(&mut http, 201, put(&digest))?;
    assert_eq!(first.location()?, again.location()?);
    for how in ["SIGKILL", "SIGTERM"] {
        if how == "SIGKILL" {
            server.kill()?;
        } else {
            server.terminate(Duration::from_secs(30))?;
        }
        server.restart()?;
        http = Connection::open(server.address())?;
        ask(&mut http, 201, put(&digest))?;
    }
    // Only what it finished: neither another digest nor another session.
    refuse(
        &mut http,
        404,
        "BLOB_UPLOAD_UNKNOWN",
        put(&sha256(b"another")),
    )?;
    let other = format!("/v2/a/blobs/uploads/{}?digest={digest}", "0".repeat(32));
    let other = Request::new("PUT", other).body(Body::Sized(b"content"));
    refuse(&mut http, 404, "BLOB_UPLOAD_UNKNOWN", other)?;
    Ok(())
}

/// As above, where the blob was there already, so that the upload left no file of its own.
#[test]
fn a_put_of_a_known_blob_is_answered_again() -> Result<()> {
    let (_server, mut http) = serve()?;
    let digest = push(&mut http, "a", b"content")?;
    let upload = open(&mut http, "b")?;
    for _ in 0..2 {
        let put = Request::new("PUT", format!("{upload}?digest={digest}"));
        ask(&mut http, 201, put.body(Body::Sized(b"content")))?;
    }
    Ok(())
}

#[test]
fn a_newer_request_fences_the_older_off() -> Result<()> {
    let (server, mut http) = serve()?;
    let bytes = Random::new(4).bytes(5 << 20);
    let digest = sha256(&bytes);
    let upload = open(&mut http, "a")?;
    // The older one is in the middle of its body: the server has stored some of it and waits for
    // more.
    let mut older = Connection::open(server.address())?;
    older.write(
        &Request::new("PATCH", &upload)
            .body(Body::Chunked(&[]))
            .head(),
    )?;
    older.write_chunk(&bytes[..3 << 20])?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while ask(&mut http, 204, get(&upload))?.header("Range") == Some("0-0") {
        ensure!(
            Instant::now() < deadline,
            "nothing of a running request is stored"
        );
    }
    // Out of order on purpose: the answer tells how much the older one got to store, and it stores
    // no more from then on.
    let answer = refuse(
        &mut http,
        416,
        "BLOB_UPLOAD_INVALID",
        chunk(&upload, "1-1", b"x"),
    )?;
    let range = answer
        .header("Range")
        .and_then(|range| range.strip_prefix("0-"));
    let stored = range.context("no Range")?.parse::<usize>()? + 1;
    older.write_chunk(b"late")?;
    older.write(b"0\r\n\r\n")?;
    let answer = older.read_answer("PATCH")?;
    assert_eq!(
        (answer.status, answer.error_code()?.as_str()),
        (409, "BLOB_UPLOAD_INVALID")
    );
    ensure!((1..=3 << 20).contains(&stored), "{stored}");

    let last = bytes.len() - 1;
    ask(
        &mut http,
        202,
        chunk(&upload, &format!("{stored}-{last}"), &bytes[stored..]),
    )?;
    ask(
        &mut http,
        201,
        Request::new("PUT", format!("{upload}?digest={digest}")),
    )?;
    assert_eq!(
        ask(&mut http, 200, get(format!("/v2/a/blobs/{digest}")))?.body,
        bytes
    );
    Ok(())
}
