//! What a registry is, in a few lines: maps of what was pushed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use wharf_tests::content::{self, Random, sha256};

/// What the server should say.
pub(crate) struct Expected {
    pub(crate) status: u16,
    pub(crate) body: Option<Vec<u8>>,
}

/// A manifest of the run, and what it refers to.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    blobs: Vec<String>,
    subject: Option<String>,
}

/// Something to be pushed, or asked for.
pub(crate) enum Content {
    Blob(Vec<u8>),
    Manifest(Manifest),
}

#[derive(Default)]
struct Repository {
    blobs: BTreeSet<String>,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
}

/// A registry, and the few things that are pushed to it, so that everything happens to each of them.
pub(crate) struct Model {
    repositories: BTreeMap<String, Repository>,
    blobs: Vec<Vec<u8>>,
    manifests: Vec<Manifest>,
}

const REPOSITORIES: [&str; 3] = ["a", "a/b", "other"];

impl Expected {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, body: None }
    }

    fn found(body: Option<&[u8]>) -> Self {
        Self {
            status: if body.is_some() { 200 } else { 404 },
            body: body.map(<[u8]>::to_vec),
        }
    }

    fn done(done: bool) -> Self {
        Self::status(if done { 202 } else { 404 })
    }
}

impl Model {
    pub(crate) fn new() -> Self {
        let blobs: Vec<Vec<u8>> = (0..6).map(|n| format!("blob {n}").into_bytes()).collect();
        let descriptor = |n: usize| content::descriptor(content::LAYER, &blobs[n]);
        let mut manifests = Vec::new();
        for [config, one, other] in [[0, 1, 2], [0, 3, 1], [4, 5, 5], [1, 0, 3]] {
            let layers = [descriptor(one), descriptor(other)];
            manifests.push(Manifest {
                media_type: content::MANIFEST,
                bytes: content::manifest(&descriptor(config), &layers),
                blobs: [config, one, other].map(|n| sha256(&blobs[n])).to_vec(),
                subject: None,
            });
        }
        let child = content::descriptor(content::MANIFEST, &manifests[0].bytes);
        manifests.push(Manifest {
            media_type: content::INDEX,
            bytes: content::index(std::slice::from_ref(&child)),
            blobs: Vec::new(),
            subject: None,
        });
        let mut referrer: Value =
            serde_json::from_slice(&manifests[1].bytes).unwrap_or_else(|_| json!({}));
        referrer["subject"] = child;
        manifests.push(Manifest {
            media_type: content::MANIFEST,
            bytes: referrer.to_string().into_bytes(),
            blobs: manifests[1].blobs.clone(),
            subject: Some(sha256(&manifests[0].bytes)),
        });
        let repositories = REPOSITORIES.map(|name| (name.to_owned(), Repository::default()));
        Self {
            repositories: repositories.into(),
            blobs,
            manifests,
        }
    }

    pub(crate) fn repository(&self, random: &mut Random) -> String {
        REPOSITORIES[random.below(REPOSITORIES.len())].to_owned()
    }

    pub(crate) fn content(&self, random: &mut Random) -> Content {
        let number = random.below(self.blobs.len() + self.manifests.len());
        match self.blobs.get(number) {
            Some(blob) => Content::Blob(blob.clone()),
            None => Content::Manifest(self.manifests[number - self.blobs.len()].clone()),
        }
    }

    pub(crate) fn repositories(&self) -> Vec<String> {
        self.repositories.keys().cloned().collect()
    }

    pub(crate) fn blobs(&self) -> Vec<Vec<u8>> {
        self.blobs.clone()
    }

    pub(crate) fn manifests(&self) -> Vec<Manifest> {
        self.manifests.clone()
    }

    fn of(&mut self, repository: &str) -> &mut Repository {
        self.repositories.entry(repository.to_owned()).or_default()
    }

    pub(crate) fn push_blob(&mut self, repository: &str, digest: &str) {
        self.of(repository).blobs.insert(digest.to_owned());
    }

