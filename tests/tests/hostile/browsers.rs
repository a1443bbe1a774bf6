//! Web pages of others, by names of their own that lead here and by requests across sites.

use anyhow::{Result, ensure};
use wharf_tests::content::{INDEX, index, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{ask, get, head, put, refuse, serve};
use wharf_tests::wharf::Server;

use crate::still_serves;

/// One request of each kind.
fn every_request(index: &[u8]) -> Vec<Request<'_>> {
    let digest = sha256(index);
    let upload = format!("/v2/a/blobs/uploads/{}", "0".repeat(32));
    vec![
        get("/"),
        get("/v2/"),
        get("/v2/_catalog"),
        get("/v2/a/tags/list"),
        get("/v2/a/manifests/v1"),
        get(format!("/v2/a/blobs/{digest}")),
        get(format!("/v2/a/referrers/{digest}")),
        get(&upload),
        get("/nowhere"),
        Request::new("OPTIONS", "/v2/"),
        Request::new("POST", "/v2/a/blobs/uploads/"),
        Request::new("POST", format!("/v2/a/blobs/uploads/?digest={digest}"))
            .body(Body::Sized(index)),
        Request::new("PATCH", &upload).body(Body::Chunked(index)),
        Request::new("PUT", format!("{upload}?digest={digest}")).body(Body::Sized(index)),
        put("a", "v1", INDEX, index),
        Request::new("DELETE", "/v2/a/manifests/v1"),
        Request::new("DELETE", format!("/v2/a/blobs/{digest}")),
        Request::new("DELETE", upload),
    ]
}

/// Nothing is done, and nothing is told: no header lets a page read the answer either.
fn all_refused(http: &mut Connection, headers: &[(&'static str, &str)]) -> Result<()> {
    let index = index(&[]);
    for mut request in every_request(&index) {
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = refuse(http, 403, "DENIED", request)?;
        for (name, _) in &answer.headers {
            let name = name.to_ascii_lowercase();
            ensure!(!name.starts_with("access-control-"), "{answer:?}");
        }
    }
    Ok(())
}

fn nothing_was_done(http: &mut Connection) -> Result<()> {
    let catalog = ask(http, 200, get("/v2/_catalog"))?.json()?;
    assert_eq!(catalog["repositories"], serde_json::json!([]));
    Ok(())
}

#[test]
fn no_request_by_a_name_of_somebody_else() -> Result<()> {
    let (server, mut http) = serve()?;
    for host in [
        "evil.example",
        "evil.example:5000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example.:5000",
        "0x7f000001",
        "2130706433",
        "registry",
    ] {
        all_refused(&mut http, &[("Host", host)])?;
    }
    nothing_was_done(&mut http)?;
    let head = head("/v2/").header("Host", "evil.example");
    ask(&mut http, 403, head)?;
    still_serves(&server, 1)
}

#[test]
fn no_request_of_a_page_of_somebody_else() -> Result<()> {
    let (server, mut http) = serve()?;
    let own = server.address().to_string();
    for origin in [
        "http://evil.example",
        "https://evil.example:5000",
        "null",
        "file://",
        "http://localhost",
        "http://127.0.0.1:1",
        "chrome-extension://abc",
        "http://evil.example, http://127.0.0.1",
        "",
    ] {
        all_refused(&mut http, &[("Host", &own), ("Origin", origin)])?;
    }
    // A form or an image of another page comes without Origin in some browsers.
    let post = Request::new("POST", "/v2/a/blobs/uploads/").header("Host", &own);
    let post = post.header("Sec-Fetch-Site", "cross-site");
    refuse(&mut http, 403, "DENIED", post)?;
    nothing_was_done(&mut http)?;
    still_serves(&server, 2)
}

/// Names that are configured count on every listener, wherever it is: as in a cluster, which a
/// browser reaches by a published port.
#[test]
fn elsewhere_the_names_that_are_allowed_are_all() -> Result<()> {
    let more = [
        "--listen",
        "0.0.0.0:0",
        "--allow-host",
        "registry.wharf-system",
    ];
    let server = Server::start_with(more)?;
    for address in server.addresses() {
        let mut address = *address;
        address.set_ip([127, 0, 0, 1].into());
        let mut http = Connection::open(address)?;
        all_refused(&mut http, &[("Host", "evil.example:5000")])?;
        for host in [
            "localhost:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
            "10.96.0.7:5000",
            "registry.wharf-system:5000",
        ] {
            ask(&mut http, 200, get("/v2/").header("Host", host))?;
        }
        let probe = get("/healthz").header("Host", "evil.example");
        ask(&mut http, 200, probe)?;
    }
    Ok(())
}
