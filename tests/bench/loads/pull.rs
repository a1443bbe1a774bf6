//! Blobs on their way out.

use anyhow::{Result, ensure};

use super::push::blob;
use super::{Load, Place, numbers, some, talk};
use crate::blocks::{self, Content};
use crate::crowd::Worker;
use crate::workload::Workload;

/// Blobs that are pulled and hashed after a round.
const READ_BACK: usize = 3;
/// Of which there is a `HEAD`: their bytes are never read.
const SMALL: u64 = 1 << 10;

/// Blobs to pull.
pub(super) struct Blobs {
    pub(super) repository: String,
    pub(super) contents: Vec<Content>,
    pub(super) digests: Vec<String>,
}

impl Blobs {
    pub(super) fn new(count: u64, size: u64) -> Result<Self> {
        let first = numbers(count);
        let contents: Vec<_> = (first..first + count)
            .map(|id| Content { id, size })
            .collect();
        Ok(Self {
            repository: format!("bench/pull-{first:x}"),
            digests: blocks::digests(&contents)?,
            contents,
        })
    }

    pub(super) fn push(&self, place: &Place) -> Result<()> {
        place.fill(self.contents.len(), |worker, index| {
            let digest = &self.digests[index];
            talk::push_blob(worker, &self.repository, self.contents[index], digest)
        })
    }

    pub(super) fn pull(&self, worker: &mut Worker, index: usize) -> Result<u64> {
        let target = blob(&self.repository, &self.digests[index]);
        let answer = worker.wire.send("GET", &target, "", b"")?;
        Ok(answer.expect(200, "GET of a blob")?.bytes)
    }

    pub(super) fn check(&self, worker: &mut Worker) -> Result<()> {
        for index in some(worker, self.contents.len(), READ_BACK) {
            let digest = &self.digests[index];
            talk::verify(worker, &blob(&self.repository, digest), digest)?;
        }
        Ok(())
    }
}

/// Each operation pulls another blob.
pub(super) struct Pull(Blobs);

impl Pull {
    pub(super) fn new(workload: Workload) -> Result<Self> {
        Ok(Self(Blobs::new(workload.count as u64, workload.size)?))
    }
}

impl Load for Pull {
    fn prepare(&self, place: &Place) -> Result<()> {
        self.0.push(place)
    }

    fn operate(&self, _: &Place, worker: &mut Worker, index: usize) -> Result<u64> {
        let bytes = self.0.pull(worker, index)?;
        ensure!(bytes == self.0.contents[index].size, "{bytes} bytes");
        Ok(bytes)
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        self.0.check(worker)
    }
}

/// All clients pull parts of one blob; then of the next.
pub(super) struct Ranges {
    blobs: Blobs,
    parts: usize,
}

impl Ranges {
    pub(super) fn new(workload: Workload) -> Result<Self> {
        let count = workload.count.div_ceil(workload.clients);
        Ok(Self {
            blobs: Blobs::new(count as u64, workload.size)?,
            parts: workload.clients,
        })
    }
}

impl Load for Ranges {
    fn prepare(&self, place: &Place) -> Result<()> {
        self.blobs.push(place)
    }

    fn operate(&self, _: &Place, worker: &mut Worker, index: usize) -> Result<u64> {
        let (content, part) = (index / self.parts, (index % self.parts) as u64);
        let (size, parts) = (self.blobs.contents[content].size, self.parts as u64);
        let (from, end) = (size * part / parts, size * (part + 1) / parts);
        let target = blob(&self.blobs.repository, &self.blobs.digests[content]);
        let range = format!("Range: bytes={from}-{}\r\n", end - 1);
        let answer = worker.wire.send("GET", &target, &range, b"")?;
        let bytes = answer.expect(206, "GET of a range")?.bytes;
        ensure!(bytes == end - from, "{bytes} bytes for {range}");
        Ok(bytes)
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        self.blobs.check(worker)
    }
}

/// Each operation asks whether a blob is there.
pub(super) struct Heads(Blobs);

impl Heads {
    pub(super) fn new(workload: Workload) -> Result<Self> {
        Ok(Self(Blobs::new(workload.size, SMALL)?))
    }
}

impl Load for Heads {
    fn prepare(&self, place: &Place) -> Result<()> {
        self.0.push(place)
    }

    fn operate(&self, _: &Place, worker: &mut Worker, _: usize) -> Result<u64> {
        let index = worker.random.below(self.0.contents.len());
        let target = blob(&self.0.repository, &self.0.digests[index]);
        let answer = worker.wire.send("HEAD", &target, "", b"")?;
        answer.expect(200, "HEAD of a blob")?;
        Ok(0)
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        self.0.check(worker)
    }
}
