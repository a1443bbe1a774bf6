//! Measures what garbage collection costs those who push and pull meanwhile, and how long a server with many
//! rows takes to start. `registry/doc/reliability.md` has its figures.
//!
//! ```text
//! cargo run --release -p wharf-tests --bin gc-load [BLOBS [ROWS]]      100000 and 1000000 if not given
//! ```

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wharf_tests::command::say;
use wharf_tests::content::{self, MANIFEST, Random, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::seed;
use wharf_tests::talk::{Client, ask, delete, files, get, push, put};
use wharf_tests::wharf::Server;

/// Bytes of a blob. What is measured is requests, not bytes.
const SIZE: usize = 1 << 10;
const PER_MANIFEST: usize = 1000;
const QUIET: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(1800);

fn main() -> Result<()> {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|argument| argument.parse::<usize>());
    let blobs = numbers.next().transpose()?.unwrap_or(100_000);
    let rows = numbers.next().transpose()?.unwrap_or(1_000_000);
    collection(blobs)?;
    start(rows)
}

/// Half of many blobs become garbage while others are pushed and pulled.
fn collection(blobs: usize) -> Result<()> {
    let mut server = Server::start_with(["--gc-grace", "1h"])?;
    say(&format!(
        "pushing {blobs} blobs of {SIZE} bytes, {PER_MANIFEST} to a manifest ..."
    ));
    let manifests = fill(&server, blobs)?;
    let (doomed, kept) = manifests.split_at(manifests.len() / 2);
    let kept: Vec<&String> = kept.iter().flat_map(|(_, layers)| layers).collect();

    let over = AtomicBool::new(false);
    let quiet = load(&server, &kept, &over, || {
        thread::sleep(QUIET);
        Ok(())
    })?;
    say(&format!("without collection: {quiet}"));

    // The same directory, with a grace that ends at once.
    server.terminate(PATIENCE)?;
    let data = server.data();
    let next = Server::start_on(Some(&data), ["--gc-grace", "1s"])?;
    let going = stored(&data, doomed.iter().flat_map(|(_, layers)| layers))?;
    let mut http = Connection::open(next.address())?;
    for (manifest, _) in doomed {
        ask(
            &mut http,
            202,
            delete(format!("/v2/load/manifests/{manifest}")),
        )?;
    }
    let started = Instant::now();
    let busy = load(&next, &kept, &over, || {
        // Each is looked at until it is gone: to count all files all the time would be a load of its own.
        for file in &going {
            while file.exists() {
                ensure!(started.elapsed() < PATIENCE, "garbage stays");
                thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    })?;
    say(&format!(
        "while {} of them are collected, which takes {:.0} s: {busy}",
        going.len(),
        started.elapsed().as_secs_f32()
    ));
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    say(&format!(
        "p99 of a pull {:.2} times, of a push {:.2} times that without collection",
        ratio(busy.pull, quiet.pull),
        ratio(busy.push, quiet.push)
    ));
    Ok(())
}

/// Pushes images of many layers; returns their manifests' digests with their layers'.
fn fill(server: &Server, blobs: usize) -> Result<Vec<(String, Vec<String>)>> {
    const PUSHERS: usize = 8;
    let count = blobs / PER_MANIFEST;
    let manifests = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|pusher| {
                let manifests = &manifests;
                scope.spawn(move || -> Result<()> {
                    for number in (pusher..count).step_by(PUSHERS) {
                        let mut http = Connection::open(server.address())?;
                        let mut random = Random::new(number as u64);
                        let mut layers = Vec::new();
                        let mut digests = Vec::new();
                        for _ in 0..PER_MANIFEST {
                            let bytes = random.bytes(SIZE);
                            layers.push(content::descriptor(content::LAYER, &bytes));
                            digests.push(push(&mut http, "load", &bytes)?);
                        }
                        let manifest = content::manifest(&layers[0], &layers[1..]);
                        let digest = sha256(&manifest);
                        ask(&mut http, 201, put("load", &digest, MANIFEST, &manifest))?;
                        let mut all = manifests.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
                        all.push((digest, digests));
                    }
                    Ok(())
                })
            })
            .collect();
        pushers.into_iter().try_for_each(|pusher| {
            pusher
                .join()
                .map_err(|_| anyhow::anyhow!("a pusher panicked"))?
        })
    })?;
    manifests.into_inner().context("poisoned")
}

