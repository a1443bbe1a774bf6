//! Blobs on their way in.

use std::time::Duration;

use anyhow::{Context as _, Result};
use wharf_tests::talk::{stored_in, until};

use super::{Load, Place, numbers, some, talk};
use crate::blocks::{self, Content};
use crate::crowd::Worker;
use crate::workload::Workload;

/// Bytes of one chunk, where a blob goes in chunks.
const CHUNK: u64 = 5 << 20;
/// Blobs that are read back after a round.
const READ_BACK: usize = 3;

/// How a blob goes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Whole,
    Streamed,
    Chunked,
}

/// Each operation pushes a blob of its own.
pub(super) struct Push {
    way: Way,
    repository: String,
    contents: Vec<Content>,
    digests: Vec<String>,
}

impl Push {
    pub(super) fn new(workload: Workload, way: Way) -> Result<Self> {
        let first = numbers(workload.count as u64);
        let contents: Vec<_> = (first..first + workload.count as u64)
            .map(|id| Content {
                id,
                size: workload.size,
            })
            .collect();
        Ok(Self {
            way,
            repository: format!("bench/push-{first:x}"),
            digests: blocks::digests(&contents)?,
            contents,
        })
    }
}

impl Load for Push {
    fn operate(&self, _: &Place, worker: &mut Worker, index: usize) -> Result<u64> {
        let (content, digest) = (self.contents[index], &self.digests[index]);
        match self.way {
            Way::Whole => talk::push_blob(worker, &self.repository, content, digest),
            Way::Streamed => talk::stream_blob(worker, &self.repository, content, digest),
            Way::Chunked => {
                let mut location = talk::open(worker, &self.repository)?;
                let mut from = 0;
                while from < content.size {
                    let end = content.size.min(from + CHUNK);
                    let headers = format!(
                        "Content-Type: application/octet-stream\r\nContent-Range: {from}-{}\r\n",
                        end - 1
                    );
                    let answer =
                        talk::put_part(worker, "PATCH", &location, &headers, content, from, CHUNK)?;
                    location = answer.expect(202, "PATCH of a chunk")?.target()?;
                    from = end;
                }
                talk::finish(worker, &location, digest)?;
                Ok(content.size)
            }
        }
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        for index in some(worker, self.contents.len(), READ_BACK) {
            let digest = &self.digests[index];
            talk::verify(worker, &blob(&self.repository, digest), digest)?;
        }
        Ok(())
    }
}

/// All clients push the same blob at the same time; then the next.
pub(super) struct Same {
    clients: usize,
    all: Push,
}

impl Same {
    pub(super) fn new(workload: Workload) -> Result<Self> {
        let count = workload.count.div_ceil(workload.clients);
        Ok(Self {
            clients: workload.clients,
            all: Push::new(Workload { count, ..workload }, Way::Whole)?,
        })
    }
}

impl Load for Same {
    fn operate(&self, place: &Place, worker: &mut Worker, index: usize) -> Result<u64> {
        self.all.operate(place, worker, index / self.clients)
    }

    fn check(&self, place: &Place, worker: &mut Worker) -> Result<()> {
        self.all.check(place, worker)?;
        if !place.stores_once {
            return Ok(());
        }
        let data = place.data.as_ref().context("no data directory")?;
        let expected: u64 = self.all.contents.iter().map(|content| content.size).sum();
        // A copy that came second goes by itself, but not within its own request.
        until(Duration::from_secs(20), &expected, || {
            // One may go while we look.
            let sizes = stored_in(data)?
                .into_iter()
                .filter_map(|file| file.metadata().ok());
            Ok(sizes.map(|metadata| metadata.len()).sum())
        })
        .context("bytes on disk of blobs that were pushed by many at once")
    }
}

pub(super) fn blob(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}
