//! Requests that two parsers could read as two different ones.

use anyhow::{Result, ensure};
use wharf_tests::http::Connection;
use wharf_tests::talk::{get, serve};
use wharf_tests::wharf::Server;

use crate::still_serves;

/// What nobody may execute.
pub(crate) const SMUGGLED: &str = "POST /v2/smuggled/blobs/uploads/ HTTP/1.1\r\n\
    Host: localhost\r\nContent-Length: 0\r\n\r\n";

/// Heads that leave open how long their request is, without the empty line. The request that they
/// hide comes behind them as [`behind`] has it.
const HEADS: [&str; 35] = [
    // Two lengths.
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 0\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 0",
    "Content-Length: 5, 5",
    // Lengths that are none.
    "Content-Length: -1",
    "Content-Length: +5",
    "Content-Length: 0x5",
    "Content-Length: 5 5",
    "Content-Length: 5;",
    "Content-Length: 5.0",
    "Content-Length:",
    "Content-Length: 18446744073709551621",
    // Codings that are not only `chunked`.
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding:\x0bchunked",
    // Lines that do not end where they seem to, and names that are none.
    "X: y\nContent-Length: 5",
    "X: y\rContent-Length: 5\r\nY: z",
    "X: y\r\n Content-Length: 5",
    "X: y\r\n\tTransfer-Encoding: chunked",
    "Content-Length : 5",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "Content-Length\0: 5",
];

/// Bodies in chunks that leave open where they end.
const CHUNKS: [&str; 14] = [
    "-1\r\n",
    "+1\r\nx\r\n0\r\n\r\n",
    "0x1\r\nx\r\n0\r\n\r\n",
    "1 x\r\nx\r\n0\r\n\r\n",
    "\r\n1\r\nx\r\n0\r\n\r\n",
    "fffffffffffffffff\r\n",
    "10000000000000001\r\nx\r\n0\r\n\r\n",
    "1\nx\r\n0\r\n\r\n",
    "1\r\nxx\r\n0\r\n\r\n",
    "1\r\nx0\r\n\r\n",
    "1;\nx\r\n0\r\n\r\n",
    "1;a=\rb\r\nx\r\n0\r\n\r\n",
    "1;a\r\nx\n0\r\n\r\n",
    "0\r\nX: y\n\r\n",
];

/// A request with this head, and the one that it hides: behind a body by length or by chunks.
pub(crate) fn shapes() -> Vec<String> {
    let request = "POST /v2/front/blobs/uploads/ HTTP/1.1\r\nHost: localhost\r\n";
    let mut shapes: Vec<String> = HEADS
        .iter()
        .map(|head| format!("{request}{head}\r\n\r\n0\r\n\r\n{SMUGGLED}"))
        .collect();
    let chunked = "PUT /v2/front/manifests/v1 HTTP/1.1\r\nHost: localhost\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    shapes.extend(CHUNKS.map(|chunks| format!("{chunked}{chunks}{SMUGGLED}")));
    let extension = "x".repeat(20_000);
    shapes.push(format!(
        "{chunked}1;{extension}\r\nx\r\n0\r\n\r\n{SMUGGLED}"
    ));
    shapes.push(format!(
        "{chunked}1\r\nx\r\n0\r\nX: {extension}\r\n\r\n{SMUGGLED}"
    ));
    shapes.extend(
        [
            // Bare LF throughout, no Host, two of them, another protocol's version.
            "GET /v2/ HTTP/1.1\nHost: localhost\n\n",
            "GET /v2/ HTTP/1.1\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nhost: localhost\r\n\r\n",
            "POST /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET /v2/ HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /v2/ HTTP/2.0\r\nHost: localhost\r\n\r\n",
            "GET /v2/\r\n\r\n",
            "GET  /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /v2/\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /v2/ x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "\nGET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GE\0T /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ]
        .map(|request| format!("{request}{SMUGGLED}")),
    );
    shapes
}

/// The status codes of all answers in what came over a connection.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let heads = text.split("HTTP/1.").skip(1);
    heads
        .map(|head| {
            head.get(2..5)
                .and_then(|code| code.parse().ok())
                .unwrap_or(0)
        })
        .collect()
}

/// Sends bytes and reads until the server closes. Whether it closes at once or after it has read
/// what it will not answer, is its choice.
fn exchange(server: &Server, bytes: &[u8]) -> Result<Vec<u16>> {
    let mut http = Connection::open(server.address())?;
    http.write(bytes)?;
    Ok(statuses(&http.read_to_end()?))
}

fn nothing_was_done(server: &Server) -> Result<()> {
    let uploads = std::fs::read_dir(server.data().join("uploads"))?.count();
    ensure!(uploads == 0, "{uploads} uploads were opened");
    Ok(())
}

pub(crate) fn all_shapes(server: &Server) -> Result<()> {
    for shape in shapes() {
        let start: String = shape.chars().take(300).collect();
        let statuses = exchange(server, shape.as_bytes())?;
        ensure!(statuses == [400], "{statuses:?} to {start:?}");
    }
    Ok(())
}

