//! Whole images, with the requests that docker makes: for each blob a HEAD, the upload, and a HEAD again. One after the other;
//! docker has five layers under way, which several clients stand for.

use anyhow::{Result, ensure};
use wharf_tests::content::sha256;

use super::{Load, Place, numbers, some, talk};
use crate::blocks::{self, Content};
use crate::crowd::Worker;
use crate::workload::Workload;

/// Bytes of an image's config, and of its layers, as those of language runtimes are: small change, what it is for, and a base.
const CONFIG: u64 = 7 << 10;
const LAYERS: [u64; 5] = [250, 40 << 10, 3 << 20, 12 << 20, 28 << 20];
/// Images that are read back after a round, manifest and blobs.
const READ_BACK: usize = 1;

/// An image to push.
pub(crate) struct Image {
    blobs: Vec<(Content, String)>,
    manifest: Vec<u8>,
}

/// An image of layers of these sizes.
pub(crate) fn image_of(layers: &[u64]) -> Result<Image> {
    let sizes: Vec<_> = std::iter::once(CONFIG)
        .chain(layers.iter().copied())
        .collect();
    let first = numbers(sizes.len() as u64);
    let contents: Vec<_> = (first..)
        .zip(&sizes)
        .map(|(id, size)| Content { id, size: *size })
        .collect();
    let digests = blocks::digests(&contents)?;
    let described: Vec<_> = sizes
        .iter()
        .zip(&digests)
        .map(|(size, digest)| (*size, digest.as_str()))
        .collect();
    let manifest = talk::manifest(&described, "");
    Ok(Image {
        blobs: contents.into_iter().zip(digests).collect(),
        manifest,
    })
}

impl Image {
    /// Pushes it as docker does.
    pub(crate) fn push(&self, worker: &mut Worker, repository: &str, tag: &str) -> Result<u64> {
        let mut bytes = 0;
        worker
            .wire
            .send("GET", "/v2/", "", b"")?
            .expect(200, "GET of /v2/")?;
        for (content, digest) in &self.blobs {
            let target = format!("/v2/{repository}/blobs/{digest}");
            let asked = worker.wire.send("HEAD", &target, "", b"")?;
            asked.expect(404, "HEAD of a blob that is new")?;
            bytes += talk::stream_blob(worker, repository, *content, digest)?;
            let asked = worker.wire.send("HEAD", &target, "", b"")?;
            asked.expect(200, "HEAD of a blob that was pushed")?;
        }
        talk::put_manifest(worker, repository, tag, &self.manifest)?;
        Ok(bytes)
    }

    fn pull(&self, worker: &mut Worker, repository: &str, tag: &str) -> Result<u64> {
        let accept = talk::accept();
        worker
            .wire
            .send("GET", "/v2/", "", b"")?
            .expect(200, "GET of /v2/")?;
        let target = format!("/v2/{repository}/manifests/{tag}");
        let answer = worker.wire.send("HEAD", &target, &accept, b"")?;
        answer.expect(200, "HEAD of a tag")?;
        let target = format!("/v2/{repository}/manifests/{}", sha256(&self.manifest));
        let answer = worker.wire.send("GET", &target, &accept, b"")?;
        answer.expect(200, "GET of a manifest")?;
        let mut bytes = 0;
        for (content, digest) in &self.blobs {
            let target = format!("/v2/{repository}/blobs/{digest}");
            let answer = worker.wire.send("GET", &target, "", b"")?;
            let came = answer.expect(200, "GET of a blob")?.bytes;
            ensure!(came == content.size, "{came} bytes of {digest}");
            bytes += came;
        }
        Ok(bytes)
    }

    fn verify(&self, worker: &mut Worker, repository: &str, tag: &str) -> Result<()> {
        let target = format!("/v2/{repository}/manifests/{tag}");
        talk::verify(worker, &target, &sha256(&self.manifest))?;
        for (_, digest) in &self.blobs {
            talk::verify(worker, &format!("/v2/{repository}/blobs/{digest}"), digest)?;
        }
        Ok(())
    }
}

/// Each operation pushes an image.
pub(super) struct Push {
    repository: String,
    images: Vec<Image>,
}

impl Push {
    pub(super) fn new(workload: Workload) -> Result<Self> {
        let layers: Vec<_> = LAYERS
            .iter()
            .copied()
            .cycle()
            .take(workload.size.try_into()?)
            .collect();
        Ok(Self {
            repository: format!("bench/image-{:x}", numbers(1)),
            images: (0..workload.count)
                .map(|_| image_of(&layers))
                .collect::<Result<_>>()?,
        })
    }

    fn check(&self, worker: &mut Worker) -> Result<()> {
        for index in some(worker, self.images.len(), READ_BACK) {
            self.images[index].verify(worker, &self.repository, &tag(index))?;
        }
        Ok(())
    }
}

impl Load for Push {
    fn operate(&self, _: &Place, worker: &mut Worker, index: usize) -> Result<u64> {
        self.images[index].push(worker, &self.repository, &tag(index))
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        self.check(worker)
    }
}

/// Each operation pulls an image.
pub(super) struct Pull(Push);

impl Pull {
    pub(super) fn new(workload: Workload) -> Result<Self> {
        Ok(Self(Push::new(workload)?))
    }
}

impl Load for Pull {
    fn prepare(&self, place: &Place) -> Result<()> {
        place.fill(self.0.images.len(), |worker, index| {
            self.0.operate(place, worker, index)
        })
    }

    fn operate(&self, _: &Place, worker: &mut Worker, index: usize) -> Result<u64> {
        self.0.images[index].pull(worker, &self.0.repository, &tag(index))
    }

    fn check(&self, _: &Place, worker: &mut Worker) -> Result<()> {
        self.0.check(worker)
    }
}

fn tag(index: usize) -> String {
    format!("v{index}")
}
