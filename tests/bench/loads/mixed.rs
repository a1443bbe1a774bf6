//! Nine pulls to one push. What is pushed is garbage, which a registry that collects while it serves takes away meanwhile.

use anyhow::Result;
use wharf_tests::content::sha256;

use super::pull::Blobs;
use super::{Load, Place, talk};
use crate::crowd::Worker;
use crate::workload::Workload;

/// Blobs that are pulled, again and again.
const PULLED: u64 = 500;
const PUSHES_IN: usize = 10;

/// Pulls, and some pushes.
pub(super) struct Mixed {
    pulled: Blobs,
    pushed: Blobs,
    /// Without it what is pulled would be garbage, too.
    manifest: Vec<u8>,
}

impl Mixed {
    pub(super) fn new(workload: Workload) -> Result<Self> {
        let pulled = Blobs::new(PULLED, workload.size)?;
        let layers: Vec<_> = pulled
            .digests
            .iter()
            .map(|digest| (workload.size, digest.as_str()))
            .collect();
        let pushes = workload.count.div_ceil(PUSHES_IN) as u64;
        Ok(Self {
            pushed: Blobs::new(pushes, workload.size)?,
            manifest: talk::manifest(&layers, ""),
            pulled,
        })
    }
}

impl Load for Mixed {
    fn prepare(&self, place: &Place) -> Result<()> {
        self.pulled.push(place)?;
        place.fill(1, |worker, _| {
            talk::put_manifest(worker, &self.pulled.repository, "v1", &self.manifest)?;
            Ok(0)
        })
    }

    fn operate(&self, _: &Place, worker: &mut Worker, index: usize) -> Result<u64> {
        if index.is_multiple_of(PUSHES_IN) {
            let index = index / PUSHES_IN;
            let (content, digest) = (self.pushed.contents[index], &self.pushed.digests[index]);
            return talk::push_blob(worker, &self.pushed.repository, content, digest);
        }
        let index = worker.random.below(self.pulled.contents.len());
        self.pulled.pull(worker, index)
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        self.pulled.check(worker)?;
        let target = format!("/v2/{}/manifests/v1", self.pulled.repository);
        talk::verify(worker, &target, &sha256(&self.manifest))
    }
}
