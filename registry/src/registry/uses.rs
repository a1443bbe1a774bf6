//! When loose blobs were last asked for.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::catalog::LooseBlob;
use crate::limits;
use crate::oci::{Digest, Name};

type Membership = (Name, Digest);

/// Uses of blobs that no manifest needs yet, kept in memory until they are written down. A client
/// that is told that a blob is there does not push it, so a collection must not take it after that.
///
/// Both sides meet here. Who says that a blob is there notes the use first and looks the blob up
/// after that. Who collects condemns what it wants to take, and takes only what was not used until
/// then. So either the use is seen, or the blob is looked up after it went.
#[derive(Default)]
pub(super) struct Uses {
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Default)]
struct State {
    used: HashMap<Membership, i64>,
    condemned: HashSet<Membership>,
    /// Since when all uses are known. Earlier ones may have been forgotten.
    known_since: i64,
}

impl Uses {
    pub(super) fn known_since(since: i64) -> Self {
        let uses = Self::default();
        uses.lock().known_since = since;
        uses
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a use. Where a collection is about to take the blob, this waits until it did, or did
    /// not.
    pub(super) async fn note(&self, name: &Name, digest: &Digest, now: i64) {
        let membership = (name.clone(), digest.clone());
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // From here on, no settling is missed.
            settled.as_mut().enable();
            {
                let mut state = self.lock();
                if !state.condemned.contains(&membership) {
                    if state.used.len() >= limits::REMEMBERED_USES {
                        // What cannot be remembered is true of every blob.
                        state.used.clear();
                        state.known_since = now;
                    }
                    state.used.insert(membership, now);
                    return;
                }
            }
            settled.await;
        }
    }

    /// When a blob was last used, if that is not written down yet.
    pub(super) fn last(&self, name: &Name, digest: &Digest) -> Option<i64> {
        let membership = (name.clone(), digest.clone());
        self.lock().used.get(&membership).copied()
    }

    /// Since when all uses are known; before that, any blob may have been used.
    pub(super) fn all_known_since(&self) -> i64 {
        self.lock().known_since
    }

    /// Says that uses before `now` are not known any more.
    pub(super) fn forget(&self, now: i64) {
        self.lock().known_since = now;
    }

    /// What has to be written down, and is forgotten here. Until that is done, nothing may be collected.
    pub(super) fn take(&self) -> Vec<(Name, Digest, i64)> {
        let used = std::mem::take(&mut self.lock().used);
        used.into_iter()
            .map(|((name, digest), now)| (name, digest, now))
            .collect()
    }

    /// Leaves out what was used since the last [`take`](Self::take), and makes who asks for the rest
    /// wait until the guard is dropped.
    pub(super) fn condemn(&self, candidates: Vec<LooseBlob>) -> (Vec<LooseBlob>, Settle<'_>) {
        let mut state = self.lock();
        let mut condemned = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let membership = (candidate.repository.clone(), candidate.digest.clone());
            if !state.used.contains_key(&membership) {
                state.condemned.insert(membership);
                condemned.push(candidate);
            }
        }
        (condemned, Settle(self))
    }
}

/// Ends a condemnation.
pub(super) struct Settle<'a>(&'a Uses);

impl Drop for Settle<'_> {
    fn drop(&mut self) {
        self.0.lock().condemned.clear();
        self.0.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    fn membership(repository: &str) -> (Name, Digest) {
        (repository.parse().unwrap(), Digest::sha256(b"content"))
    }

    fn candidates() -> Vec<LooseBlob> {
        ["a", "b"]
            .map(|repository| {
                let (name, digest) = membership(repository);
                LooseBlob::of(name, digest)
            })
            .to_vec()
    }

    #[test]
    fn who_asks_for_what_is_being_taken_is_told_after_that() {
        let uses = Uses::default();
        let (condemned, settle) = uses.condemn(candidates());
        assert_eq!(condemned.len(), 2);
        let ((name, digest), (another, _)) = (membership("a"), membership("c"));
        let mut asking = pin!(uses.note(&name, &digest, 1));
        assert!(asking.as_mut().now_or_never().is_none());
        assert!(uses.note(&another, &digest, 1).now_or_never().is_some());
        drop(settle);
        assert!(asking.now_or_never().is_some());
        assert_eq!(uses.last(&name, &digest), Some(1));
    }

    #[test]
    fn what_was_asked_for_since_it_was_listed_is_not_taken() {
        let uses = Uses::default();
        let candidates = candidates();
        let (name, digest) = membership("a");
        assert!(uses.note(&name, &digest, 1).now_or_never().is_some());
        let (condemned, _settle) = uses.condemn(candidates);
        let left: Vec<_> = condemned
            .iter()
            .map(|one| one.repository.as_str())
            .collect();
        assert_eq!(left, ["b"]);
    }
}
