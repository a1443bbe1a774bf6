//! One blob, four ways to the registry and back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use wharf_tests::command::say;
use wharf_tests::content::{Random, hex, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk;

use crate::cluster::{World, kib_of};
use crate::cpu::Cpu;
use crate::report::{line, median, spread, target};

/// The repository that everything goes to.
const REPOSITORY: &str = "ways";
/// What one read of the client's takes.
const BUFFER: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// A way to the registry.
struct Way {
    name: &'static str,
    address: SocketAddr,
    pulls: Measured,
    pushes: Measured,
}

/// MB/s of each round, and whose processor time all rounds took.
#[derive(Default)]
struct Measured {
    rates: Vec<f64>,
    cpu: BTreeMap<String, f64>,
}

pub(crate) fn measure(world: &World, rounds: usize, mib: usize) -> Result<()> {
    let port = world.port;
    let (straight, _route) = world.straight()?;
    let forward = world.cluster.wharf_says(&["forward", "start", ":5000"])?;
    let forward = forward["ports"][0]["port"].as_u64().context("no port")?;
    let kubectl = Forward::start(world, "true")?;
    let spdy = Forward::start(world, "false")?;
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut ways: Vec<Way> = [
        ("straight to the pod", straight),
        ("published port", local(port)),
        ("wharf forward", local(u16::try_from(forward)?)),
        ("kubectl port-forward", local(kubectl.port)),
        ("the same, SPDY", local(spdy.port)),
    ]
    .into_iter()
    .map(|(name, address)| Way {
        name,
        address,
        pulls: Measured::default(),
        pushes: Measured::default(),
    })
    .collect();

    let mut content = Random::new(7).bytes(mib << 20);
    let digest = sha256(&content);
    push(straight, &content, &digest)?;
    for way in &ways {
        // Once, whoever checks what comes: hashing while it is measured would measure that.
        let (_, came) = pull(way.address, &digest, true)?;
        ensure!(came == digest, "{}: {came} came", way.name);
    }
    for round in 0..rounds {
        say(&format!("ways: round {} of {rounds}", round + 1));
        for turn in 0..ways.len() {
            let turn = (turn + round) % ways.len();
            let way = &mut ways[turn];
            let before = Cpu::now()?;
            let (seconds, _) = pull(way.address, &digest, false)?;
            way.pulls.add(content.len(), seconds, &before)?;
            // Another blob each time: what is there need not be pushed.
            content[..8].copy_from_slice(&(1 + round * 100 + turn).to_le_bytes());
            let other = sha256(&content);
            let before = Cpu::now()?;
            let seconds = push(way.address, &content, &other)?;
            way.pushes.add(content.len(), seconds, &before)?;
        }
    }
    report(&ways, mib * rounds);
    let relays = kib_of("relay", "VmHWM")?;
    let most = relays.iter().max().copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "it is read by people")]
    let most = most as f64 / 1024.0;
    target(
        "a relay's memory at its most, MiB",
        most,
        "<= 20",
        most <= 20.0,
    );
    let forwards = kib_of("forward", "VmHWM")?;
    line(&format!(
        "- the forward's memory at its most: {} KiB",
        forwards[0]
    ));
    world.cluster.wharf_says(&["forward", "stop", "--all"])?;
    Ok(())
}

impl Measured {
    fn add(&mut self, bytes: usize, seconds: f64, before: &Cpu) -> Result<()> {
        for (program, used) in Cpu::now()?.since(before) {
            *self.cpu.entry(program).or_default() += used;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a quarter of a gigabyte is exact"
        )]
        self.rates.push(bytes as f64 / 1e6 / seconds);
        Ok(())
    }
}

