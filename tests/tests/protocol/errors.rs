//! Every answer that says no: in the specification's form, so that clients can read it, and with a
//! code by which Docker does the right thing. It tries again on most codes, up to five times, and
//! gives up at once on some and on what it cannot parse.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use wharf_tests::content::{self, INDEX, MANIFEST, sha256};
use wharf_tests::http::{Answer, Body, Connection, Request};
use wharf_tests::wharf::Server;

use crate::sessions::chunk;
use wharf_tests::talk::{get, open, push, push_blobs, push_image, put, serve};

/// The codes on which Docker does not try again.
const FINAL: [&str; 5] = [
    "UNAUTHORIZED",
    "UNSUPPORTED",
    "DENIED",
    "TOOMANYREQUESTS",
    "NAME_UNKNOWN",
];

/// Checks the form of an error, and what Docker makes of it.
fn is_error(answer: &Answer, status: u16, code: &str, is_final: bool) -> Result<()> {
    ensure!(answer.status == status, "not {status}: {answer:?}");
    let actual = answer.error_code()?;
    ensure!(actual == code, "{actual} instead of {code}");
    ensure!(FINAL.contains(&code) == is_final, "Docker and {code}");
    let body = answer.json()?;
    let errors = body["errors"].as_array().context("no list of errors")?;
    ensure!(
        body.as_object().is_some_and(|body| body.len() == 1),
        "{body}"
    );
    for error in errors {
        let fields = error.as_object().context("an error is an object")?;
        let known = |field: &String| ["code", "message", "detail"].contains(&field.as_str());
        ensure!(fields.keys().all(known), "{error}");
        // What a person reads is a sentence, and nothing of how the server is made.
        let message = error["message"].as_str().unwrap_or_default();
        let odd = message.contains("Error") || message.contains("::") || message.contains('{');
        ensure!(
            message.len() >= 15 && message.len() <= 1000 && !odd,
            "{message:?}"
        );
    }
    Ok(())
}

#[test]
fn every_refusal_can_be_read_and_is_retried_where_that_helps() -> Result<()> {
    let (_server, mut http) = serve()?;
    let image = push_image(&mut http, "a", "v1")?;
    let config: serde_json::Value = serde_json::from_slice(&image)?;
    let config = config["config"]["digest"].as_str().unwrap_or_default();
    let blob = push(&mut http, "a", b"blob")?;
    let other = sha256(b"another");
    let upload = open(&mut http, "a")?;
    let missing = content::manifest(&content::descriptor(content::CONFIG, b"missing"), &[]);
    let large = vec![b' '; (4 << 20) + 1];
    let tags = "&tag=x".repeat(101);
    let schema1 = json!({"schemaVersion": 1, "fsLayers": []}).to_string();
    let (retried, is_final) = (false, true);
    let uploads = "/v2/a/blobs/uploads/";
    let cases = [
        (404, "UNSUPPORTED", is_final, get("/nowhere")),
        (404, "UNSUPPORTED", is_final, get("/v2/a/b%2fc/tags/list")),
        (405, "UNSUPPORTED", is_final, Request::new("PUT", "/")),
        (
            405,
            "UNSUPPORTED",
            is_final,
            Request::new("PATCH", "/v2/a/tags/list"),
        ),
        (
            400,
            "UNSUPPORTED",
            is_final,
            put("a", "v1?tag=v2", MANIFEST, &image),
        ),
        (400, "NAME_INVALID", retried, get("/v2/A/tags/list")),
        (
            400,
            "NAME_INVALID",
            retried,
            Request::new("POST", format!("{uploads}?mount={blob}&from=A")),
        ),
        (404, "NAME_UNKNOWN", is_final, get("/v2/none/tags/list")),
        (400, "DIGEST_INVALID", retried, get("/v2/a/blobs/sha256:x")),
        (
            400,
            "DIGEST_INVALID",
            retried,
            get("/v2/a/manifests/sha256:x"),
        ),
        (400, "DIGEST_INVALID", retried, get("/v2/a/referrers/md5:x")),
        (400, "DIGEST_INVALID", retried, Request::new("PUT", &upload)),
        (
            400,
            "DIGEST_INVALID",
            retried,
            Request::new("POST", format!("{uploads}?digest={other}")).body(Body::Sized(b"x")),
        ),
        (
            400,
            "DIGEST_INVALID",
            retried,
            Request::new("POST", format!("{uploads}?digest-algorithm=md5")),
        ),
        (
            400,
            "DIGEST_INVALID",
            retried,
            put("a", &other, MANIFEST, &image),
        ),
        (
            400,
            "DIGEST_INVALID",
            retried,
            put("a", "v1", MANIFEST, &image).header("If-Match", "x"),
        ),
        (
            404,
            "BLOB_UNKNOWN",
            retried,
            get(format!("/v2/a/blobs/{other}")),
        ),
        (
            404,
            "BLOB_UNKNOWN",
            retried,
            Request::new("DELETE", format!("/v2/a/blobs/{other}")),
        ),
        (
            409,
            "DENIED",
            is_final,
            Request::new("DELETE", format!("/v2/a/blobs/{config}")),
        ),
        (
            404,
            "MANIFEST_UNKNOWN",
            retried,
            get("/v2/a/manifests/none"),
        ),
        (
            404,
            "MANIFEST_UNKNOWN",
            retried,
            get(format!("/v2/none/manifests/{other}")),
        ),
        (
            404,
            "MANIFEST_UNKNOWN",
            retried,
            Request::new("DELETE", format!("/v2/none/manifests/{other}")),
        ),
        (
            404,
            "MANIFEST_UNKNOWN",
            retried,
            Request::new("DELETE", "/v2/a/manifests/none"),
        ),
        (
            400,
            "MANIFEST_INVALID",
            retried,
            get("/v2/a/manifests/.none"),
        ),
        (
            400,
            "MANIFEST_INVALID",
            retried,
            put("a", "v1", MANIFEST, b"no json"),
        ),
        (
            400,
            "MANIFEST_INVALID",
            retried,
            put("a", "v1", INDEX, &image),
        ),
        (
            400,
            "MANIFEST_INVALID",
            retried,
            put("a", "v1", MANIFEST, schema1.as_bytes()),
        ),
        (
            400,
            "MANIFEST_BLOB_UNKNOWN",
            retried,
            put("a", "v1", MANIFEST, &missing),
        ),
        (
            413,
            "MANIFEST_INVALID",
            retried,
            put("a", "v1", MANIFEST, &large),
        ),
        (
            414,
            "SIZE_INVALID",
            retried,
            put("a", &format!("{}?{tags}", sha256(&image)), MANIFEST, &image),
        ),
        (
            412,
            "DENIED",
            is_final,
            put("a", "v1", MANIFEST, &image).header("If-None-Match", "*"),
        ),
        (
            412,
            "DENIED",
            is_final,
            put("a", "v1", MANIFEST, &image).header("If-Match", format!("\"{other}\"")),
        ),
        (
            404,
            "BLOB_UPLOAD_UNKNOWN",
            retried,
            get(format!("{uploads}{}", "0".repeat(32))),
        ),
        (
            404,
            "BLOB_UPLOAD_UNKNOWN",
            retried,
            Request::new("PATCH", format!("{uploads}x")).body(Body::Chunked(b"x")),
        ),
        (
            416,
            "BLOB_UPLOAD_INVALID",
            retried,
            chunk(&upload, "5-9", b"12345"),
        ),
        (
            400,
            "SIZE_INVALID",
            retried,
            chunk(&upload, "0-9", b"12345"),
        ),
        (
            416,
            "SIZE_INVALID",
            retried,
            get(format!("/v2/a/blobs/{blob}")).header("Range", "bytes=4-"),
        ),
        (400, "SIZE_INVALID", retried, get("/v2/a/tags/list?n=-1")),
        (
            403,
            "DENIED",
            is_final,
            get("/v2/").header("Host", "evil.example"),
        ),
        (
            403,
            "DENIED",
            is_final,
            get("/v2/").header("Origin", "https://evil.example"),
        ),
    ];
    for (status, code, is_final, request) in cases {
        let asked = String::from_utf8_lossy(&request.head()).into_owned();
        let about = || format!("asked {asked}");
        let answer = http.send(request).with_context(about)?;
        is_error(&answer, status, code, is_final).with_context(about)?;
        // The same without its body; the next answer is in step all the same. (Ranges are for GET.)
        let rest = asked.strip_prefix("GET ");
        if let Some(rest) = rest.filter(|rest| !rest.contains("Range")) {
            http.write(format!("HEAD {rest}").as_bytes())?;
            let answer = http.read_answer("HEAD")?;
            ensure!(answer.status == status, "HEAD {rest}{answer:?}");
        }
    }
    Ok(())
}