/// The 99th percentiles of what was done meanwhile.
struct Latency {
    pull: Duration,
    push: Duration,
    pulls: usize,
    pushes: usize,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "p99 of {} pulls {:.2} ms, of {} pushes {:.2} ms",
            self.pulls,
            self.pull.as_secs_f64() * 1e3,
            self.pushes,
            self.push.as_secs_f64() * 1e3
        )
    }
}

/// Pushes and pulls for as long as `meanwhile` takes.
fn load(
    server: &Server,
    kept: &[&String],
    over: &AtomicBool,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Latency> {
    over.store(false, Relaxed);
    thread::scope(|scope| {
        let pullers: Vec<_> = (0..2)
            .map(|seed| {
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut random = Random::new(seed);
                    let mut http = Client::new(server.address());
                    let mut took = Vec::new();
                    while !over.load(Relaxed) {
                        let blob = kept[random.below(kept.len())];
                        let started = Instant::now();
                        http.ask(200, get(format!("/v2/load/blobs/{blob}")))?;
                        took.push(started.elapsed());
                    }
                    Ok(took)
                })
            })
            .collect();
        let pushers: Vec<_> = (0..2)
            .map(|seed| {
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut random = Random::new(u64::from(std::process::id()) * 10 + seed);
                    let mut http = Client::new(server.address());
                    let mut took = Vec::new();
                    while !over.load(Relaxed) {
                        let bytes = random.bytes(SIZE);
                        let target =
                            format!("/v2/other-{seed}/blobs/uploads/?digest={}", sha256(&bytes));
                        let started = Instant::now();
                        http.ask(201, Request::new("POST", target).body(Body::Sized(&bytes)))?;
                        took.push(started.elapsed());
                    }
                    Ok(took)
                })
            })
            .collect();
        let done = meanwhile();
        over.store(true, Relaxed);
        let all = |workers: Vec<thread::ScopedJoinHandle<'_, Result<Vec<Duration>>>>| {
            let mut took = Vec::new();
            for worker in workers {
                took.extend(
                    worker
                        .join()
                        .map_err(|_| anyhow::anyhow!("a worker panicked"))??,
                );
            }
            took.sort_unstable();
            Ok::<_, anyhow::Error>(took)
        };
        let (pulls, pushes) = (all(pullers)?, all(pushers)?);
        done?;
        let p99 = |took: &[Duration]| took.get(took.len() * 99 / 100).copied().unwrap_or_default();
        Ok(Latency {
            pull: p99(&pulls),
            push: p99(&pushes),
            pulls: pulls.len(),
            pushes: pushes.len(),
        })
    })
}

/// The files of blobs.
fn stored<'a>(data: &Path, digests: impl Iterator<Item = &'a String>) -> Result<Vec<PathBuf>> {
    let named: HashSet<&str> = digests
        .map(|digest| digest.trim_start_matches("sha256:"))
        .collect();
    let mut files = files(&data.join("blobs/sha256"))?;
    files.retain(|file| {
        let stem = file.file_stem().and_then(OsStr::to_str);
        stem.is_some_and(|stem| named.contains(stem))
    });
    ensure!(files.len() == named.len(), "not one file to each blob");
    Ok(files)
}

/// Starts a server whose catalog has many rows.
fn start(rows: usize) -> Result<()> {
    let mut server = Server::start()?;
    server.terminate(PATIENCE)?;
    seed::blob_rows(&server.data(), 0, rows.try_into()?)?;
    let clean = server.restart()?;
    server.kill()?;
    let crashed = server.restart()?;
    say(&format!(
        "start with {rows} rows of blobs, half of them without a manifest: {} ms, and {} ms after a crash",
        clean.as_millis(),
        crashed.as_millis()
    ));
    Ok(())
}
