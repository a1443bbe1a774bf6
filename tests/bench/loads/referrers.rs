//! What refers to a manifest: signatures, and lists of what is in it.

use anyhow::{Context as _, Result, ensure};
use wharf_tests::content::{MANIFEST, sha256};

use super::lists::{BLOB, PAGE, READ_BACK, Stock, page};
use super::{Load, Place, numbers, some, talk};
use crate::crowd::Worker;

/// What refers to one manifest.
pub(crate) struct Referrers {
    stock: Stock,
    subject: String,
    size: u64,
}

impl Referrers {
    pub(crate) fn new(size: u64) -> Result<Self> {
        let stock = Stock::new()?;
        let subject = sha256(&stock.manifest);
        Ok(Self {
            stock,
            subject,
            size,
        })
    }

    fn target(&self) -> String {
        let repository = self.stock.repository();
        format!("/v2/{repository}/referrers/{}?n={PAGE}", self.subject)
    }

    /// Adds referrers up to a larger size.
    pub(crate) fn grow(&mut self, place: &Place, size: u64) -> Result<()> {
        let from = std::mem::replace(&mut self.size, size);
        self.push(place, from)
    }

    fn push(&self, place: &Place, from: u64) -> Result<()> {
        place.fill(usize::try_from(self.size - from)?, |worker, _| {
            self.put(worker)
        })
    }

    /// Adds one.
    pub(crate) fn put(&self, worker: &mut Worker) -> Result<u64> {
        let Stock { blobs, manifest } = &self.stock;
        let blob = (BLOB, blobs.digests[0].as_str());
        let subject = format!(
            r#","artifactType":"application/vnd.example.signature","subject":{{"mediaType":"{MANIFEST}","size":{},"digest":"{}"}}"#,
            manifest.len(),
            self.subject
        );
        let more = subject + &talk::annotation(numbers(1));
        let referrer = talk::manifest(&[blob, blob], &more);
        talk::put_manifest(worker, &blobs.repository, &sha256(&referrer), &referrer)?;
        Ok(0)
    }
}

impl Load for Referrers {
    fn prepare(&self, place: &Place) -> Result<()> {
        let Stock { blobs, manifest } = &self.stock;
        blobs.push(place)?;
        place.fill(1, |worker, _| {
            talk::put_manifest(worker, &blobs.repository, "v1", manifest)?;
            Ok(0)
        })?;
        self.push(place, 0)
    }

    fn operate(&self, _: &Place, worker: &mut Worker, _: usize) -> Result<u64> {
        let answer = worker.wire.send("GET", &self.target(), "", b"")?;
        Ok(answer.expect(200, "referrers")?.bytes)
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        let items = page(worker, &self.target(), "manifests")?;
        let expected = usize::try_from(self.size.min(PAGE))?;
        // Who does not know of pages sends all.
        ensure!(
            items.len() == expected || items.len() as u64 == self.size,
            "{} referrers instead of {expected}",
            items.len()
        );
        for index in some(worker, items.len(), READ_BACK) {
            let digest = items[index]["digest"].as_str().context("no digest")?;
            let target = format!("/v2/{}/manifests/{digest}", self.stock.repository());
            talk::verify(worker, &target, digest)?;
        }
        Ok(())
    }
}
