//! What is held against a client: what the registry has, what other clients see there, and which
//! requests it took.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use wharf_tests::content::sha256;
use wharf_tests::http::Request;

use crate::children;
use crate::sample::{Family, Packing, Sample};
use crate::world::World;

/// What the registry logged of a request.
pub(crate) struct Line {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    digest: String,
    received: u64,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.path, self.status)
    }
}

impl World {
    /// Holds the registry to having exactly this image under a tag, and other clients to seeing it.
    pub(crate) fn has(&self, repository: &str, tag: &str, sample: &Sample) -> Result<()> {
        let manifest = self.clients.manifest(repository, tag)?;
        ensure!(manifest == sample.manifest, "{repository}:{tag} is another");
        self.others_see(repository, tag)
    }

    /// Holds a client to not having asked for a deletion, and the registry to what it had before.
    pub(crate) fn has_still(&self, repository: &str, tag: &str, sample: &Sample) -> Result<()> {
        self.has(repository, tag, sample)?;
        let log = self.log(repository);
        ensure!(!log.iter().any(|line| line.method == "DELETE"), "{log:?}");
        Ok(())
    }

    /// Holds the registry to having an image with the same content under a tag, in layers of any
    /// packing, and other clients to seeing it. Returns its manifest.
    pub(crate) fn has_content(
        &self,
        repository: &str,
        tag: &str,
        sample: &Sample,
    ) -> Result<Value> {
        let manifest = serde_json::from_slice::<Value>(&self.clients.manifest(repository, tag)?)?;
        let digest = manifest["config"]["digest"].as_str().context("no config")?;
        let get = Request::new("GET", format!("/v2/{repository}/blobs/{digest}"));
        let ids = self.ask(200, get)?.json()?["rootfs"]["diff_ids"].take();
        ensure!(ids == serde_json::json!(sample.diff_ids()), "{ids}");
        self.others_see(repository, tag)?;
        Ok(manifest)
    }

    /// Holds the registry to having exactly this artifact under a tag, and to listing it for its
    /// subject.
    pub(crate) fn has_artifact(
        &self,
        repository: &str,
        tag: &str,
        artifact: &Sample,
        subject: &Sample,
    ) -> Result<()> {
        let manifest = self.clients.manifest(repository, tag)?;
        ensure!(
            manifest == artifact.manifest,
            "{repository}:{tag} is another"
        );
        for blob in artifact.blobs() {
            let get = Request::new("GET", format!("/v2/{repository}/blobs/{}", sha256(blob)));
            ensure!(self.ask(200, get)?.body == blob);
        }
        let listed = self.referrers(repository, subject)?;
        ensure!(listed == [artifact.digest()], "{listed:?}");
        Ok(())
    }

    /// Holds the registry to having an index of these two images, which it has as well.
    pub(crate) fn has_index(&self, repository: &str, tag: &str, family: &Family) -> Result<()> {
        let index = self.clients.manifest(repository, tag)?;
        let children = children(&index)?;
        ensure!(children == [family.here.digest(), family.there.digest()]);
        self.has(repository, &family.here.digest(), &family.here)?;
        self.has(repository, &family.there.digest(), &family.there)?;
        self.others_see(repository, tag)
    }

    /// Other clients see the same as is there, and one of them reads all of it: it compares digests,
    /// sizes, and what is in the layers.
    fn others_see(&self, repository: &str, reference: &str) -> Result<()> {
        let manifest = self.clients.manifest(repository, reference)?;
        let digest = sha256(&manifest);
        let separator = if reference.contains(':') { '@' } else { ':' };
        let name = self.image(&format!("{repository}{separator}{reference}"));
        let host = format!("reg={},tls=disabled", self.host());
        let seen = self.run("regctl", &["--host", &host, "image", "digest", &name])?;
        ensure!(seen.trim() == digest, "regctl sees {seen}");
        let mut validate = vec!["validate", "--insecure", "--remote", &name];
        if String::from_utf8_lossy(&manifest).contains("+zstd") {
            // Its validation looks into layers with gzip only.
            validate.push("--fast");
        }
        self.run("crane", &validate)?;
        Ok(())
    }

