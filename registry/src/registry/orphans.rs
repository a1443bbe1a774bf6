//! Files that no row names: what crashes leave.
//!
//! An orphan is not garbage at once, because it may be the catalog that is wrong. A file is taken
//! for one when it has not been written to for a day and its upload is not open. It goes into
//! quarantine, and from there after a week. And where all of them together are much, something else
//! is the matter, and nothing is moved.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Registry, Result};
use crate::blobs::{Location, StoredFile};
use crate::clock::seconds;
use crate::limits;

/// What a sweep found.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Sweep {
    /// Files in all.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Orphans among them.
    pub orphans: usize,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Why they were left where they are.
    pub held: Option<String>,
}

impl Registry {
    /// Moves orphans into quarantine, unless they are more than a hundredth of all bytes (and `all` does
    /// not say to move them nevertheless), and removes those whose time there is over.
    ///
    /// # Errors
    /// Where catalog or blobs fail.
    pub async fn sweep_orphans(&self, all: bool, dry_run: bool) -> Result<Sweep> {
        // One at a time: what one moves, another must not trip over.
        let _sweeping = self.sweeping.lock().await;
        let now = self.clock.now();
        let mut sweep = Sweep::default();
        let mut orphans = Vec::new();
        let mut part = 0;
        while let Some(files) = self.blobs.list(part).await? {
            part += 1;
            if self.stopping.is_cancelled() {
                return Ok(sweep);
            }
            sweep.files += files.len();
            sweep.bytes += files.iter().map(|file| file.size).sum::<u64>();
            orphans.extend(self.orphans_among(files, now).await?);
            if orphans.len() >= limits::ORPHANS_PER_SWEEP {
                // The others have time until the next sweep.
                break;
            }
        }
        sweep.orphans = orphans.len();
        sweep.orphan_bytes = orphans.iter().map(|orphan| orphan.size).sum();
        let many = sweep.orphan_bytes > sweep.bytes / limits::ORPHANS_PART;
        sweep.held = match self.newer_generation {
            _ if orphans.is_empty() => None,
            Some(_) => Some("the catalog is older than the blobs".to_owned()),
            None if many && !all => Some(
                "they are more than a hundredth of all bytes, which a crash does not leave; if the catalog is the right one, \
                 `wharf gc --orphans` takes them".to_owned(),
            ),
            None => None,
        };
        if dry_run || self.newer_generation.is_some() {
            return Ok(sweep);
        }
        if sweep.held.is_none() {
            for orphan in orphans {
                self.blobs.quarantine(&orphan.location, now).await?;
            }
        }
        self.blobs.expel(now - seconds(limits::QUARANTINE)).await?;
        Ok(sweep)
    }

    /// Brings back what is in quarantine and the catalog names: another catalog is in force than the
    /// one that did not name it.
    ///
    /// # Errors
    /// Where catalog or blobs fail.
    pub(super) async fn release_quarantined(&self) -> Result<()> {
        let quarantined = self.blobs.quarantined().await?;
        let locations = quarantined.into_iter().map(|file| file.location).collect();
        for location in self.catalog.known_locations(locations).await? {
            self.blobs.restore(&location).await?;
        }
        Ok(())
    }

    async fn orphans_among(&self, files: Vec<StoredFile>, now: i64) -> Result<Vec<StoredFile>> {
        let old = now - seconds(limits::ORPHAN_AGE);
        let candidates: Vec<StoredFile> = files
            .into_iter()
            .filter(|file| file.placed_at < old && !self.uploads.is_open(&file.location.upload))
            .collect();
        if candidates.is_empty() {
            return Ok(candidates);
        }
        let locations: Vec<Location> = candidates
            .iter()
            .map(|file| file.location.clone())
            .collect();
        // An upload that ended between these two looks has its row by now.
        let known: HashSet<Location> = self.catalog.known_locations(locations).await?;
        Ok(candidates
            .into_iter()
            .filter(|file| !known.contains(&file.location))
            .collect())
    }
}