#[test]
fn a_body_that_breaks_off_is_retried() -> Result<()> {
    let (server, mut http) = serve()?;
    let upload = open(&mut http, "a")?;
    let patch = Request::new("PATCH", &upload).body(Body::Claiming(1000, b""));
    let mut cut = Connection::open(server.address())?;
    cut.write(&patch.head())?;
    cut.write(b"12345")?;
    cut.close_sending()?;
    is_error(&cut.read_answer("PATCH")?, 400, "SIZE_INVALID", false)
}

#[test]
fn what_is_switched_off_is_not_retried() -> Result<()> {
    let server = Server::start_with(["--no-delete"])?;
    let mut http = Connection::open(server.address())?;
    push_image(&mut http, "a", "v1")?;
    let answer = http.send(Request::new("DELETE", "/v2/a/manifests/v1"))?;
    is_error(&answer, 405, "UNSUPPORTED", true)
}

/// A fault of the server has no code in the specification. Docker knows `UNKNOWN` for it, and tries
/// again; what went wrong is for the log alone.
#[test]
fn a_fault_of_the_server_is_told_without_its_reasons() -> Result<()> {
    let (server, mut http) = serve()?;
    push_blobs(&mut http, "a", "image")?;
    let uploads = server.data().join("uploads");
    std::fs::remove_dir_all(&uploads)?;
    std::fs::write(&uploads, "no folder")?;
    let answer = http.send(Request::new("POST", "/v2/a/blobs/uploads/"))?;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let error = answer.json()?["errors"][0].clone();
    assert_eq!(error["code"], "UNKNOWN");
    let message = error["message"].as_str().unwrap_or_default();
    ensure!(!message.is_empty(), "{error}");
    let data = server.data();
    ensure!(!message.contains(&*data.to_string_lossy()), "{message}");
    ensure!(
        server.log().contains(&*uploads.to_string_lossy()),
        "{}",
        server.log()
    );
    std::fs::remove_file(&uploads)?;
    Ok(())
}