    /// Holds the registry to having packed layers in an image that was pushed so.
    pub(crate) fn has_packed(
        &self,
        repository: &str,
        tag: &str,
        sample: &Sample,
        packing: Packing,
    ) -> Result<()> {
        let manifest = self.has_content(repository, tag, sample)?;
        let layers = manifest["layers"].as_array().context("no layers")?;
        for layer in layers {
            let kind = layer["mediaType"].as_str().unwrap_or_default();
            ensure!(kind.ends_with(packing.suffix()), "a layer is {kind}");
            let digest = layer["digest"].as_str().context("no digest")?;
            let get = Request::new("GET", format!("/v2/{repository}/blobs/{digest}"));
            let blob = self.ask(200, get)?.body;
            let magic: &[u8] = match packing {
                Packing::Gzip => &[0x1f, 0x8b],
                Packing::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            };
            ensure!(sha256(&blob) == digest, "{digest} came as another");
            ensure!(blob.starts_with(magic), "{digest} is no {kind}");
        }
        Ok(())
    }

    /// What was logged of a repository so far.
    pub(crate) fn log(&self, repository: &str) -> Vec<Line> {
        let log = self.clients.server.log();
        let lines = log.lines().filter(|line| line.contains("wharf::request"));
        lines
            .filter(|line| field(line, "repository") == repository)
            .map(|line| Line {
                method: field(line, "method").to_owned(),
                path: field(line, "path").to_owned(),
                status: field(line, "status").parse().unwrap_or_default(),
                digest: field(line, "digest").to_owned(),
                received: field(line, "received_bytes").parse().unwrap_or_default(),
            })
            .collect()
    }

    /// Waits until what was logged of a repository has it all: a request is logged once it is over,
    /// which can be after the client has got its answer.
    pub(crate) fn log_until(
        &self,
        repository: &str,
        complete: impl Fn(&[Line]) -> bool,
    ) -> Result<Vec<Line>> {
        let started = Instant::now();
        loop {
            let lines = self.log(repository);
            if complete(&lines) {
                return Ok(lines);
            }
            if started.elapsed() > Duration::from_secs(60) {
                bail!("not what should be in the log: {lines:#?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Holds a copy to having been made by mounts: every layer was mounted, and of blobs nothing
    /// but the config was sent.
    pub(crate) fn was_mounted(&self, repository: &str, sample: &Sample) -> Result<()> {
        let lines = self.log_until(repository, |lines| {
            let pushed = |l: &Line| l.method == "PUT" && l.path.contains("/manifests/");
            lines.iter().any(|line| pushed(line) && line.status == 201)
        })?;
        for layer in &sample.layers {
            let digest = sha256(&layer.blob);
            let mounted = |l: &Line| {
                l.method == "POST" && l.status == 201 && l.digest == digest && l.received == 0
            };
            ensure!(
                lines.iter().any(mounted),
                "no mount of {digest}: {lines:#?}"
            );
        }
        let uploads = lines.iter().filter(|line| line.path.contains("/uploads/"));
        let sent: u64 = uploads.map(|line| line.received).sum();
        ensure!(sent <= sample.config.len() as u64, "{sent} bytes were sent");
        Ok(())
    }

    /// Holds a pull to having read each layer in one request.
    pub(crate) fn was_pulled_whole(&self, repository: &str, sample: &Sample) -> Result<()> {
        let got = |lines: &[Line], digest: &str, status| {
            let end = format!("/blobs/{digest}");
            let is = |l: &&Line| l.method == "GET" && l.status == status && l.path.ends_with(&end);
            lines.iter().filter(is).count()
        };
        let digests: Vec<_> = sample.layers.iter().map(|l| sha256(&l.blob)).collect();
        let lines = self.log_until(repository, |lines| {
            digests.iter().all(|digest| got(lines, digest, 200) > 0)
        })?;
        for digest in &digests {
            let (whole, ranges) = (got(&lines, digest, 200), got(&lines, digest, 206));
            ensure!((whole, ranges) == (1, 0), "{lines:#?}");
        }
        Ok(())
    }

    /// Holds a pull to having asked for one of the images of an index, but not for the other.
    pub(crate) fn was_pulled_alone(
        &self,
        repository: &str,
        one: &Sample,
        other: &Sample,
    ) -> Result<()> {
        let asked = |lines: &[Line], sample: &Sample| {
            let blobs = sample.layers.iter().map(|layer| sha256(&layer.blob));
            let mut ends = blobs.map(|digest| format!("/blobs/{digest}"));
            let is = |l: &Line, end: &str| l.method == "GET" && l.path.ends_with(end);
            ends.any(|end| lines.iter().any(|line| is(line, &end)))
        };
        let lines = self.log_until(repository, |lines| asked(lines, one))?;
        ensure!(!asked(&lines, other), "both were pulled: {lines:#?}");
        Ok(())
    }
}

/// A field's value in a line of the log.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let Some((_, rest)) = line.split_once(&format!(" {name}=")) else {
        return "";
    };
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => rest.split(' ').next().unwrap_or_default(),
    }
}