#[test]
fn what_is_ambiguous_is_refused_and_nothing_comes_behind_it() -> Result<()> {
    // What is not refused is told soon, and not after a minute each.
    let server = Server::start_with(["--idle-timeout", "10"])?;
    all_shapes(&server)?;
    nothing_was_done(&server)?;
    still_serves(&server, 1)
}

/// However it is cut into packets: the server sees the same.
#[test]
fn it_is_refused_byte_by_byte_as_well() -> Result<()> {
    let server = Server::start()?;
    for shape in shapes() {
        let (first, _) = shape.split_at(shape.len() - SMUGGLED.len());
        if first.len() > 1000 {
            continue;
        }
        let mut http = Connection::open(server.address())?;
        // It may close before the end; that we go on then may cost us the answer.
        let bytes = shape.as_bytes();
        let _ = bytes.chunks(1).all(|byte| http.write(byte).is_ok());
        let answered = http.read_to_end().map_or(Vec::new(), |all| statuses(&all));
        let lost = answered.is_empty();
        ensure!(lost || answered == [400], "{answered:?} to {first:?}");
    }
    // Who sends no more is answered at once, and not when the head should have come to its end.
    for line in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "X: y\n",
        "Host: localhost\r\n",
    ] {
        let mut http = Connection::open(server.address())?;
        let head = format!("POST /v2/front/blobs/uploads/ HTTP/1.1\r\nHost: localhost\r\n{line}");
        for byte in head.as_bytes().chunks(1) {
            http.write(byte)?;
        }
        let answered = statuses(&http.read_to_end()?);
        ensure!(answered == [400], "{answered:?} to {line:?}");
    }
    nothing_was_done(&server)?;
    still_serves(&server, 2)
}

/// What looks odd and can be read in one way only is read in that way, and what follows is the next
/// request.
#[test]
fn what_is_only_odd_is_read_as_it_is_meant() -> Result<()> {
    let (server, _http) = serve()?;
    let index = wharf_tests::content::index(&[]);
    let body = String::from_utf8(index.clone())?;
    let length = body.len();
    let last = "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let put = "PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: localhost\r\n";
    let kind = format!("Content-Type: {}\r\n", wharf_tests::content::INDEX);
    for (what, first) in [
        (
            "empty lines before it",
            format!("\r\n\r\n{put}{kind}Content-Length: {length}\r\n\r\n{body}"),
        ),
        (
            "zeros",
            format!("{put}{kind}Content-Length: 000{length}\r\n\r\n{body}"),
        ),
        (
            "white space",
            format!("{put}{kind}Content-Length: \t {length} \t\r\n\r\n{body}"),
        ),
        (
            "an extension and a trailer",
            format!(
                "{put}{kind}Transfer-Encoding: CHUNKED\r\n\r\n{length:X} ; a=\"b;c\"\r\n{body}\r\n\
                 000;x\r\nContent-Length: 7\r\n\r\n"
            ),
        ),
        (
            "the whole URL",
            format!(
                "PUT http://localhost/v2/a/manifests/v1 HTTP/1.1\r\nHost: localhost\r\n{kind}\
                 Content-Length: {length}\r\n\r\n{body}"
            ),
        ),
    ] {
        let statuses = exchange(&server, format!("{first}{last}").as_bytes())?;
        ensure!(statuses == [201, 200], "{statuses:?} for {what}");
    }
    // Of a URL, the name counts, and not what Host says beside it.
    let url =
        "GET http://evil.example/v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(&server, url.as_bytes())?, [403]);
    let old = exchange(
        &server,
        b"GET /v2/ HTTP/1.0\r\n\r\nGET /v2/ HTTP/1.0\r\n\r\n",
    )?;
    assert_eq!(old, [200], "HTTP/1.0 closes");
    // A body that is not read is no request either.
    for target in ["/nowhere", "/healthz", "/v2/UPPER/manifests/v1"] {
        let request = format!(
            "PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{SMUGGLED}{last}",
            SMUGGLED.len()
        );
        let statuses = exchange(&server, request.as_bytes())?;
        ensure!(
            statuses.len() == 2 && statuses[1] == 200,
            "{statuses:?} for {target}"
        );
    }
    nothing_was_done(&server)?;
    let mut http = Connection::open(server.address())?;
    assert_eq!(http.send(get("/v2/a/manifests/v1"))?.body, index);
    Ok(())
}

/// Requests that are one after the other on their way get their answers in order.
#[test]
fn pipelined_requests_are_answered_one_by_one() -> Result<()> {
    let (server, mut http) = serve()?;
    let one = |number: usize| {
        let end = if number == 99 {
            "Connection: close\r\n"
        } else {
            ""
        };
        format!("GET /v2/n{number}/tags/list HTTP/1.1\r\nHost: localhost\r\n{end}\r\n")
    };
    let all: String = (0..100).map(one).collect();
    http.write(all.as_bytes())?;
    for number in 0..100 {
        let answer = http.read_answer("GET")?;
        let name = answer.json()?["errors"][0]["detail"]["name"].clone();
        assert_eq!((answer.status, name), (404, format!("n{number}").into()));
    }
    http.closed()?;
    still_serves(&server, 3)
}
