//! Pages of lists: from anywhere in them, because whoever reads a whole list asks for its end as well.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wharf_tests::content::{MANIFEST, sha256};

use super::pull::Blobs;
use super::{Load, Place, numbers, talk};
use crate::crowd::Worker;
use crate::wire::Sink;

/// Items of a page.
pub(super) const PAGE: u64 = 100;
/// Tags that one request can move, where the registry knows how to.
const TAGS_PER_PUSH: u64 = 100;
/// From which on they are pushed like that: no row that other registries are measured in has as many.
const MANY: u64 = 5000;
/// Bytes of the one blob that manifests are made of.
pub(super) const BLOB: u64 = 1 << 10;
/// Pages that are looked into after a round.
pub(super) const READ_BACK: usize = 5;

/// What all lists have in common: one image, in one repository.
pub(super) struct Stock {
    pub(super) blobs: Blobs,
    pub(super) manifest: Vec<u8>,
}

impl Stock {
    pub(super) fn new() -> Result<Self> {
        let blobs = Blobs::new(1, BLOB)?;
        let blob = (BLOB, blobs.digests[0].as_str());
        let manifest = talk::manifest(&[blob, blob], &talk::annotation(numbers(1)));
        Ok(Self { blobs, manifest })
    }

    pub(super) fn repository(&self) -> &str {
        &self.blobs.repository
    }
}

/// Reads a page of a list, and says what is in it.
pub(super) fn page(worker: &mut Worker, target: &str, member: &str) -> Result<Vec<Value>> {
    let mut body = Vec::new();
    let answer = worker
        .wire
        .send_to("GET", target, "", b"", &mut Sink::Keep(&mut body))?;
    answer.expect(200, target)?;
    let page: Value = serde_json::from_slice(&body)?;
    let items = page[member].as_array().cloned();
    items.with_context(|| format!("no {member} in {page}"))
}

/// Sees that a page has what follows behind an item, all of whose names are known.
fn compare(items: &[Value], after: u64, size: u64, name: impl Fn(u64) -> String) -> Result<()> {
    let expected: Vec<_> = (after + 1..size.min(after + 1 + PAGE)).map(name).collect();
    let found: Vec<_> = items.iter().filter_map(Value::as_str).collect();
    ensure!(
        found == expected,
        "a page of {found:?}, and not {expected:?}"
    );
    Ok(())
}

fn anywhere(worker: &mut Worker, size: u64) -> Result<u64> {
    let before_the_last_page = usize::try_from(size.saturating_sub(PAGE).max(1))?;
    Ok(worker.random.below(before_the_last_page) as u64)
}

/// Tags of one repository.
pub(crate) struct Tags {
    stock: Stock,
    size: u64,
}

impl Tags {
    pub(crate) fn new(size: u64) -> Result<Self> {
        let stock = Stock::new()?;
        Ok(Self { stock, size })
    }

    fn name(number: u64) -> String {
        format!("v{number:07}")
    }

    fn target(&self, last: u64) -> String {
        let (repository, last) = (self.stock.repository(), Self::name(last));
        format!("/v2/{repository}/tags/list?n={PAGE}&last={last}")
    }

    /// Gets the manifest of a tag.
    pub(crate) fn get(&self, worker: &mut Worker, number: u64) -> Result<u64> {
        let tag = Self::name(number);
        let target = format!("/v2/{}/manifests/{tag}", self.stock.repository());
        let answer = worker.wire.send("GET", &target, &talk::accept(), b"")?;
        Ok(answer.expect(200, "a manifest by its tag")?.bytes)
    }

    /// Adds or moves a tag.
    pub(crate) fn put(&self, worker: &mut Worker, number: u64) -> Result<u64> {
        let Stock { blobs, manifest } = &self.stock;
        talk::put_manifest(worker, &blobs.repository, &Self::name(number), manifest)?;
        Ok(0)
    }

    /// Adds tags up to a larger size.
    pub(crate) fn grow(&mut self, place: &Place, size: u64) -> Result<()> {
        let from = std::mem::replace(&mut self.size, size);
        self.push(place, from)
    }

