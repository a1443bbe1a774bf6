//! Web pages cannot use the registry of whoever looks at them.

use anyhow::Result;
use wharf_tests::http::{Connection, Request};
use wharf_tests::wharf::Server;

use wharf_tests::talk::{ask, get, refuse, serve};

fn upload() -> Request<'static> {
    Request::new("POST", "/v2/a/blobs/uploads/")
}

/// A page's own name that resolves to 127.0.0.1 (DNS rebinding).
#[test]
fn loopback_answers_to_no_other_name() -> Result<()> {
    let (server, mut http) = serve()?;
    for host in [
        "evil.example",
        "evil.example:5000",
        "localhost.evil.example",
    ] {
        refuse(&mut http, 403, "DENIED", get("/v2/").header("Host", host))?;
        refuse(&mut http, 403, "DENIED", upload().header("Host", host))?;
        // Probes come under any name.
        ask(&mut http, 200, get("/healthz").header("Host", host))?;
    }
    let own = server.address().to_string();
    for host in [
        own.as_str(),
        "localhost",
        "LOCALHOST:5000",
        "app.localhost",
        "10.1.2.3",
    ] {
        ask(&mut http, 200, get("/v2/").header("Host", host))?;
    }
    Ok(())
}

#[test]
fn names_can_be_allowed() -> Result<()> {
    let server = Server::start_with(["--allow-host", "registry.example"])?;
    let mut http = Connection::open(server.address())?;
    let named = |host: &'static str| get("/v2/").header("Host", host);
    ask(&mut http, 200, named("Registry.Example:5000"))?;
    refuse(&mut http, 403, "DENIED", named("other.example"))?;
    Ok(())
}

#[test]
fn cross_site_requests_are_refused() -> Result<()> {
    let (server, mut http) = serve()?;
    let own = server.address().to_string();
    for origin in [
        "http://evil.example",
        "https://localhost",
        "null",
        "http://127.0.0.1:1",
    ] {
        let push = upload().header("Host", &own).header("Origin", origin);
        refuse(&mut http, 403, "DENIED", push)?;
        let read = get("/v2/_catalog")
            .header("Host", &own)
            .header("Origin", origin);
        refuse(&mut http, 403, "DENIED", read)?;
    }
    let hidden = upload()
        .header("Host", &own)
        .header("Sec-Fetch-Site", "cross-site");
    refuse(&mut http, 403, "DENIED", hidden)?;
    let same = upload()
        .header("Host", &own)
        .header("Origin", format!("http://{own}"));
    ask(&mut http, 202, same)?;
    Ok(())
}
