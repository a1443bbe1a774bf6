//! What a client meets: a registry of its own, what was put there for it, and what can be seen of
//! what it did there without it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command::{Output, describe, finish, output};
use wharf_tests::content::{INDEX, MANIFEST, sha256};
use wharf_tests::http::{Answer, Body, Connection, Request};

use crate::sample::{Family, Packing, Sample};
use crate::{Clients, PATIENCE};

/// A registry for one client.
pub(crate) struct World {
    pub(crate) clients: Clients,
}

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
    pub(crate) fn new(tools: &[Tool]) -> Result<Self> {
        let clients = Clients::with(tools)?;
        Ok(Self { clients })
    }

    pub(crate) fn bed(&self) -> &Bed {
        &self.clients.bed
    }

    /// The registry's name, as images have it in front.
    pub(crate) fn host(&self) -> String {
        self.clients.server.address().to_string()
    }

    pub(crate) fn image(&self, name: &str) -> String {
        self.clients.server.image(name)
    }

    /// A file or folder of the test's own.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.clients.server.scratch().join(name)
    }

    /// Writes an OCI layout and says where.
    pub(crate) fn layout(&self, name: &str, sample: &Sample) -> Result<String> {
        let folder = self.scratch(&format!("layout-{name}"));
        sample.write_layout(&folder, "v1")?;
        Ok(folder.to_string_lossy().into_owned())
    }

    /// As [`layout`](Self::layout), for an index.
    pub(crate) fn index_layout(&self, name: &str, family: &Family) -> Result<String> {
        let folder = self.scratch(&format!("layout-{name}"));
        family.write_layout(&folder, "v1")?;
        Ok(folder.to_string_lossy().into_owned())
    }

    /// Writes an archive like those of `docker save` and says where.
    pub(crate) fn archive(&self, name: &str, sample: &Sample, image: &str) -> Result<String> {
        let file = self.scratch(&format!("{name}.tar"));
        sample.write_archive(&file, image)?;
        Ok(file.to_string_lossy().into_owned())
    }

    /// Puts an image or artifact into the registry.
    pub(crate) fn seed(&self, repository: &str, reference: &str, sample: &Sample) -> Result<()> {
        for blob in sample.blobs() {
            self.seed_blob(repository, blob)?;
        }
        let put = Request::new("PUT", format!("/v2/{repository}/manifests/{reference}"))
            .header("Content-Type", MANIFEST)
            .body(Body::Sized(&sample.manifest));
        self.ask(201, put).map(drop)
    }

    /// Puts a blob into the registry.
    pub(crate) fn seed_blob(&self, repository: &str, blob: &[u8]) -> Result<()> {
        let target = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(blob));
        self.ask(201, Request::new("POST", target).body(Body::Sized(blob)))
            .map(drop)
    }

    /// Puts an index with its images into the registry.
    pub(crate) fn seed_index(&self, repository: &str, tag: &str, family: &Family) -> Result<()> {
        for sample in [&family.here, &family.there] {
            self.seed(repository, &sample.digest(), sample)?;
        }
        let put = Request::new("PUT", format!("/v2/{repository}/manifests/{tag}"))
            .header("Content-Type", INDEX)
            .body(Body::Sized(&family.index));
        self.ask(201, put).map(drop)
    }

    /// Puts more tags on an image than a client asks for at a time, and says which.
    pub(crate) fn seed_tags(&self, repository: &str, sample: &Sample) -> Result<BTreeSet<String>> {
        self.seed(repository, &sample.digest(), sample)?;
        let tags: Vec<_> = (0..1050).map(|number| format!("v{number}")).collect();
        for some in tags.chunks(100) {
            let query = some
                .iter()
                .map(|tag| format!("tag={tag}"))
                .collect::<Vec<_>>();
            let path = format!("/v2/{repository}/manifests/{}", sample.digest());
            let put = Request::new("PUT", format!("{path}?{}", query.join("&")))
                .header("Content-Type", MANIFEST)
                .body(Body::Sized(&sample.manifest));
            self.ask(201, put)?;
        }
        Ok(tags.into_iter().collect())
    }

    /// Sends a request that must be answered with this status.
    pub(crate) fn ask(&self, status: u16, request: Request<'_>) -> Result<Answer> {
        let head = String::from_utf8_lossy(&request.head()).into_owned();
        let answer = Connection::open(self.clients.server.address())?.send(request)?;
        ensure!(answer.status == status, "{} to {head}", answer.status);
        Ok(answer)
    }

    /// The status with which the registry answers for a thing.
    pub(crate) fn status(&self, path: &str) -> Result<u16> {
        let head = Request::new("HEAD", format!("/v2/{path}"));
        Ok(Connection::open(self.clients.server.address())?
            .send(head)?
            .status)
    }

    /// The digests of the manifests that the registry lists as being about this one.
    pub(crate) fn referrers(&self, repository: &str, subject: &Sample) -> Result<Vec<String>> {
        let path = format!("/v2/{repository}/referrers/{}", subject.digest());
        let list = self.ask(200, Request::new("GET", path))?.json()?;
        children(&list)
    }

    /// The names of all repositories.
    pub(crate) fn repositories(&self) -> Result<Vec<String>> {
        let list = self.ask(200, Request::new("GET", "/v2/_catalog"))?.json()?;
        let names: Vec<String> = serde_json::from_value(list["repositories"].clone())?;
        ensure!(names.len() > 1, "only {names:?}");
        Ok(names)
    }

    /// Runs a client's command, which must succeed.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.clients.run(program, arguments)
    }

    /// Runs a client's command, which must fail, and returns what it said.
    pub(crate) fn refused(&self, program: &str, arguments: &[&str]) -> Result<String> {
        refused(&mut self.clients.command(program, arguments))
    }

    /// Holds a client to its help's being silent about all of these words.
    pub(crate) fn lacks(&self, program: &str, help: &[&str], words: &[&str]) -> Result<()> {
        lacks(&mut self.clients.command(program, help), words)
    }

    /// Holds the registry to having exactly this image under a tag, and other clients to seeing it.
    pub(crate) fn has(&self, repository: &str, tag: &str, sample: &Sample) -> Result<()> {
        let manifest = self.clients.manifest(repository, tag)?;
        ensure!(manifest == sample.manifest, "{repository}:{tag} is another");
        self.others_see(repository, tag)
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
        let children = children(&serde_json::from_slice(&index)?)?;
        ensure!(children == [family.here.digest(), family.there.digest()]);
        self.has(repository, &family.here.digest(), &family.here)?;
        self.has(repository, &family.there.digest(), &family.there)?;
        self.others_see(repository, tag)
    }

    /// Two other clients see the same as is there, and one of them reads all of it: it compares
    /// digests, sizes, and what is in the layers.
    fn others_see(&self, repository: &str, reference: &str) -> Result<()> {
        let manifest = self.clients.manifest(repository, reference)?;
        let digest = sha256(&manifest);
        let separator = if reference.contains(':') { '@' } else { ':' };
        let name = self.image(&format!("{repository}{separator}{reference}"));
        let seen = self.run("crane", &["digest", "--insecure", &name])?;
        ensure!(seen.trim() == digest, "crane sees {seen}");
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
            if started.elapsed() > Duration::from_secs(20) {
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

/// The digests in a list of manifests.
fn children(list: &Value) -> Result<Vec<String>> {
    let children = list["manifests"].as_array().context("no manifests")?;
    let digests = children.iter().map(|child| child["digest"].as_str());
    let digests = digests.map(|digest| digest.map(str::to_owned));
    digests.collect::<Option<_>>().context("no digest")
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

/// Runs a command that must fail, and returns what it said.
pub(crate) fn refused(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let Output {
        status,
        stdout,
        stderr,
    } = finish(command, PATIENCE)?;
    ensure!(!status.success(), "`{name}` can do it: {stdout}{stderr}");
    Ok(format!("{stdout}{stderr}"))
}

/// Holds a help to being silent about all of these words.
pub(crate) fn lacks(command: &mut Command, words: &[&str]) -> Result<()> {
    let name = describe(command);
    let said = output(command, PATIENCE)?.to_lowercase();
    ensure!(said.contains("usage"), "`{name}` is no help: {said}");
    let found = words.iter().find(|word| said.contains(**word));
    ensure!(found.is_none(), "`{name}` knows {found:?}: {said}");
    Ok(())
}

/// Holds a folder to having all of this content, in files named after its digest.
pub(crate) fn identical<'a>(folder: &Path, contents: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    for content in contents {
        let digest = sha256(content);
        let file = folder.join(digest.trim_start_matches("sha256:"));
        let bytes = fs::read(&file).with_context(|| format!("no {}", file.display()))?;
        ensure!(bytes == content, "{} has another content", file.display());
    }
    Ok(())
}

/// Holds a root file system to having the files of an image.
pub(crate) fn unpacked(root: &Path, sample: &Sample) -> Result<()> {
    for (index, layer) in sample.layers.iter().enumerate() {
        let file = root.join(format!("file{index}"));
        let bytes = fs::read(&file).with_context(|| format!("no {}", file.display()))?;
        ensure!(
            bytes == layer.file,
            "{} has another content",
            file.display()
        );
    }
    Ok(())
}