    fn push(&self, place: &Place, from: u64) -> Result<()> {
        let Stock { blobs, manifest } = &self.stock;
        if self.size < MANY {
            return place.fill(usize::try_from(self.size - from)?, |worker, index| {
                self.put(worker, from + index as u64)
            });
        }
        let digest = sha256(manifest);
        let pushes = (self.size - from).div_ceil(TAGS_PER_PUSH);
        place.fill(usize::try_from(pushes)?, |worker, index| {
            let first = from + index as u64 * TAGS_PER_PUSH;
            let tags: Vec<_> = (first..self.size.min(first + TAGS_PER_PUSH))
                .map(|number| format!("tag={}", Self::name(number)))
                .collect();
            let target = format!(
                "/v2/{}/manifests/{digest}?{}",
                blobs.repository,
                tags.join("&")
            );
            let headers = format!("Content-Type: {MANIFEST}\r\n");
            let answer = worker.wire.send("PUT", &target, &headers, manifest)?;
            answer.expect(201, "PUT of many tags")?;
            Ok(0)
        })
    }
}

impl Load for Tags {
    fn prepare(&self, place: &Place) -> Result<()> {
        self.stock.blobs.push(place)?;
        self.push(place, 0)
    }

    fn operate(&self, _: &Place, worker: &mut Worker, _: usize) -> Result<u64> {
        let target = self.target(anywhere(worker, self.size)?);
        let answer = worker.wire.send("GET", &target, "", b"")?;
        Ok(answer.expect(200, "a page of tags")?.bytes)
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        for _ in 0..READ_BACK {
            let after = anywhere(worker, self.size)?;
            let items = page(worker, &self.target(after), "tags")?;
            compare(&items, after, self.size, Self::name)?;
        }
        Ok(())
    }
}

/// Repositories of a registry.
pub(crate) struct Catalog {
    stock: Stock,
    prefix: String,
    size: u64,
}

impl Catalog {
    pub(crate) fn new(size: u64) -> Result<Self> {
        Ok(Self {
            stock: Stock::new()?,
            prefix: format!("cat/{:x}", numbers(1)),
            size,
        })
    }

    fn name(&self, number: u64) -> String {
        format!("{}/{number:07}", self.prefix)
    }

    fn target(&self, last: u64) -> String {
        let last = self.name(last).replace('/', "%2F");
        format!("/v2/_catalog?n={PAGE}&last={last}")
    }

    /// Asks for the manifest of a repository.
    pub(crate) fn head(&self, worker: &mut Worker, number: u64) -> Result<u64> {
        let repository = self.name(number);
        let target = format!("/v2/{repository}/manifests/v1");
        let answer = worker.wire.send("HEAD", &target, &talk::accept(), b"")?;
        answer.expect(200, "a manifest by its tag")?;
        Ok(0)
    }

    /// Adds repositories up to a larger size.
    pub(crate) fn grow(&mut self, place: &Place, size: u64) -> Result<()> {
        let from = std::mem::replace(&mut self.size, size);
        self.push(place, from)
    }

    /// Each with the same image: its blob is mounted.
    fn push(&self, place: &Place, from: u64) -> Result<()> {
        let Stock { blobs, manifest } = &self.stock;
        place.fill(usize::try_from(self.size - from)?, |worker, index| {
            let repository = self.name(from + index as u64);
            let target = format!(
                "/v2/{repository}/blobs/uploads/?mount={}&from={}",
                blobs.digests[0], blobs.repository
            );
            let answer = worker.wire.send("POST", &target, "", b"")?;
            answer.expect(201, "a mount")?;
            talk::put_manifest(worker, &repository, "v1", manifest)?;
            Ok(0)
        })
    }
}

impl Load for Catalog {
    fn prepare(&self, place: &Place) -> Result<()> {
        self.stock.blobs.push(place)?;
        self.push(place, 0)
    }

    fn operate(&self, _: &Place, worker: &mut Worker, _: usize) -> Result<u64> {
        let target = self.target(anywhere(worker, self.size)?);
        let answer = worker.wire.send("GET", &target, "", b"")?;
        Ok(answer.expect(200, "a page of repositories")?.bytes)
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        for _ in 0..READ_BACK {
            let after = anywhere(worker, self.size)?;
            let items = page(worker, &self.target(after), "repositories")?;
            let items = &items[..items.len().min(usize::try_from(self.size - after - 1)?)];
            compare(items, after, self.size, |number| self.name(number))?;
        }
        Ok(())
    }
}
