//! Names, digests and parameters that want to be paths, headers or memory.

use anyhow::{Result, ensure};
use wharf_tests::content::{INDEX, index, sha256};
use wharf_tests::http::{Answer, Body, Connection, Request};
use wharf_tests::talk::{ask, files, get, push, put, refuse};
use wharf_tests::wharf::Server;

use crate::still_serves;

/// In place of any word of a request. What is not allowed in a request's line comes escaped.
fn words() -> Vec<String> {
    let mut words: Vec<String> = [
        "..",
        "../../../etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%252e%252e%252f",
        "..%5c..%5c",
        "%00",
        "a%00.sha256",
        "%0d%0aX-Injected:%20yes",
        "a%0d%0a%0d%0aHTTP/1.1%20200%20OK",
        "%0aX-Injected:%20yes",
        "%c3%a9",
        "%e2%80%ae",
        "%ef%bc%8f",
        "%ff%fe",
        "'%20OR%201=1--",
        "%3Cscript%3E",
        "sha256:..%2f..%2fcatalog.db",
        "sha256:",
        "sha256:%00",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ]
    .map(str::to_owned)
    .into();
    words.push(format!("sha256:{}", "A".repeat(64)));
    words.push(format!("sha256:{}", "a".repeat(63)));
    words.push(format!("sha256:{}", "a".repeat(65)));
    words.push(format!("sha256:{}%0d%0aX-Injected:%20yes", "a".repeat(64)));
    words.push(format!("SHA256:{}", "a".repeat(64)));
    words.push(format!("sha256:{}%2f..", "a".repeat(64)));
    words.push(format!("sha512:{}", "a".repeat(64)));
    words.push("a".repeat(8000));
    words
}

/// Every place of a request that a word has.
fn requests<'a>(word: &str, index: &'a [u8]) -> Vec<Request<'a>> {
    let digest = sha256(index);
    let unknown = "0".repeat(32);
    let mut requests = Vec::new();
    for path in [
        format!("/v2/{word}/tags/list"),
        format!("/v2/a/{word}/tags/list"),
        format!("/v2/{word}/manifests/v1"),
        format!("/v2/a/manifests/{word}"),
        format!("/v2/a/blobs/{word}"),
        format!("/v2/a/referrers/{word}"),
        format!("/v2/a/blobs/uploads/{word}"),
        format!("/v2/a/referrers/{digest}?artifactType={word}&n=1"),
        format!("/v2/a/referrers/{digest}?last={word}"),
        format!("/v2/a/tags/list?last={word}&n=1"),
        format!("/v2/a/tags/list?n={word}"),
        format!("/v2/_catalog?last={word}&n=1"),
        format!("/v2/_catalog?n={word}"),
        format!("/v2/{word}"),
        format!("/{word}"),
    ] {
        requests.push(get(path));
    }
    for (method, path) in [
        ("POST", format!("/v2/{word}/blobs/uploads/")),
        ("POST", format!("/v2/a/blobs/uploads/?digest={word}")),
        ("POST", format!("/v2/a/blobs/uploads/?mount={word}&from=a")),
        (
            "POST",
            format!("/v2/a/blobs/uploads/?mount={digest}&from={word}"),
        ),
        (
            "POST",
            format!("/v2/a/blobs/uploads/?digest-algorithm={word}"),
        ),
        ("PATCH", format!("/v2/a/blobs/uploads/{word}")),
        ("PUT", format!("/v2/a/blobs/uploads/{word}?digest={digest}")),
        (
            "PUT",
            format!("/v2/a/blobs/uploads/{unknown}?digest={word}"),
        ),
        ("DELETE", format!("/v2/a/blobs/{word}")),
        ("DELETE", format!("/v2/a/manifests/{word}")),
        ("DELETE", format!("/v2/a/blobs/uploads/{word}")),
    ] {
        requests.push(Request::new(method, path).body(Body::Sized(b"content")));
    }
    for path in [
        format!("{word}/manifests/v1"),
        format!("a/manifests/{word}"),
        format!("a/manifests/{digest}?tag={word}"),
    ] {
        let request = Request::new("PUT", format!("/v2/{path}")).header("Content-Type", INDEX);
        requests.push(request.body(Body::Sized(index)));
    }
    requests
}

pub(crate) fn bad_words(server: &Server) -> Result<()> {
    let mut http = Connection::open(server.address())?;
    let index = index(&[]);
    push(&mut http, "a", &index)?;
    ask(&mut http, 201, put("a", "v1", INDEX, &index))?;
    ask(&mut http, 201, put("a", "v2", INDEX, &index))?;
    for word in words() {
        for request in requests(&word, &index) {
            let asked = String::from_utf8_lossy(&request.head()).into_owned();
            let answer = http.send(request)?;
            harmless(&answer).map_err(|error| error.context(format!("answer to {asked:?}")))?;
        }
    }
    Ok(())
}

