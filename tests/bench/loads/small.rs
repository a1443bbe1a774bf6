//! Requests that move next to nothing.

use anyhow::Result;
use wharf_tests::content::sha256;

use super::pull::Blobs;
use super::{Load, Place, numbers, some, talk};
use crate::crowd::Worker;
use crate::workload::Workload;

/// Manifests that are read back after a round.
const READ_BACK: usize = 20;
/// Bytes of a config, and of each layer: nobody pulls them.
const BLOB: u64 = 1 << 10;

/// Whether there is a registry at all.
pub(super) struct Version;

impl Load for Version {
    fn operate(&self, _: &Place, worker: &mut Worker, _: usize) -> Result<u64> {
        let answer = worker.wire.send("GET", "/v2/", "", b"")?;
        answer.expect(200, "GET of /v2/")?;
        Ok(0)
    }
}

/// Manifests that differ in an annotation, over the same blobs.
struct Family {
    blobs: Blobs,
    manifests: Vec<Vec<u8>>,
}

impl Family {
    fn new(count: usize, layers: u64) -> Result<Self> {
        let blobs = Blobs::new(layers + 1, BLOB)?;
        let described: Vec<_> = blobs
            .digests
            .iter()
            .map(|digest| (BLOB, digest.as_str()))
            .collect();
        let first = numbers(count as u64);
        let manifests = (first..first + count as u64)
            .map(|number| talk::manifest(&described, &talk::annotation(number)))
            .collect();
        Ok(Self { manifests, blobs })
    }

    fn put(&self, worker: &mut Worker, index: usize) -> Result<u64> {
        let (repository, manifest) = (&self.blobs.repository, &self.manifests[index]);
        talk::put_manifest(worker, repository, &tag(index), manifest)?;
        Ok(0)
    }

    fn check(&self, worker: &mut Worker) -> Result<()> {
        for index in some(worker, self.manifests.len(), READ_BACK) {
            let target = self.target(index);
            talk::verify(worker, &target, &sha256(&self.manifests[index]))?;
        }
        Ok(())
    }

    fn target(&self, index: usize) -> String {
        format!("/v2/{}/manifests/{}", self.blobs.repository, tag(index))
    }
}

fn tag(index: usize) -> String {
    format!("v{index}")
}

/// Each operation asks for a tag.
pub(super) struct Manifests {
    family: Family,
    method: &'static str,
    accept: String,
}

impl Manifests {
    pub(super) fn new(workload: Workload, method: &'static str) -> Result<Self> {
        Ok(Self {
            family: Family::new(workload.size.max(1).try_into()?, 1)?,
            method,
            accept: talk::accept(),
        })
    }
}

impl Load for Manifests {
    fn prepare(&self, place: &Place) -> Result<()> {
        self.family.blobs.push(place)?;
        let count = self.family.manifests.len();
        place.fill(count, |worker, index| self.family.put(worker, index))
    }

    fn operate(&self, _: &Place, worker: &mut Worker, _: usize) -> Result<u64> {
        let index = worker.random.below(self.family.manifests.len());
        let target = self.family.target(index);
        let answer = worker.wire.send(self.method, &target, &self.accept, b"")?;
        Ok(answer.expect(200, "a manifest by its tag")?.bytes)
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        self.family.check(worker)
    }
}

/// Each operation puts a manifest under a new tag.
pub(super) struct Puts(Family);

impl Puts {
    pub(super) fn new(workload: Workload) -> Result<Self> {
        Ok(Self(Family::new(workload.count, workload.size)?))
    }
}

impl Load for Puts {
    fn prepare(&self, place: &Place) -> Result<()> {
        self.0.blobs.push(place)
    }

    fn operate(&self, _: &Place, worker: &mut Worker, index: usize) -> Result<u64> {
        self.0.put(worker, index)
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        self.0.check(worker)
    }
}
