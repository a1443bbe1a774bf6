//! What was attempted and what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};

/// A repository and a digest or tag in it.
pub(crate) type Key = (String, String);

/// The writers' notes. An attempt is noted before its first byte is sent, an acknowledgement once
/// its answer was read.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Notes>);

#[derive(Default)]
pub(crate) struct Notes {
    /// Blobs, and whether they were acknowledged.
    pub(crate) blobs: BTreeMap<Key, bool>,
    pub(crate) manifests: BTreeMap<Key, Manifest>,
    pub(crate) tags: BTreeMap<Key, Tag>,
    /// What to look at after the next kill: what happened since the last one, and what is still on
    /// its way.
    pub(crate) touched: BTreeSet<Key>,
}

pub(crate) struct Manifest {
    pub(crate) media_type: &'static str,
    pub(crate) payload: Vec<u8>,
    pub(crate) acknowledged: bool,
}

/// What a tag may point to: the manifests pushed to it, in order, from the last acknowledged one
/// on. One writer alone pushes to it.
#[derive(Default)]
pub(crate) struct Tag {
    pub(crate) candidates: Vec<String>,
    /// Whether it exists for certain, and so points to one of them.
    pub(crate) acknowledged: bool,
}

impl Journal {
    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// Whether this is known to be there; a tag, to point somewhere.
    pub(crate) fn is_acknowledged(&self, key: &Key) -> bool {
        self.blobs
            .get(key)
            .is_some_and(|&acknowledged| acknowledged)
            || self
                .manifests
                .get(key)
                .is_some_and(|manifest| manifest.acknowledged)
            || self.tags.get(key).is_some_and(|tag| tag.acknowledged)
    }

    pub(crate) fn attempt_blob(&mut self, key: &Key) {
        self.blobs.entry(key.clone()).or_default();
        self.touched.insert(key.clone());
    }

    pub(crate) fn acknowledge_blob(&mut self, key: &Key) {
        self.blobs.insert(key.clone(), true);
        self.touched.insert(key.clone());
    }

    pub(crate) fn attempt_manifest(
        &mut self,
        key: &Key,
        tag: Option<&Key>,
        media_type: &'static str,
        payload: &[u8],
    ) {
        self.manifests
            .entry(key.clone())
            .or_insert_with(|| Manifest {
                media_type,
                payload: payload.to_vec(),
                acknowledged: false,
            });
        self.touched.insert(key.clone());
        if let Some(tag) = tag {
            let candidates = &mut self.tags.entry(tag.clone()).or_default().candidates;
            candidates.push(key.1.clone());
            self.touched.insert(tag.clone());
        }
    }

    pub(crate) fn acknowledge_manifest(&mut self, key: &Key, tag: Option<&Key>) {
        if let Some(manifest) = self.manifests.get_mut(key) {
            manifest.acknowledged = true;
        }
        if let Some(tag) = tag.and_then(|tag| self.tags.get_mut(tag)) {
            // One pusher, one push at a time: the last attempt is the acknowledged one.
            tag.candidates = vec![key.1.clone()];
            tag.acknowledged = true;
        }
    }
}

impl Tag {
    /// A tag that was seen to point somewhere may not point back later.
    pub(crate) fn see(&mut self, digest: &str) -> Result<()> {
        let seen = self.candidates.iter().rposition(|one| one == digest);
        ensure!(
            seen.is_some(),
            "it points to {digest}, and should to one of {:?}",
            self.candidates
        );
        self.candidates.drain(..seen.unwrap_or(0));
        self.acknowledged = true;
        Ok(())
    }
}
