//! Limits that nobody reaches in a moment, made small: the same server, in this process.

use std::future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wharf_registry::limits::Limits;
use wharf_registry::registry::{self, Settings};
use wharf_registry::server::Server;
use wharf_tests::content::{self, INDEX, MANIFEST, Random, sha256};
use wharf_tests::http::{Body, Connection, Request};

use wharf_tests::talk::{ask, get, open, push, put, refuse};

/// Long enough to see an answer that comes at once. Where none may come, a slow machine only makes
/// it later.
const MOMENT: Duration = Duration::from_millis(300);
/// A deadline that a test waits for.
const SHORT: Duration = Duration::from_millis(300);

/// A server in this process.
struct Small {
    address: SocketAddr,
    runtime: Option<Runtime>,
    _data: TempDir,
}

impl Small {
    fn serve(limits: Limits) -> Result<Self> {
        let runtime = Runtime::new()?;
        let data = tempfile::tempdir()?;
        let settings = Settings {
            limits,
            ..Settings::default()
        };
        let opened = registry::open(data.path(), Duration::ZERO, settings);
        let (registry, lock) = runtime.block_on(opened)?;
        let listening = async { Server::listen(&[SocketAddr::from(([127, 0, 0, 1], 0))]) };
        let server = runtime.block_on(listening)?;
        let address = *server.addresses().first().context("it listens nowhere")?;
        runtime.spawn(async move {
            let _lock = lock;
            server.run(Arc::new(registry), future::pending()).await;
        });
        Ok(Self {
            address,
            runtime: Some(runtime),
            _data: data,
        })
    }

