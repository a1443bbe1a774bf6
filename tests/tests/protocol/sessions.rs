//! Upload sessions in good order and out of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wharf_tests::content::{Random, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::wharf::Server;

use wharf_tests::talk::{ask, get, open, refuse, serve, stored};

/// A `PATCH` that says where its bytes belong.
pub(crate) fn chunk<'a>(upload: &str, range: &str, bytes: &'a [u8]) -> Request<'a> {
    Request::new("PATCH", upload)
        .header("Content-Range", range)
        .body(Body::Sized(bytes))
}

#[test]
fn a_new_session_says_where_it_is_and_how_far() -> Result<()> {
    let (_server, mut http) = serve()?;
    let answer = ask(&mut http, 202, Request::new("POST", "/v2/a/blobs/uploads/"))?;
    assert_eq!(answer.header("Range"), Some("0-0"));
    assert_eq!(answer.header("OCI-Chunk-Min-Length"), None);
    let upload = answer.location()?;
    for _ in 0..8 {
        let other = open(&mut http, "a")?;
        assert_ne!(other, upload);
        let id = other.strip_prefix("/v2/a/blobs/uploads/");
        let id = id.with_context(|| format!("uploads go on at {other}"))?;
        // A UUID of random bits (version 4), without hyphens.
        let digits = id.bytes().all(|digit| digit.is_ascii_hexdigit());
        ensure!(
            id.len() == 32 && digits && id.as_bytes()[12] == b'4',
            "{id}"
        );
        ensure!(b"89ab".contains(&id.as_bytes()[16]), "{id}");
    }
    for method in ["GET", "HEAD"] {
        let answer = ask(&mut http, 204, Request::new(method, upload))?;
        assert_eq!(
            (answer.location()?, answer.header("Range")),
            (upload, Some("0-0"))
        );
    }
    Ok(())
}

#[test]
fn a_chunk_out_of_order_is_refused_and_the_session_goes_on() -> Result<()> {
    let (_server, mut http) = serve()?;
    let bytes = Random::new(1).bytes(3000);
    let digest = sha256(&bytes);
    let upload = open(&mut http, "a")?;
    let third = &bytes[..1000];
    refuse(
        &mut http,
        416,
        "BLOB_UPLOAD_INVALID",
        chunk(&upload, "1000-1999", third),
    )?;
    ask(&mut http, 202, chunk(&upload, "0-999", third))?;
    for (range, status, code) in [
        ("0-999", 416, "BLOB_UPLOAD_INVALID"),
        ("2000-2999", 416, "BLOB_UPLOAD_INVALID"),
        ("999-1998", 416, "BLOB_UPLOAD_INVALID"),
        ("bytes 1000-1999/3000", 416, "BLOB_UPLOAD_INVALID"),
        ("1999-1000", 416, "BLOB_UPLOAD_INVALID"),
    ] {
        refuse(&mut http, status, code, chunk(&upload, range, third))?;
        let answer = ask(&mut http, 204, get(&upload))?;
        assert_eq!(answer.header("Range"), Some("0-999"), "after {range}");
    }
    let closing = format!("{upload}?digest={digest}");
    let early = Request::new("PUT", &closing)
        .header("Content-Range", "2000-2999")
        .body(Body::Sized(&bytes[2000..]));
    let answer = refuse(&mut http, 416, "BLOB_UPLOAD_INVALID", early)?;
    assert_eq!(answer.header("Range"), Some("0-999"));
    ask(&mut http, 202, chunk(&upload, "1000-2999", &bytes[1000..]))?;
    ask(&mut http, 201, Request::new("PUT", closing))?;
    assert_eq!(
        ask(&mut http, 200, get(format!("/v2/a/blobs/{digest}")))?.body,
        bytes
    );
    Ok(())
}

#[test]
fn a_chunk_of_another_length_than_it_says_is_refused() -> Result<()> {
    let (_server, mut http) = serve()?;
    for (range, body) in [
        ("0-9", &b"123456789"[..]),
        ("0-9", b"12345678901"),
        ("0-9", b""),
        ("0-18446744073709551615", b""),
        ("0-18446744073709551615", b"1"),
    ] {
        let upload = open(&mut http, "a")?;
        refuse(&mut http, 400, "SIZE_INVALID", chunk(&upload, range, body))?;
        ask(&mut http, 204, get(&upload))?;
    }
    Ok(())
}

#[test]
fn a_deleted_session_is_gone() -> Result<()> {
    let (server, mut http) = serve()?;
    let upload = open(&mut http, "a")?;
    ask(
        &mut http,
        202,
        Request::new("PATCH", &upload).body(Body::Chunked(b"content")),
    )?;
    ask(&mut http, 204, Request::new("DELETE", &upload))?;
    let closing = format!("{upload}?digest={}", sha256(b"content"));
    for (method, target) in [
        ("GET", &upload),
        ("PATCH", &upload),
        ("DELETE", &upload),
        ("PUT", &closing),
    ] {
        refuse(
            &mut http,
            404,
            "BLOB_UPLOAD_UNKNOWN",
            Request::new(method, target),
        )?;
    }
    assert!(stored(&server)?.is_empty());
    Ok(())
}

#[test]
fn an_upload_that_nobody_goes_on_with_ends() -> Result<()> {
    let server = Server::start_with(["--upload-expiry", "1s", "--gc-grace", "1s"])?;
    let mut http = Connection::open(server.address())?;
    let upload = open(&mut http, "a")?;
    let patch = Request::new("PATCH", &upload).body(Body::Chunked(b"content"));
    ask(&mut http, 202, patch)?;
    // Whoever asks for it goes on with it, so its file is what tells.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !stored(&server)?.is_empty() {
        ensure!(Instant::now() < deadline, "it is kept for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
    refuse(&mut http, 404, "BLOB_UPLOAD_UNKNOWN", get(&upload))?;
    Ok(())
}

#[test]
fn sessions_of_one_digest_that_end_together_leave_one_file() -> Result<()> {
    const SESSIONS: usize = 8;
    let (server, mut http) = serve()?;
    for round in 0..5 {
        let bytes = Random::new(round).bytes(100_000);
        let digest = sha256(&bytes);
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            let mut http = Connection::open(server.address())?;
            let upload = open(&mut http, "a")?;
            let patch = Request::new("PATCH", &upload).body(Body::Chunked(&bytes));
            ask(&mut http, 202, patch)?;
            sessions.push((http, format!("{upload}?digest={digest}")));
        }
        let together = std::sync::Barrier::new(SESSIONS);
        std::thread::scope(|scope| {
            let ends: Vec<_> = sessions
                .into_iter()
                .map(|(mut http, close)| {
                    let together = &together;
                    scope.spawn(move || {
                        together.wait();
                        ask(&mut http, 201, Request::new("PUT", close))
                    })
                })
                .collect();
            ends.into_iter()
                .try_for_each(|end| end.join().expect("no panic").map(drop))
        })?;
        let files = stored(&server)?.len();
        ensure!(u64::try_from(files)? == round + 1, "{:?}", stored(&server)?);
        let blob = get(format!("/v2/a/blobs/{digest}"));
        ensure!(ask(&mut http, 200, blob)?.body == bytes);
    }
    Ok(())
}