/// Refused, or taken as the text that it is: never a failure, and no header that is not ours.
fn harmless(answer: &Answer) -> Result<()> {
    ensure!(answer.status < 500, "{answer:?}");
    for (name, value) in &answer.headers {
        ensure!(!name.eq_ignore_ascii_case("X-Injected"), "{answer:?}");
        let text = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        ensure!(text, "{name}: {value:?}");
    }
    if answer.status >= 400 {
        answer.error_code()?;
    }
    Ok(())
}

#[test]
fn words_stay_words() -> Result<()> {
    let server = Server::start()?;
    let outside = || -> Result<Vec<_>> {
        let mut outside = files(server.scratch())?;
        outside.retain(|file| !file.starts_with(server.data()));
        outside.sort();
        Ok(outside)
    };
    let before = outside()?;
    bad_words(&server)?;
    assert_eq!(outside()?, before);
    // In the data directory, only what was pushed under a good name.
    let mut http = Connection::open(server.address())?;
    let catalog = ask(&mut http, 200, get("/v2/_catalog"))?.json()?;
    assert_eq!(catalog["repositories"], serde_json::json!(["a"]));
    still_serves(&server, 1)
}

/// What comes back in a header is made of what was parsed, not of what was sent.
#[test]
fn headers_come_back_clean() -> Result<()> {
    let server = Server::start()?;
    let mut http = Connection::open(server.address())?;
    let index = index(&[]);
    ask(&mut http, 201, put("a", "v1", INDEX, &index))?;
    ask(&mut http, 201, put("a", "v2", INDEX, &index))?;
    let kind = "x%0d%0aX-Injected:%20yes%22%3E;rel=%22evil";
    let answer = ask(
        &mut http,
        200,
        get(format!("/v2/a/tags/list?n=1&last=&x={kind}")),
    )?;
    let link = answer.header("Link").unwrap_or_default();
    assert_eq!(link, "</v2/a/tags/list?n=1&last=v1>; rel=\"next\"");
    // A media type is served again, so it has to be one.
    for kind in ["text/html\u{e9}", "a b", "", "text/html; \"", "x/y\tz"] {
        let put = put("a", "v3", kind, &index);
        let answer = http.send(put)?;
        if answer.status == 201 {
            let served = ask(&mut http, 200, get("/v2/a/manifests/v3"))?;
            assert_eq!(served.header("Content-Type"), Some(INDEX), "{kind:?}");
        } else {
            assert_eq!(answer.error_code()?, "MANIFEST_INVALID", "{kind:?}");
        }
    }
    for id in ["\u{e9}", &"x".repeat(200)] {
        let answer = ask(&mut http, 200, get("/v2/").header("X-Request-Id", id))?;
        let own = answer.header("X-Request-Id").unwrap_or_default();
        ensure!(own.len() < 64 && own.is_ascii(), "{own:?}");
    }
    Ok(())
}

#[test]
fn a_list_is_no_longer_than_a_page() -> Result<()> {
    let server = Server::start()?;
    let mut http = Connection::open(server.address())?;
    ask(&mut http, 201, put("a", "v1", INDEX, &index(&[])))?;
    let digest = sha256(&index(&[]));
    for list in [
        "/v2/_catalog".to_owned(),
        "/v2/a/tags/list".to_owned(),
        format!("/v2/a/referrers/{digest}"),
    ] {
        for n in [
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            &"9".repeat(1000),
        ] {
            ask(&mut http, 200, get(format!("{list}?n={n}")))?;
        }
        for n in ["-1", "1.5", "1e3", "0x10", "%2B1", "many", "", "%20"] {
            refuse(&mut http, 400, "SIZE_INVALID", get(format!("{list}?n={n}")))?;
        }
    }
    still_serves(&server, 2)
}

#[test]
fn heads_have_an_end() -> Result<()> {
    let server = Server::start()?;
    let line = "X: y\r\n";
    for (headers, status) in [
        // With Host, the most that there may be, and one more.
        (line.repeat(99), 200),
        (line.repeat(100), 431),
        (format!("X: {}\r\n", "y".repeat(60_000)), 200),
        (format!("X: {}\r\n", "y".repeat(500_000)), 431),
        (format!("{}: y\r\n", "X".repeat(500_000)), 431),
    ] {
        let mut http = Connection::open(server.address())?;
        let head = format!("GET /v2/ HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        // It may be refused before it has come to its end.
        let _ = http.write(head.as_bytes());
        match http.read_head() {
            Ok(answer) => assert_eq!(answer.status, status, "{} bytes", head.len()),
            // And the answer be lost in what was still on its way.
            Err(_) => ensure!(status == 431, "no answer to {} bytes", head.len()),
        }
    }
    still_serves(&server, 3)
}
