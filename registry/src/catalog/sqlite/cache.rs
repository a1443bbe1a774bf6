//! Rows that are asked for again and again, kept in memory.
//!
//! It says what the database would say, always: a transaction lets go of what it makes untrue after its
//! commit and before anyone is answered, and what was read before that is not taken in any more. One
//! process at a time has the database open, so nothing else can change it.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::super::{BlobRecord, StoredManifest};
use crate::limits;
use crate::oci::{Digest, Name, Reference, Tag};

/// What is kept of a catalog.
pub(super) struct Kept {
    pub(super) manifests: Rows<(Name, Reference), StoredManifest>,
    pub(super) blobs: Rows<(Name, Digest), BlobRecord>,
}

/// Some rows by what they are asked for, within a limit of memory. What is not there is not kept.
pub(super) struct Rows<K, V>(Mutex<State<K, V>>);

struct State<K, V> {
    rows: Cache<K, V, Bytes>,
    /// How often rows were made untrue.
    changes: u64,
}

/// Shows which changes had been made when a row was not found.
pub(super) struct Ticket(u64);

/// What a transaction makes untrue.
#[derive(Default)]
pub(super) struct Stale {
    manifests: Vec<(Name, Reference)>,
    blobs: Vec<(Name, Digest)>,
    all_blobs: bool,
}

impl Kept {
    pub(super) fn new() -> Self {
        Self {
            manifests: Rows::new(limits::KEPT_MANIFEST_BYTES),
            blobs: Rows::new(limits::KEPT_BLOB_BYTES),
        }
    }

    /// To be called once a transaction is committed, or may be, and before anyone hears of it.
    pub(super) fn forget(&self, stale: &Stale) {
        self.manifests.forget(&stale.manifests);
        if stale.all_blobs {
            self.blobs.forget_all();
        }
        self.blobs.forget(&stale.blobs);
    }
}

impl<K: Eq + Hash, V: Clone + Weigh> Rows<K, V> {
    fn new(bytes: u64) -> Self {
        Self(Mutex::new(State {
            rows: Cache::with_weighter(1000, bytes, Bytes),
            changes: 0,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row, or what is needed to keep it once it was read.
    pub(super) fn get(&self, key: &K) -> Result<V, Ticket> {
        let state = self.lock();
        let row = state.rows.get(key).cloned();
        row.ok_or(Ticket(state.changes))
    }

    /// Keeps a row that was read after `ticket` was given out.
    pub(super) fn keep(&self, ticket: Ticket, key: K, row: V) {
        let mut state = self.lock();
        if state.changes == ticket.0 {
            state.rows.insert(key, row);
        }
    }

    fn forget(&self, keys: &[K]) {
        if keys.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.changes += 1;
        for key in keys {
            state.rows.remove(key);
        }
    }

    fn forget_all(&self) {
        let mut state = self.lock();
        state.changes += 1;
        state.rows.clear();
    }
}

impl Stale {
    pub(super) fn blob(repository: &Name, digest: &Digest) -> Self {
        Self::default().and_blob(repository, digest)
    }

    pub(super) fn all_blobs() -> Self {
        Self {
            all_blobs: true,
            ..Self::default()
        }
    }

    pub(super) fn and_blob(mut self, repository: &Name, digest: &Digest) -> Self {
        self.blobs.push((repository.clone(), digest.clone()));
        self
    }

    pub(super) fn and_tag(self, repository: &Name, tag: &Tag) -> Self {
        self.and_manifest(repository, Reference::Tag(tag.clone()))
    }

    pub(super) fn and_manifest(mut self, repository: &Name, reference: Reference) -> Self {
        self.manifests.push((repository.clone(), reference));
        self
    }
}

/// What a row takes of memory.
struct Bytes;

impl<K, V: Weigh> Weighter<K, V> for Bytes {
    fn weight(&self, _: &K, row: &V) -> u64 {
        row.bytes()
    }
}

/// A row that takes memory.
pub(super) trait Weigh {
    /// How much, about, with its key.
    fn bytes(&self) -> u64;
}

impl Weigh for StoredManifest {
    fn bytes(&self) -> u64 {
        self.payload.len() as u64 + 600
    }
}

impl Weigh for BlobRecord {
    fn bytes(&self) -> u64 {
        500
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{Location, UploadId};

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let kept = Kept::new();
        let (name, digest): (Name, _) = ("a".parse().unwrap(), Digest::sha256(b""));
        let record = BlobRecord {
            size: 0,
            location: Location {
                digest: digest.clone(),
                upload: UploadId::random().unwrap(),
            },
            loose: false,
        };
        let key = (name.clone(), digest.clone());
        let ticket = || kept.blobs.get(&key).err();
        // Read, then changed, then kept: what was read may be from before the change.
        let early = ticket().unwrap();
        kept.forget(&Stale::blob(&name, &digest));
        kept.blobs.keep(early, key.clone(), record.clone());
        let late = ticket().expect("a row was kept that a change had made untrue");
        kept.blobs.keep(late, key.clone(), record.clone());
        assert!(ticket().is_none());
        kept.forget(&Stale::all_blobs());
        assert!(ticket().is_some());
    }
}
