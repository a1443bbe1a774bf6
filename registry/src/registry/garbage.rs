//! Garbage collection: what nothing needs any more goes by itself.
//!
//! Garbage is a blob that a repository has, that no manifest of the repository needs, and that
//! nobody asked for during the grace. A push that is under way protects what it may have been told
//! before ([`Pushes`](super::pushes::Pushes)), and so does whoever asks at the very moment
//! ([`Uses`](super::uses::Uses)). Rows go first, in a transaction that checks again; bytes follow once
//! that is on disk. A crash in between leaves orphans ([`orphans`](super::orphans)).

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Registry, Result};
use crate::blobs::Location;
use crate::catalog::LooseBlob;
use crate::clock::seconds;
use crate::limits;

/// What a collection took, or would take.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Collection {
    /// Blobs that repositories have and that nothing needs, the longest unused first; the first ones
    /// only, where they are many.
    pub garbage: Vec<Garbage>,
    /// How many there are in all.
    pub blobs: usize,
    /// Bytes that the disk gets back.
    pub bytes: u64,
    /// Uploads that nobody goes on with.
    pub uploads: usize,
    /// Why nothing is taken although there may be garbage.
    pub held: Option<String>,
}

/// A blob that a repository has and nothing needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Garbage {
    /// The repository.
    pub repository: String,
    /// The blob.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Seconds since it was last used.
    pub unused_for: i64,
}

impl Registry {
    /// Takes all garbage, or says what would go.
    ///
    /// # Errors
    /// Where catalog or blobs fail. What was not taken is taken the next time.
    pub async fn collect_garbage(&self, dry_run: bool) -> Result<Collection> {
        // One at a time: what one has condemned is not the other's to settle.
        let _sweeping = self.sweeping.lock().await;
        let mut collection = Collection {
            uploads: self.expire_uploads(dry_run).await?,
            held: self.held(),
            ..Collection::default()
        };
        if collection.held.is_some() {
            return Ok(collection);
        }
        self.write_uses().await?;
        let (now, grace) = (self.clock.now(), seconds(self.grace()));
        let horizon = self.pushes.horizon(self.uploads.starts(), now, grace);
        let mut last: Option<LooseBlob> = None;
        while !self.stopping.is_cancelled() {
            let listed = self
                .catalog
                .loose_blobs(
                    now.saturating_sub(grace),
                    last.take(),
                    limits::GARBAGE_PER_TRANSACTION,
                )
                .await?;
            let Some(behind) = listed.last() else { break };
            last = Some(behind.clone());
            let garbage = listed
                .into_iter()
                .filter(|loose| loose.last_used < horizon(&loose.repository))
                .collect();
            let started = Instant::now();
            self.collect(garbage, now, dry_run, &mut collection).await?;
            // Others wait for the catalog and the disk as well.
            tokio::time::sleep(started.elapsed() * limits::GARBAGE_PAUSE).await;
        }
        Ok(collection)
    }

    /// Takes some garbage, unless it came into use.
    async fn collect(
        &self,
        garbage: Vec<LooseBlob>,
        now: i64,
        dry_run: bool,
        collection: &mut Collection,
    ) -> Result<()> {
        let room = limits::GARBAGE_LISTED.saturating_sub(collection.garbage.len());
        collection
            .garbage
            .extend(garbage.iter().take(room).map(|loose| Garbage {
                repository: loose.repository.to_string(),
                digest: loose.digest.to_string(),
                size: loose.size,
                unused_for: now - loose.last_used,
            }));
        if dry_run {
            collection.blobs += garbage.len();
            collection.bytes += garbage.iter().map(|loose| loose.size).sum::<u64>();
            return Ok(());
        }
        let (condemned, settle) = self.uses.condemn(garbage);
        if condemned.is_empty() {
            return Ok(());
        }
        let collected = self.catalog.collect(condemned).await?;
        drop(settle);
        collection.blobs += collected.memberships;
        let (locations, sizes): (Vec<_>, Vec<_>) = collected.blobs.into_iter().unzip();
        self.remove(locations).await;
        collection.bytes += sizes.iter().sum::<u64>();
        Ok(())
    }

    /// Why nothing can be called garbage now.
    fn held(&self) -> Option<String> {
        if let Some(newer) = self.newer_generation {
            return Some(format!(
                "the catalog is older than the blobs (generation {newer}): what it does not name may be needed; see `wharf catalog`"
            ));
        }
        let left = self
            .uses
            .all_known_since()
            .saturating_add(seconds(self.grace()))
            .saturating_sub(self.clock.now());
        (left > 0).then(|| {
            format!("what was in use before the server started is not known; in {left} s it will not matter any more")
        })
    }

    /// Writes down what is known of the use of blobs. Only who holds `sweeping` may do it.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub(super) async fn write_uses(&self) -> Result<()> {
        let uses = self.uses.take();
        if uses.is_empty() {
            return Ok(());
        }
        let written = self.catalog.write_uses(uses).await;
        if written.is_err() {
            self.uses.forget(self.clock.now());
        }
        Ok(written?)
    }

    /// Gives bytes back that nothing names any more. Where that fails, they are orphans.
    pub(super) async fn remove(&self, locations: Vec<Location>) {
        if locations.is_empty() {
            return;
        }
        if let Err(error) = self.blobs.delete(locations).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a blob could not be removed"
            );
        }
    }
}
