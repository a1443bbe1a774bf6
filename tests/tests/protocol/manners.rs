//! What clients, proxies and port-forwards need of a server beside the protocol's words.

use anyhow::{Result, ensure};
use wharf_tests::content::{MANIFEST, Random, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::wharf::Server;

use wharf_tests::talk::{ask, get, head, open, push, push_blobs, push_image, put, refuse, serve};

#[test]
fn the_doors_that_clients_knock_at() -> Result<()> {
    let (_server, mut http) = serve()?;
    for path in ["/", "/v2/", "/v2", "/healthz"] {
        let answer = ask(&mut http, 200, get(path))?;
        let length = answer.header("Content-Length").map(str::to_owned);
        assert_eq!(length, Some(answer.body.len().to_string()), "{path}");
        let answer = ask(&mut http, 200, head(path))?;
        assert_eq!(
            answer.header("Content-Length").map(str::to_owned),
            length,
            "HEAD {path}"
        );
    }
    let version = ask(&mut http, 200, get("/v2/"))?;
    assert_eq!(
        version.header("Docker-Distribution-Api-Version"),
        Some("registry/2.0")
    );
    Ok(())
}

#[test]
fn health_tells_which_registry_it_is() -> Result<()> {
    let (mut server, mut http) = serve()?;
    let (_other_server, mut other) = serve()?;
    let health = ask(&mut http, 200, get("/healthz"))?.json()?;
    assert_eq!(health["status"], "ok");
    let instance = health["instance"].as_str().unwrap_or_default();
    ensure!(instance.len() >= 16, "{health}");
    assert_ne!(
        ask(&mut other, 200, get("/healthz"))?.json()?["instance"],
        instance
    );
    server.kill()?;
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    assert_eq!(
        ask(&mut http, 200, get("/healthz"))?.json()?["instance"],
        instance
    );
    Ok(())
}

/// By this answer, clients that try TLS first know that they talk to a plain port.
#[test]
fn a_tls_handshake_is_answered_in_plain_text() -> Result<()> {
    let (server, mut http) = serve()?;
    let mut tls = Connection::open(server.address())?;
    // A record with a ClientHello, as far as a server that does not speak TLS would read.
    let hello = [
        &[
            0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03,
        ][..],
        &Random::new(1).bytes(194),
    ]
    .concat();
    tls.write(&hello)?;
    let answer = String::from_utf8_lossy(&tls.read_to_end()?).into_owned();
    ensure!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
    ask(&mut http, 200, get("/v2/"))?;
    Ok(())
}

#[test]
fn a_refused_body_is_read_to_its_end() -> Result<()> {
    let (_server, mut http) = serve()?;
    let bytes = Random::new(2).bytes(5 << 20);
    let digest = sha256(&bytes);
    let wrong = format!("/v2/a/blobs/uploads/{}?digest={digest}", "0".repeat(32));
    for body in [Body::Sized(&bytes), Body::Chunked(&bytes)] {
        // Sent whole before the answer is read, and then the same connection goes on.
        for (status, code, request) in [
            (
                400,
                "NAME_INVALID",
                Request::new("PUT", "/v2/UPPER/manifests/v1"),
            ),
            (
                413,
                "MANIFEST_INVALID",
                Request::new("PUT", "/v2/a/manifests/v1"),
            ),
            (404, "BLOB_UPLOAD_UNKNOWN", Request::new("PUT", &wrong)),
            (405, "UNSUPPORTED", Request::new("POST", "/v2/a/tags/list")),
            (404, "UNSUPPORTED", Request::new("PUT", "/nowhere")),
        ] {
            refuse(&mut http, status, code, request.body(body))?;
            ask(&mut http, 200, get("/v2/"))?;
        }
    }
    Ok(())
}

/// A repeated `PUT` is answered without a look at its body, and the body is on its way all the
/// same.
#[test]
fn a_body_that_nobody_needs_is_read_to_its_end() -> Result<()> {
    let (_server, mut http) = serve()?;
    let bytes = Random::new(3).bytes(5 << 20);
    let upload = open(&mut http, "a")?;
    let put = Request::new("PUT", format!("{upload}?digest={}", sha256(&bytes)));
    for body in [
        Body::Sized(&bytes),
        Body::Sized(&bytes),
        Body::Chunked(&bytes),
    ] {
        ask(&mut http, 201, put.clone().body(body))?;
        ask(&mut http, 200, get("/v2/"))?;
    }
    Ok(())
}

/// A client that asks first is told at once, instead of being made to send everything.
#[test]
fn who_waits_for_a_go_ahead_gets_an_answer_first() -> Result<()> {
    let (server, mut http) = serve()?;
    let bytes = b"content";
    let digest = sha256(bytes);
    let refused = Request::new("PUT", "/v2/UPPER/manifests/v1")
        .header("Expect", "100-continue")
        .body(Body::Sized(bytes));
    let mut waiting = Connection::open(server.address())?;
    waiting.write(&refused.head())?;
    assert_eq!(waiting.read_answer("PUT")?.error_code()?, "NAME_INVALID");

    let upload = open(&mut http, "a")?;
    let mut waiting = Connection::open(server.address())?;
    let wanted = Request::new("PUT", format!("{upload}?digest={digest}"))
        .header("Expect", "100-continue")
        .body(Body::Sized(bytes));
    waiting.write(&wanted.head())?;
    let go_ahead = waiting.read_head()?;
    assert_eq!(go_ahead.status, 100);
    waiting.write(bytes)?;
    assert_eq!(waiting.read_answer("PUT")?.status, 201);
    Ok(())
}

#[test]
fn the_mirrors_parameter_is_accepted() -> Result<()> {
    let (_server, mut http) = serve()?;
    let manifest = push_image(&mut http, "library/a", "v1")?;
    let blob = push(&mut http, "library/a", b"blob")?;
    for path in [
        "/v2/".to_owned(),
        "/v2/library/a/manifests/v1".to_owned(),
        format!("/v2/library/a/manifests/{}", sha256(&manifest)),
        format!("/v2/library/a/blobs/{blob}"),
        "/v2/library/a/tags/list".to_owned(),
    ] {
        ask(&mut http, 200, get(format!("{path}?ns=docker.io")))?;
    }
    Ok(())
}

/// `Location` is relative and `Host` says nothing: behind a proxy or a port-forward, nobody here
/// knows what the client calls us.
#[test]
fn host_never_shapes_an_answer() -> Result<()> {
    let (_server, mut http) = serve()?;
    let manifest = push_blobs(&mut http, "a", "image")?;
    let blob = push(&mut http, "a", b"blob")?;
    let hosts = ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000"];
    for request in [
        get("/v2/"),
        get("/healthz"),
        get(format!("/v2/a/blobs/{blob}")),
        put("a", "v1", MANIFEST, &manifest),
        get("/v2/a/tags/list?n=0"),
        get("/v2/a/manifests/none"),
        Request::new("POST", format!("/v2/b/blobs/uploads/?mount={blob}&from=a")),
    ] {
        let mut answers = Vec::new();
        for host in hosts {
            let forwarded = [
                ("X-Forwarded-Host", host),
                ("X-Forwarded-Proto", "https"),
                ("Forwarded", "proto=https"),
            ];
            let mut request = request.clone().header("Host", host);
            for (name, value) in forwarded {
                request = request.header(name, value);
            }
            let mut answer = http.send(request)?;
            answer
                .headers
                .retain(|(name, _)| !["date", "x-request-id"].contains(&&*name.to_lowercase()));
            if let Some(location) = answer.header("Location") {
                ensure!(location.starts_with("/v2/"), "{location}");
            }
            answers.push((answer.status, answer.headers, answer.body));
        }
        ensure!(
            answers.windows(2).all(|pair| pair[0] == pair[1]),
            "{answers:?}"
        );
    }
    for host in hosts {
        let request = Request::new("POST", "/v2/a/blobs/uploads/").header("Host", host);
        let answer = ask(&mut http, 202, request)?;
        ensure!(
            answer.location()?.starts_with("/v2/a/blobs/uploads/"),
            "{answer:?}"
        );
    }
    Ok(())
}

/// Some clients turn `localhost` into one family and some into the other.
#[test]
fn both_address_families_serve_the_same() -> Result<()> {
    let server = Server::start_with(["--listen", "[::1]:0"])?;
    let [first, second] = server.addresses() else {
        anyhow::bail!(
            "{:?}: this machine has no IPv6 on loopback, which this test needs",
            server.addresses()
        );
    };
    ensure!(first.is_ipv4() && second.is_ipv6(), "{first} {second}");
    let mut four = Connection::open(*first)?;
    let mut six = Connection::open(*second)?;
    let manifest = push_image(&mut four, "a", "v1")?;
    assert_eq!(
        ask(&mut six, 200, get("/v2/a/manifests/v1"))?.body,
        manifest
    );
    let instance = |http: &mut Connection| {
        Ok::<_, anyhow::Error>(ask(http, 200, get("/healthz"))?.json()?["instance"].clone())
    };
    assert_eq!(instance(&mut four)?, instance(&mut six)?);
    Ok(())
}
