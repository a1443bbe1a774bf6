//! Collection beside pushes, deletions, mounts and questions about the very blobs that it is about to
//! take.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wharf_tests::command::say;
use wharf_tests::content::{MANIFEST, Random, sha256};
use wharf_tests::http::Connection;
use wharf_tests::talk::{blobs_of, delete, get, head, manifest_of, push, put, until};
use wharf_tests::wharf::Server;

use crate::{PATIENCE, stored};

/// Few contents, so that each is pushed while it is being collected.
const CONTENTS: usize = 6;
const GRACE: Duration = Duration::from_secs(1);

#[test]
fn collection_takes_nothing_that_a_push_was_told_is_there() -> Result<()> {
    let seed = std::env::var("WHARF_SEED").map_or(1, |seed| seed.parse().unwrap_or(1));
    let server = Server::start_with(["--gc-grace", "1s"])?;
    let over = AtomicBool::new(false);
    let (pushed, told, lost) = Default::default();
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let counts = Counts {
                    pushed: &pushed,
                    told: &told,
                    lost: &lost,
                };
                let (server, over) = (&server, &over);
                scope.spawn(move || work(server, seed * 100 + worker, over, counts))
            })
            .collect();
        thread::sleep(Duration::from_secs(12));
        over.store(true, Ordering::Relaxed);
        for worker in workers {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok(())
    })?;
    let (pushed, told, lost) = (pushed.into_inner(), told.into_inner(), lost.into_inner());
    say(&format!(
        "store: {pushed} images pushed, {told} blobs said to be there, {lost} collected before they were asked for; seed {seed}"
    ));
    ensure!(pushed > 20 && told > 0 && lost > 0, "nothing raced");

    // In the end, nothing is left of all of them.
    let mut http = Connection::open(server.address())?;
    for repository in 0..2 {
        for content in 0..CONTENTS {
            let manifest = sha256(&manifest_of(&content.to_string()));
            http.send(delete(format!("/v2/r{repository}/manifests/{manifest}")))?;
        }
    }
    until(PATIENCE, &0, || Ok(stored(&server)?.len()))
}

#[derive(Clone, Copy)]
struct Counts<'a> {
    pushed: &'a AtomicUsize,
    told: &'a AtomicUsize,
    lost: &'a AtomicUsize,
}

/// Pushes images as clients do (ask for each blob, push what is not there, then the manifest), pulls
/// them, and deletes them or leaves them half pushed.
fn work(server: &Server, seed: u64, over: &AtomicBool, counts: Counts<'_>) -> Result<()> {
    let mut random = Random::new(seed);
    let mut http = Connection::open(server.address())?;
    while !over.load(Ordering::Relaxed) {
        let repository = format!("r{}", random.below(2));
        let name = random.below(CONTENTS).to_string();
        let begun = Instant::now();
        for blob in blobs_of(&name) {
            let path = format!("/v2/{repository}/blobs/{}", sha256(&blob));
            if http.send(head(path))?.status == 200 {
                counts.told.fetch_add(1, Ordering::Relaxed);
            } else {
                counts.lost.fetch_add(1, Ordering::Relaxed);
                push(&mut http, &repository, &blob)?;
            }
        }
        // Left half done, it is garbage in a moment.
        if random.percent(40) {
            thread::sleep(Duration::from_millis(random.below(1500) as u64));
            continue;
        }
        let manifest = manifest_of(&name);
        let answer = http.send(put(&repository, &name, MANIFEST, &manifest))?;
        ensure!(
            answer.status == 201 || begun.elapsed() > GRACE / 2,
            "seed {seed}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        counts.pushed.fetch_add(1, Ordering::Relaxed);
        // Another worker may delete the manifest, and after that the grace protects its blobs.
        for blob in blobs_of(&name) {
            let path = format!("/v2/{repository}/blobs/{}", sha256(&blob));
            let answer = http.send(get(path))?;
            ensure!(
                answer.body == blob || (answer.status == 404 && begun.elapsed() > GRACE / 2),
                "seed {seed}: {} after {:?}",
                answer.status,
                begun.elapsed()
            );
        }
        if random.percent(60) {
            let path = format!("/v2/{repository}/manifests/{}", sha256(&manifest));
            let gone = http.send(delete(path))?;
            ensure!(matches!(gone.status, 202 | 404), "{}", gone.status);
            thread::sleep(Duration::from_millis(random.below(1200) as u64));
        }
    }
    Ok(())
}