    pub(crate) fn mount(&mut self, repository: &str, digest: &str, from: Option<&str>) -> Expected {
        let has = |name: &String| from.is_none_or(|from| from == name);
        let there = self
            .repositories
            .iter()
            .any(|(name, one)| has(name) && one.blobs.contains(digest));
        if there {
            self.push_blob(repository, digest);
        }
        Expected::status(if there { 201 } else { 202 })
    }

    pub(crate) fn blob(&self, repository: &str, digest: &str, bytes: &[u8]) -> Expected {
        let there = self.repositories[repository].blobs.contains(digest);
        Expected::found(there.then_some(bytes))
    }

    pub(crate) fn delete_blob(&mut self, repository: &str, digest: &str) -> Expected {
        let repository = self.of(repository);
        if repository.needs(digest) {
            return Expected::status(409);
        }
        Expected::done(repository.blobs.remove(digest))
    }

    pub(crate) fn push_manifest(
        &mut self,
        repository: &str,
        tag: Option<&String>,
        manifest: &Manifest,
    ) -> Expected {
        let repository = self.of(repository);
        if !manifest
            .blobs
            .iter()
            .all(|blob| repository.blobs.contains(blob))
        {
            return Expected::status(400);
        }
        let digest = sha256(&manifest.bytes);
        repository
            .manifests
            .insert(digest.clone(), manifest.clone());
        if let Some(tag) = tag {
            repository.tags.insert(tag.clone(), digest);
        }
        Expected::status(201)
    }

    pub(crate) fn by_digest(&self, repository: &str, digest: &str) -> Expected {
        let manifest = self.repositories[repository].manifests.get(digest);
        Expected::found(manifest.map(|manifest| manifest.bytes.as_slice()))
    }

    pub(crate) fn by_tag(&self, repository: &str, tag: &str) -> Expected {
        match self.repositories[repository].tags.get(tag) {
            Some(digest) => self.by_digest(repository, digest),
            None => Expected::status(404),
        }
    }

    pub(crate) fn delete_tag(&mut self, repository: &str, tag: &str) -> Expected {
        Expected::done(self.of(repository).tags.remove(tag).is_some())
    }

    pub(crate) fn delete_manifest(&mut self, repository: &str, digest: &str) -> Expected {
        let repository = self.of(repository);
        repository.tags.retain(|_, pointed| pointed != digest);
        Expected::done(repository.manifests.remove(digest).is_some())
    }

    pub(crate) fn referrers(&self, repository: &str, digest: &str) -> Vec<String> {
        let manifests = self.repositories[repository].manifests.iter();
        manifests
            .filter(|(_, manifest)| manifest.subject.as_deref() == Some(digest))
            .map(|(digest, _)| digest.clone())
            .collect()
    }

    pub(crate) fn tags(&self, repository: &str) -> Vec<String> {
        self.repositories[repository].tags.keys().cloned().collect()
    }

    pub(crate) fn with_manifests(&self) -> Vec<String> {
        let repositories = self.repositories.iter();
        repositories
            .filter(|(_, repository)| !repository.manifests.is_empty())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// How many blobs any repository has.
    pub(crate) fn known_blobs(&self) -> usize {
        let blobs: BTreeSet<_> = self
            .repositories
            .values()
            .flat_map(|one| &one.blobs)
            .collect();
        blobs.len()
    }

    /// What garbage collection does.
    pub(crate) fn collect(&mut self) {
        for repository in self.repositories.values_mut() {
            let blobs = std::mem::take(&mut repository.blobs);
            repository.blobs = blobs
                .into_iter()
                .filter(|blob| repository.needs(blob))
                .collect();
        }
    }

    pub(crate) fn summary(&self) -> String {
        let count =
            |of: fn(&Repository) -> usize| self.repositories.values().map(of).sum::<usize>();
        format!(
            "in the end {} blobs, {} manifests and {} tags",
            count(|repository| repository.blobs.len()),
            count(|repository| repository.manifests.len()),
            count(|repository| repository.tags.len())
        )
    }
}

impl Repository {
    fn needs(&self, blob: &str) -> bool {
        let mut needed = self.manifests.values().flat_map(|manifest| &manifest.blobs);
        needed.any(|needed| needed == blob)
    }
}