    fn connect(&self) -> Result<Connection> {
        Ok(Connection::open(self.address)?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Clients do not come back after a 429, so who opens one upload too many waits for a place.
#[test]
fn one_upload_too_many_waits_until_another_ends() -> Result<()> {
    let server = Small::serve(Limits {
        open_uploads: 2,
        ..Limits::default()
    })?;
    let (mut http, mut waiting) = (server.connect()?, server.connect()?);
    let mut uploads = vec![open(&mut http, "a")?, open(&mut http, "b")?];
    let finish = format!("?digest={}", sha256(b"content"));
    let wrong = format!("?digest={}", sha256(b"another"));
    // Whichever way an upload ends, its place is free.
    for (method, query, status) in [
        ("DELETE", "", 204),
        ("PUT", finish.as_str(), 201),
        ("PUT", &wrong, 400),
    ] {
        waiting.write(&Request::new("POST", "/v2/a/blobs/uploads/").head())?;
        ensure!(waiting.is_silent(MOMENT)?, "a third upload was opened");
        let upload = uploads.remove(0);
        let end = Request::new(method, format!("{upload}{query}")).body(Body::Sized(b"content"));
        ask(&mut http, status, end)?;
        let answer = waiting.read_answer("POST")?;
        assert_eq!(answer.status, 202);
        uploads.push(answer.location()?.to_owned());
    }
    // A push in one request needs a place as well, and gives it back at once.
    ask(&mut http, 204, Request::new("DELETE", uploads.remove(0)))?;
    for _ in 0..3 {
        push_at_once(&mut http, b"at once")?;
    }
    Ok(())
}

fn push_at_once(http: &mut Connection, bytes: &[u8]) -> Result<()> {
    let post = format!("/v2/a/blobs/uploads/?digest={}", sha256(bytes));
    ask(
        http,
        201,
        Request::new("POST", post).body(Body::Sized(bytes)),
    )?;
    Ok(())
}

#[test]
fn who_waited_too_long_for_an_upload_is_told_to_try_again() -> Result<()> {
    let server = Small::serve(Limits {
        open_uploads: 1,
        open_upload_wait: Duration::from_millis(10),
        ..Limits::default()
    })?;
    let mut http = server.connect()?;
    let upload = open(&mut http, "a")?;
    let digest = sha256(b"content");
    for query in [
        String::new(),
        format!("?digest={digest}"),
        format!("?mount={digest}"),
    ] {
        let post = Request::new("POST", format!("/v2/a/blobs/uploads/{query}"));
        // Neither 429 nor TOOMANYREQUESTS: Docker gives up on both, and retries this.
        let post = post.body(Body::Sized(b"content"));
        let answer = refuse(&mut http, 503, "BLOB_UPLOAD_INVALID", post)?;
        ensure!(answer.header("Retry-After").is_some(), "{answer:?}");
    }
    ask(&mut http, 204, Request::new("DELETE", upload))?;
    open(&mut http, "a")?;
    Ok(())
}

#[test]
fn the_last_finished_uploads_are_remembered_and_no_more() -> Result<()> {
    let server = Small::serve(Limits {
        remembered_uploads: 2,
        ..Limits::default()
    })?;
    let mut http = server.connect()?;
    // Content that the store has already leaves nothing by which the upload could be known again.
    let closing = format!("?digest={}", push(&mut http, "a", b"known")?);
    let mut closings = Vec::new();
    for _ in 0..3 {
        let closing = format!("{}{closing}", open(&mut http, "a")?);
        let put = Request::new("PUT", &closing).body(Body::Sized(b"known"));
        ask(&mut http, 201, put)?;
        closings.push(closing);
    }
    for closing in &closings[1..] {
        ask(&mut http, 201, Request::new("PUT", closing))?;
    }
    let forgotten = Request::new("PUT", &closings[0]);
    refuse(&mut http, 404, "BLOB_UPLOAD_UNKNOWN", forgotten)?;
    Ok(())
}

#[test]
fn one_connection_too_many_waits_until_another_ends() -> Result<()> {
    let server = Small::serve(Limits {
        connections: 2,
        ..Limits::default()
    })?;
    let (mut one, mut two) = (server.connect()?, server.connect()?);
    ask(&mut one, 200, get("/v2/"))?;
    ask(&mut two, 200, get("/v2/"))?;
    let mut waiting = server.connect()?;
    waiting.write(&get("/v2/").head())?;
    ensure!(waiting.is_silent(MOMENT)?, "a third connection was served");
    ask(&mut one, 200, get("/v2/"))?;
    drop(two);
    assert_eq!(waiting.read_answer("GET")?.status, 200);
    ask(&mut one, 200, get("/v2/"))?;
    Ok(())
}

#[test]
fn the_last_request_of_a_connection_is_told_that_it_is() -> Result<()> {
    let server = Small::serve(Limits {
        requests_per_connection: 3,
        ..Limits::default()
    })?;
    for _ in 0..2 {
        let mut http = server.connect()?;
        let bytes = Random::new(1).bytes(1 << 20);
        for _ in 0..2 {
            let answer = ask(&mut http, 200, get("/v2/"))?;
            assert_eq!(answer.header("Connection"), None);
        }
        let post = format!("/v2/a/blobs/uploads/?digest={}", sha256(&bytes));
        let post = Request::new("POST", post).body(Body::Chunked(&bytes));
        let answer = ask(&mut http, 201, post)?;
        assert_eq!(answer.header("Connection"), Some("close"));
        ensure!(http.read_to_end()?.is_empty(), "there was a fourth answer");
    }
    Ok(())
}

/// Whoever takes nothing of an answer holds a place and memory.
#[test]
fn an_answer_that_nobody_reads_is_given_up() -> Result<()> {
    let server = Small::serve(Limits {
        connections: 1,
        write_idle: SHORT,
        ..Limits::default()
    })?;
    let mut deaf = server.connect()?;
    // More than what the sockets' buffers hold.
    let bytes = Random::new(2).bytes(64 << 20);
    let digest = push(&mut deaf, "a", &bytes)?;
    deaf.write(&get(format!("/v2/a/blobs/{digest}")).head())?;
    // Its place is free in the end.
    let mut next = server.connect()?;
    ask(&mut next, 200, get("/v2/"))?;
    let came = deaf.read_answer("GET");
    ensure!(came.is_err(), "the whole answer came");
    Ok(())
}

#[test]
fn a_page_is_no_longer_than_the_server_says() -> Result<()> {
    let server = Small::serve(Limits {
        page: 3,
        referrers: 3,
        ..Limits::default()
    })?;
    let mut http = server.connect()?;
    push(&mut http, "a", b"{}")?;
    let subject = content::descriptor(MANIFEST, b"subject");
    let digest = subject["digest"].as_str().unwrap_or_default();
    let lists = [
        ("/v2/a/tags/list".to_owned(), "tags"),
        ("/v2/_catalog".to_owned(), "repositories"),
        (format!("/v2/a/referrers/{digest}"), "manifests"),
    ];
    for count in 1..=4 {
        let referrer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [],
            "subject": subject, "annotations": {"number": count.to_string()}});
        let bytes = referrer.to_string().into_bytes();
        let name = if count == 1 {
            "a".to_owned()
        } else {
            format!("a/{count}")
        };
        ask(
            &mut http,
            201,
            put("a", &format!("v{count}"), INDEX, &bytes),
        )?;
        ask(&mut http, 201, put(&name, "v1", INDEX, &bytes))?;
        for (path, field) in &lists {
            for query in ["", "?n=4", "?n=18446744073709551616"] {
                let answer = ask(&mut http, 200, get(format!("{path}{query}")))?;
                let items = answer.json()?[field].as_array().map_or(0, Vec::len);
                assert_eq!(items, count.min(3), "{path}{query} of {count}");
                let next = answer.next_page()?;
                assert_eq!(next.is_some(), count > 3, "{path}{query} of {count}");
                if let Some(next) = next {
                    let last = ask(&mut http, 200, get(next))?;
                    assert_eq!(last.json()?[field].as_array().map(Vec::len), Some(1));
                    assert_eq!(last.next_page()?, None);
                }
            }
        }
    }
    Ok(())
}
