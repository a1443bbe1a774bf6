//! Mixed load with garbage collection at its shortest settings: pushes, pulls, deletions, mounts, questions,
//! abandoned uploads and broken connections, all about the few things that are being collected at the
//! same time. No request fails that did nothing wrong, nothing is taken that a client was told is there, and in the end
//! nothing is left: no file, no row, no descriptor.
//!
//! | variable | meaning |
//! |---|---|
//! | `WHARF_SOAK` | seconds; 10 if unset, 1800 with `WHARF_LONG=1` |
//! | `WHARF_SEED` | the seed of all that is random here |

mod leaks;
mod work;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wharf_tests::command::say;
use wharf_tests::content::{Random, sha256};
use wharf_tests::http::Connection;
use wharf_tests::is_long;
use wharf_tests::talk::{delete, files, manifest_of, push_image, until};
use wharf_tests::wharf::Server;

use leaks::Usage;
use work::{REPOSITORIES, Worker};

const WORKERS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(120);

/// What happened, to see that something did.
#[derive(Debug, Default)]
struct Counts {
    images: AtomicUsize,
    pulls: AtomicUsize,
    /// Blobs that the server said are there before they were pushed, and that they are not.
    told: AtomicUsize,
    absent: AtomicUsize,
    mounts: AtomicUsize,
    deletions: AtomicUsize,
    abandoned: AtomicUsize,
    hung_up: AtomicUsize,
}

#[test]
fn a_server_under_load_takes_nothing_that_is_needed_and_leaks_nothing() -> Result<()> {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    let seconds = variable("WHARF_SOAK").unwrap_or(if is_long() { 1800 } else { 10 });
    let seed = variable("WHARF_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let settings = [
        "--gc-grace",
        "1s",
        "--upload-expiry",
        "3s",
        "--catalog-copy-every",
        "2s",
    ];
    let server = Server::start_with(settings)?;
    // Some are opened with the first use, and others while the server looks about at its start.
    push_image(&mut Connection::open(server.address())?, "soak/a", "first")?;
    let mut before = usize::MAX;
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(100));
        before = before.min(Usage::of(&server)?.descriptors);
    }
    let (over, counts) = (AtomicBool::new(false), Counts::default());
    let pool = Random::new(seed).bytes(4 << 20);

    let memory = thread::scope(|scope| -> Result<Vec<u64>> {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let mut worker = Worker::new(&server, seed * 100 + number, &pool, &counts);
                let over = &over;
                scope.spawn(move || worker.run(over))
            })
            .collect();
        let memory = watch(&server, Duration::from_secs(seconds), || {
            workers.iter().any(thread::ScopedJoinHandle::is_finished)
        });
        over.store(true, Relaxed);
        for worker in workers {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        memory
    })?;
    let (first, last) = (median(&memory, 0), median(&memory, 2));
    say(&format!(
        "soak: {seconds} s, seed {seed}: {counts:?}; median memory {first} KiB in the first third, {last} KiB in the last"
    ));
    for (what, count) in [
        ("images", &counts.images),
        ("told", &counts.told),
        ("absent", &counts.absent),
        ("mounts", &counts.mounts),
        ("deletions", &counts.deletions),
        ("abandoned", &counts.abandoned),
        ("hung up", &counts.hung_up),
    ] {
        ensure!(count.load(Relaxed) > 0, "no {what}: nothing raced");
    }
    // In a short run, most of it is the growth from nothing to what the load takes.
    if seconds >= 600 {
        ensure!(
            last * 100 <= first * 105,
            "memory grows from {first} to {last} KiB"
        );
    }

    clear(&server, &pool)?;
    until(PATIENCE, &Vec::new(), || {
        let mut left = files(&server.data().join("blobs/sha256"))?;
        left.extend(files(&server.data().join("uploads"))?);
        Ok(left)
    })?;
    until(PATIENCE, &Vec::new(), || leaks::rows(&server))?;
    until(PATIENCE, &true, || {
        Ok(Usage::of(&server)?.descriptors <= before)
    })?;
    let log = server.log();
    let faults = leaks::faults(&log);
    ensure!(faults.is_empty(), "the log has {faults:#?}");
    Ok(())
}

/// Samples the server's memory until the time is over, or `broken` says that there is nothing more to see.
fn watch(server: &Server, time: Duration, broken: impl Fn() -> bool) -> Result<Vec<u64>> {
    let started = Instant::now();
    let mut memory = Vec::new();
    while started.elapsed() < time && !broken() {
        thread::sleep(Duration::from_millis(500));
        memory.push(Usage::of(server)?.memory);
    }
    Ok(memory)
}

/// The median of one of the thirds.
fn median(samples: &[u64], third: usize) -> u64 {
    let size = samples.len() / 3;
    let mut part = samples[third * size..(third + 1) * size].to_vec();
    part.sort_unstable();
    part.get(part.len() / 2).copied().unwrap_or(0)
}

/// Deletes every manifest.
fn clear(server: &Server, pool: &[u8]) -> Result<()> {
    let mut http = Connection::open(server.address())?;
    for repository in REPOSITORIES {
        for manifest in work::manifests(pool)
            .into_iter()
            .chain([manifest_of("first")])
        {
            let path = format!("/v2/{repository}/manifests/{}", sha256(&manifest));
            let gone = http.send(delete(path))?.status;
            ensure!(matches!(gone, 202 | 404), "{gone}");
        }
    }
    Ok(())
}
