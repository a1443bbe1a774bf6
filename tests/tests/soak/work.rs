//! What a client does, over and over.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wharf_tests::content::{self, MANIFEST, Random, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{Client, ask, delete, get, head, open, put};
use wharf_tests::wharf::Server;

use crate::Counts;

pub(crate) const REPOSITORIES: [&str; 3] = ["soak/a", "soak/b", "soak/c"];
/// Few images, so that each is pushed while it is being collected.
const IMAGES: usize = 6;
/// The server's grace, and what is surely within it.
const WITHIN_GRACE: Duration = Duration::from_millis(500);

/// One client.
pub(crate) struct Worker<'a> {
    server: &'a Server,
    random: Random,
    pool: &'a [u8],
    counts: &'a Counts,
    http: Client,
}

/// The blobs of an image: a config and two layers, the second of some size.
fn blobs(pool: &[u8], image: usize) -> [&[u8]; 3] {
    let size = [100, 10_000, 300_000][image % 3];
    [
        &pool[image * 64..][..64],
        &pool[image * 1000..][..1000],
        &pool[image * 500_000..][..size],
    ]
}

fn manifest(pool: &[u8], image: usize) -> Vec<u8> {
    let [config, layers @ ..] = blobs(pool, image);
    content::manifest(
        &content::descriptor(content::CONFIG, config),
        &layers.map(|layer| content::descriptor(content::LAYER, layer)),
    )
}

/// All manifests that are ever pushed.
pub(crate) fn manifests(pool: &[u8]) -> Vec<Vec<u8>> {
    (0..IMAGES).map(|image| manifest(pool, image)).collect()
}

impl<'a> Worker<'a> {
    pub(crate) fn new(server: &'a Server, seed: u64, pool: &'a [u8], counts: &'a Counts) -> Self {
        Self {
            server,
            random: Random::new(seed),
            pool,
            counts,
            http: Client::new(server.address()),
        }
    }

    pub(crate) fn run(&mut self, over: &AtomicBool) -> Result<()> {
        while !over.load(Relaxed) {
            let repository = REPOSITORIES[self.random.below(REPOSITORIES.len())];
            let image = self.random.below(IMAGES);
            match self.random.below(10) {
                0..=4 => self.push(repository, image)?,
                5..=6 => self.delete(repository, image)?,
                7 => self.abandon(repository)?,
                8 => self.hang_up(repository)?,
                _ => self.look_around(repository)?,
            }
        }
        Ok(())
    }

    /// Pushes an image as clients do: asks for each blob, pushes or mounts what is not there, then the
    /// manifest. Now and then it stops half-way, and now and then it pulls what it pushed.
    fn push(&mut self, repository: &str, image: usize) -> Result<()> {
        let begun = Instant::now();
        for blob in blobs(self.pool, image) {
            let digest = sha256(blob);
            let path = format!("/v2/{repository}/blobs/{digest}");
            match self.http.send(head(path))?.status {
                // Who is told that a blob is there does not push it; so it must be there for the
                // manifest.
                200 => {
                    self.counts.told.fetch_add(1, Relaxed);
                }
                404 => {
                    self.counts.absent.fetch_add(1, Relaxed);
                    self.push_blob(repository, &digest, blob)?;
                }
                other => anyhow::bail!("{other} to a HEAD"),
            }
        }
        if self.random.percent(30) {
            return Ok(());
        }
        let manifest = manifest(self.pool, image);
        let took = begun.elapsed();
        let answer = self
            .http
            .send(put(repository, &format!("v{image}"), MANIFEST, &manifest))?;
        ensure!(
            answer.status == 201 || (answer.status == 400 && took > WITHIN_GRACE),
            "{} after {took:?}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        if answer.status != 201 {
            return Ok(());
        }
        self.counts.images.fetch_add(1, Relaxed);
        // Another client may delete the manifest, and from then on the grace protects its blobs.
        let pushed = Instant::now();
        for blob in blobs(self.pool, image) {
            let path = format!("/v2/{repository}/blobs/{}", sha256(blob));
            let answer = self.http.send(get(path))?;
            ensure!(
                answer.body == blob || (answer.status == 404 && pushed.elapsed() > WITHIN_GRACE),
                "{} after {:?}",
                answer.status,
                pushed.elapsed()
            );
            self.counts.pulls.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn push_blob(&mut self, repository: &str, digest: &str, blob: &[u8]) -> Result<()> {
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let target = match self.random.below(3) {
            0 => format!("{uploads}?mount={digest}"),
            1 => {
                let from = REPOSITORIES[self.random.below(REPOSITORIES.len())];
                format!("{uploads}?mount={digest}&from={from}")
            }
            _ => uploads,
        };
        let answer = self.http.send(Request::new("POST", target))?;
        if answer.status == 201 {
            self.counts.mounts.fetch_add(1, Relaxed);
            return Ok(());
        }
        ensure!(answer.status == 202, "{}", answer.status);
        let upload = answer.location()?.to_owned();
        let (first, rest) = match self.random.below(2) {
            0 => (blob, &[][..]),
            _ => blob.split_at(blob.len() / 2),
        };
        let patch = self
            .http
            .send(Request::new("PATCH", &upload).body(Body::Chunked(first)))?;
        ensure!(patch.status == 202, "{} to a PATCH", patch.status);
        let request = Request::new("PUT", format!("{upload}?digest={digest}"));
        let put = self.http.send(request.body(Body::Sized(rest)))?;
        ensure!(put.status == 201, "{} to a PUT", put.status);
        Ok(())
    }

    fn delete(&mut self, repository: &str, image: usize) -> Result<()> {
        let manifest = sha256(&manifest(self.pool, image));
        let gone = self
            .http
            .send(delete(format!("/v2/{repository}/manifests/{manifest}")))?;
        ensure!(matches!(gone.status, 202 | 404), "{}", gone.status);
        let done = usize::from(gone.status == 202);
        self.counts.deletions.fetch_add(done, Relaxed);
        // Long enough for some of it to be collected, now and then.
        thread::sleep(Duration::from_millis(self.random.below(1200) as u64));
        Ok(())
    }

    /// Begins an upload and never comes back.
    fn abandon(&mut self, repository: &str) -> Result<()> {
        let mut http = Connection::open(self.server.address())?;
        let upload = open(&mut http, repository)?;
        let some = &self.pool[..self.random.below(100_000)];
        ask(
            &mut http,
            202,
            Request::new("PATCH", upload).body(Body::Chunked(some)),
        )?;
        self.counts.abandoned.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Drops the connection in the middle of a body.
    fn hang_up(&mut self, repository: &str) -> Result<()> {
        let mut http = Connection::open(self.server.address())?;
        let upload = open(&mut http, repository)?;
        let request = Request::new("PATCH", upload).body(Body::Sized(&self.pool[..200_000]));
        http.write(&request.head())?;
        http.write(&self.pool[..self.random.below(200_000)])?;
        self.counts.hung_up.fetch_add(1, Relaxed);
        Ok(())
    }

    fn look_around(&mut self, repository: &str) -> Result<()> {
        for path in [
            "/v2/_catalog".to_owned(),
            "/readyz".to_owned(),
            "/v2/".to_owned(),
        ] {
            let answer = self.http.send(get(path))?;
            ensure!(answer.status == 200, "{}", answer.status);
        }
        let tags = self.http.send(get(format!("/v2/{repository}/tags/list")))?;
        ensure!(matches!(tags.status, 200 | 404), "{}", tags.status);
        Ok(())
    }
}
