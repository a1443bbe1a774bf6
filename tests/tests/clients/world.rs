//! What a client meets: a registry of its own, what was put there for it, and what can be seen of
//! what it did there without it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command::{Output, describe, finish, output};
use wharf_tests::content::{INDEX, MANIFEST, sha256};
use wharf_tests::http::{Answer, Body, Connection, Request};

use crate::sample::{Family, Sample};
use crate::{Clients, PATIENCE, children};

/// A registry for one client.
pub(crate) struct World {
    pub(crate) clients: Clients,
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
        children(&self.ask(200, Request::new("GET", path))?.body)
    }

    /// Puts an image into two more repositories, and names all that there are.
    pub(crate) fn seed_repositories(&self, sample: &Sample) -> Result<Vec<String>> {
        let added = ["a/first", "z/last"];
        for repository in added {
            self.seed(repository, "v1", sample)?;
        }
        let list = self.ask(200, Request::new("GET", "/v2/_catalog"))?.json()?;
        let names: Vec<String> = serde_json::from_value(list["repositories"].clone())?;
        let ends = [names.first(), names.last()].map(|name| name.map(String::as_str));
        ensure!(ends == added.map(Some), "{names:?}");
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
