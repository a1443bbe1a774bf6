//! How much memory all of it can take together.

use std::thread;

use anyhow::{Result, ensure};
use wharf_tests::command::say;
use wharf_tests::content::Random;
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{ask, get, open, push};
use wharf_tests::wharf::Server;

use crate::{manifests, names, smuggling, still_serves};

/// What the server may have at any time: 60 MB with the program itself, which takes 12 MB of them
/// where it is one for users.
const MOST_KIB: u64 = 48_000_000 >> 10;

/// A step: what is done to the server.
type Step = (&'static str, fn(&Server) -> Result<()>);

const STEPS: [Step; 9] = [
    ("bad words", names::bad_words),
    ("ambiguous requests", smuggling::all_shapes),
    ("largest manifests", manifests::largest),
    ("referrers", manifests::referrers_with_much_to_say),
    ("largest manifests at once", |server| {
        at_once(16, |worker| manifests::one_of_the_largest(server, worker))
    }),
    ("chunks of one byte", chunks_of_one_byte),
    ("uploads that stop", uploads_that_stop),
    ("pulls that stop", pulls_that_stop),
    ("ordinary pushes and pulls", |server| {
        at_once(8, |worker| {
            (0..20).try_for_each(|round| still_serves(server, worker * 20 + round))
        })
    }),
];

/// Runs it several times at the same time.
fn at_once(workers: u64, work: impl Fn(u64) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..workers)
            .map(|worker| scope.spawn(move || work(worker)))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))
        })
    })
}

/// Each chunk could cost more to keep than it brings.
fn chunks_of_one_byte(server: &Server) -> Result<()> {
    at_once(8, |_| {
        let mut http = Connection::open(server.address())?;
        let upload = open(&mut http, "tiny")?;
        let patch = Request::new("PATCH", &upload).body(Body::Chunked(&[]));
        http.write(&patch.head())?;
        let chunks = b"1\r\na\r\n".repeat(40_000);
        http.write(&chunks)?;
        http.write(b"0\r\n\r\n")?;
        ensure!(http.read_answer("PATCH")?.status == 202);
        ask(&mut http, 204, Request::new("DELETE", upload))?;
        Ok(())
    })
}

/// Bytes that have come and wait for more must not pile up.
fn uploads_that_stop(server: &Server) -> Result<()> {
    let mut http = Connection::open(server.address())?;
    let bytes = Random::new(1).bytes(1 << 20);
    let mut stopped = Vec::new();
    for _ in 0..160 {
        let upload = open(&mut http, "stopped")?;
        let mut connection = Connection::open(server.address())?;
        let patch = Request::new("PATCH", &upload).body(Body::Chunked(&[]));
        connection.write(&patch.head())?;
        connection.write_chunk(&bytes[..1000 << 10])?;
        stopped.push(connection);
    }
    still_serves(server, 1)
}

/// Nor may bytes that nobody takes.
fn pulls_that_stop(server: &Server) -> Result<()> {
    let mut http = Connection::open(server.address())?;
    let digest = push(&mut http, "large", &Random::new(2).bytes(16 << 20))?;
    let mut stopped = Vec::new();
    for _ in 0..160 {
        let mut connection = Connection::open(server.address())?;
        connection.write(&get(format!("/v2/large/blobs/{digest}")).head())?;
        connection.read_head()?;
        stopped.push(connection);
    }
    still_serves(server, 2)
}

#[test]
fn all_of_it_takes_little_memory() -> Result<()> {
    let server = Server::start()?;
    for (what, step) in STEPS {
        step(&server)?;
        let program = server.kib("RssFile")?;
        let own = server.kib("VmHWM")?.saturating_sub(program);
        say(&format!(
            "memory: {what}: at most {own} KiB beside {program} KiB of program"
        ));
        ensure!(own < MOST_KIB, "{what}: {own} KiB");
    }
    Ok(())
}