fn report(ways: &[Way], mib: usize) {
    line("\n## Ways to the registry: MB/s, median (least–most)\n");
    line("| way | pull | push |\n|---|---|---|");
    for way in ways {
        let (pulls, pushes) = (spread(&way.pulls.rates, 0), spread(&way.pushes.rates, 0));
        line(&format!("| {} | {pulls} | {pushes} |", way.name));
    }
    line("");
    for (what, of) in [
        ("pull", (|way| &way.pulls) as fn(&Way) -> &Measured),
        ("push", |way| &way.pushes),
    ] {
        let rate = |number: usize| median(&of(&ways[number]).rates);
        let ratio = |one: usize, other: usize| rate(one) / rate(other);
        for (name, one, other, least) in [
            ("published port / straight", 1, 0, 0.5),
            ("published port / kubectl", 1, 3, 5.0),
            ("forward / kubectl", 2, 3, 2.0),
        ] {
            let figure = ratio(one, other);
            let wanted = format!(">= {least}");
            target(&format!("{what}: {name}"), figure, &wanted, figure >= least);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "it is read by people")]
    let gigabytes = mib as f64 / 1024.0;
    line("\n### Processor seconds for a GiB\n");
    for way in ways {
        for (what, measured) in [("pull", &way.pulls), ("push", &way.pushes)] {
            let mut used: Vec<_> = measured.cpu.iter().collect();
            used.sort_by(|one, other| other.1.total_cmp(one.1));
            let used: Vec<String> = used
                .iter()
                .map(|(program, seconds)| (program, **seconds / gigabytes))
                .filter(|(_, seconds)| *seconds >= 0.05)
                .map(|(program, seconds)| format!("{program} {seconds:.2}"))
                .collect();
            line(&format!("- {}, {what}: {}", way.name, used.join(", ")));
        }
    }
    line("");
}

/// Reads a blob; returns how long that took, and the digest of what came, if it is to be hashed.
fn pull(address: SocketAddr, digest: &str, is_hashed: bool) -> Result<(f64, String)> {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let get = talk::get(format!("/v2/{REPOSITORY}/blobs/{digest}"));
    stream.write_all(&get.head())?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    let mut head = Vec::new();
    let body = loop {
        let length = stream.read(&mut buffer)?;
        ensure!(length > 0, "no answer at {address}");
        head.extend_from_slice(&buffer[..length]);
        if let Some(at) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break head.split_off(at + 4);
        }
    };
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200"), "{address}: {head}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut left: usize = length.context("no length")?.trim().parse()?;
    left -= body.len();
    hash.update(&body);
    while left > 0 {
        let length = stream.read(&mut buffer)?;
        ensure!(length > 0, "{address}: {left} bytes did not come");
        if is_hashed {
            hash.update(&buffer[..length]);
        }
        left -= length;
    }
    let took = started.elapsed().as_secs_f64();
    Ok((took, format!("sha256:{}", hex(&hash.finalize()))))
}

/// Sends a blob in a session, and returns how long it took until it was stored.
fn push(address: SocketAddr, content: &[u8], digest: &str) -> Result<f64> {
    let started = Instant::now();
    let mut http = Connection::open(address)?;
    let post = Request::new("POST", format!("/v2/{REPOSITORY}/blobs/uploads/"));
    let session = talk::ask(&mut http, 202, post)?.location()?.to_owned();
    let patch = Request::new("PATCH", session).body(Body::Sized(content));
    let session = talk::ask(&mut http, 202, patch)?.location()?.to_owned();
    let mark = if session.contains('?') { '&' } else { '?' };
    let put = Request::new("PUT", format!("{session}{mark}digest={digest}"));
    talk::ask(&mut http, 201, put)?;
    Ok(started.elapsed().as_secs_f64())
}

/// A `kubectl port-forward` from a port that is free.
struct Forward {
    child: Child,
    port: u16,
}

impl Forward {
    /// Over WebSockets, as newer ones do it unless told otherwise, or over SPDY.
    fn start(world: &World, websockets: &str) -> Result<Self> {
        let log = world
            .cluster
            .dir()
            .join(format!("kubectl-{websockets}.log"));
        let forward = [
            "port-forward",
            "--namespace=wharf-system",
            "service/registry",
            ":5000",
        ];
        let child = world
            .cluster
            .kubectl_command(&forward)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut forward = Self { child, port: 0 };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let said = std::fs::read_to_string(&log)?;
            let port = said
                .lines()
                .find_map(|line| line.strip_prefix("Forwarding from 127.0.0.1:"))
                .and_then(|line| line.split_once(' '));
            if let Some((port, _)) = port {
                forward.port = port.parse()?;
                return Ok(forward);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("kubectl forwards nothing")
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
