//! Connections that carry others, as `wharf forward` opens them through an API server.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use wharf_tests::content::{Random, sha256};
use wharf_tests::http::Connection;
use wharf_tests::talk::{ask, get, push, serve};
use wharf_tests::wharf::Server;

const PATIENCE: Duration = Duration::from_secs(20);
const UPGRADE: &str = "GET /v2/ HTTP/1.1\r\nHost: 10.0.0.1:5000\r\nConnection: Upgrade\r\nUpgrade: wharf-tunnel\r\n\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Says something, and reads the head of the answer.
fn say(stream: &mut TcpStream, words: &str) -> Result<String> {
    stream.write_all(words.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head)?)
}

fn open(server: &Server) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let answer = say(&mut stream, UPGRADE)?;
    ensure!(
        answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: wharf-tunnel\r\n"),
        "{answer}"
    );
    Ok(stream)
}

#[test]
fn a_tunnel_is_a_connection_like_any_other() -> Result<()> {
    let server = Server::start_with(["--accept-tunnels"])?;
    let blob = Random::new(1).bytes(3 << 20);
    let digest = sha256(&blob);
    let mut http = Connection::open(server.address())?;
    push(&mut http, "app", &blob)?;
    let mut stream = open(&server)?;
    let pull = format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for _ in 0..2 {
        let answer = say(&mut stream, &pull)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let mut heard = vec![0; blob.len()];
        stream.read_exact(&mut heard)?;
        ensure!(heard == blob, "another blob");
    }
    // What a page of another site asks for is refused here as well.
    let answer = say(
        &mut stream,
        "GET /v2/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    )?;
    ensure!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    Ok(())
}

/// A proxy that guards a registry would not see what goes through one.
#[test]
fn nobody_gets_a_tunnel_unasked() -> Result<()> {
    let (server, _http) = serve()?;
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let answer = say(&mut stream, UPGRADE)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(())
}

#[test]
fn a_tunnel_opens_when_it_was_agreed_to_and_only_once() -> Result<()> {
    let server = Server::start_with(["--accept-tunnels"])?;
    // Who speaks before the answer does not know that it is yes.
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let answer = say(&mut stream, &format!("{UPGRADE}{HEALTH}"))?;
    ensure!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest).map_err(|end| end.kind());
    // What it said was not read, so the end may come as a reset.
    ensure!(
        rest.is_empty() && matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)),
        "{end:?} {}",
        String::from_utf8_lossy(&rest)
    );
    // Inside, the request is one like any other.
    let mut inside = open(&server)?;
    let answer = say(&mut inside, UPGRADE)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(())
}

#[test]
fn a_server_that_stops_waits_for_what_goes_through_tunnels() -> Result<()> {
    let mut server = Server::start_with(["--accept-tunnels"])?;
    let mut idle = open(&server)?;
    let mut busy = open(&server)?;
    let body = "x".repeat(1000);
    let digest = sha256(body.as_bytes());
    write!(
        busy,
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{}",
        &body[..500]
    )?;
    let rest = body[500..].to_owned();
    let client = std::thread::spawn(move || -> Result<()> {
        ensure!(idle.read(&mut [0; 9])? == 0, "an idle tunnel is open");
        let answer = say(&mut busy, &rest)?;
        ensure!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        Ok(())
    });
    let status = server.terminate(PATIENCE)?;
    ensure!(status.is_some_and(|status| status.success()), "{status:?}");
    client.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    ask(&mut http, 200, get(format!("/v2/app/blobs/{digest}")))?;
    Ok(())
}
