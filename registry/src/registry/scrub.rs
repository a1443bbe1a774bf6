//! Reading blobs again, to find what has rotted.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::{Registry, Result};
use crate::blobs::{self, Pieces};
use crate::catalog::{Keeper, StoredBlob};
use crate::limits;
use crate::oci::Digest;

/// What a scrub found.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Scrub {
    /// Blobs that were read.
    pub blobs: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// Blobs whose bytes are not what their digest says, also those that were known to be so.
    pub bad: Vec<BadBlob>,
}

/// A blob whose bytes are wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BadBlob {
    /// The blob.
    pub digest: String,
    /// Bytes it should have.
    pub size: u64,
    /// What needs it: repositories with a tag, or with a manifest's digest.
    pub needed_by: Vec<String>,
}

impl Registry {
    /// Reads every blob again, now, as fast as the disk gives them. A blob that is wrong is unknown to
    /// clients from then on, so that the next push of it stores it anew.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn scrub(&self) -> Result<Scrub> {
        let mut scrub = Scrub::default();
        let mut last: Option<Digest> = None;
        loop {
            let behind = last.take();
            let blobs = self
                .catalog
                .stored_blobs(behind.as_ref(), limits::SCRUB_BATCH)
                .await?;
            let Some(end) = blobs.last() else { break };
            last = Some(end.location.digest.clone());
            for blob in blobs {
                self.verify(&blob).await?;
                scrub.blobs += 1;
                scrub.bytes += blob.size;
            }
        }
        for blob in self.catalog.bad_blobs(limits::GARBAGE_LISTED).await? {
            let digest = &blob.location.digest;
            scrub.bad.push(BadBlob {
                digest: digest.to_string(),
                size: blob.size,
                needed_by: self.needed_by(digest).await?,
            });
        }
        Ok(scrub)
    }

    /// Reads those blobs again that were not verified since `before`, at `rate` bytes per second.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub(super) async fn scrub_due(&self, before: i64, rate: u64) -> Result<()> {
        loop {
            let due = self.catalog.unverified(before, limits::SCRUB_BATCH).await?;
            if due.is_empty() {
                return Ok(());
            }
            for blob in due {
                let started = Instant::now();
                self.verify(&blob).await?;
                let due = Duration::from_secs_f64(blob.size as f64 / rate.max(1) as f64);
                tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
            }
        }
    }

    async fn verify(&self, blob: &StoredBlob) -> Result<()> {
        let good = self.is_good(blob).await;
        self.record(blob, good).await
    }

    /// Writes down whether a copy is good.
    pub(super) async fn record(&self, blob: &StoredBlob, good: bool) -> Result<()> {
        let result = vec![(blob.location.clone(), good)];
        let in_force = self.catalog.record_verified(result).await? > 0;
        if in_force && !good {
            let needed_by = self.needed_by(&blob.location.digest).await?.join(", ");
            tracing::error!(digest = %blob.location.digest, needed_by, "a blob is damaged; push it again to heal it");
        }
        Ok(())
    }

    /// Whether a copy has the bytes that its digest names. One that cannot be read has not.
    async fn is_good(&self, blob: &StoredBlob) -> bool {
        match self.hash(blob).await {
            Ok(digest) => digest == blob.location.digest,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a blob cannot be read"
                );
                false
            }
        }
    }

    async fn hash(&self, blob: &StoredBlob) -> blobs::Result<Digest> {
        let mut hasher = blob.location.digest.algorithm().hasher();
        let mut content = self
            .blobs
            .read(&blob.location, blob.size, 0, blob.size, Pieces::Copied)
            .await?;
        while let Some(piece) = content.next().await {
            hasher.update(&piece?);
        }
        Ok(hasher.finish())
    }

    async fn needed_by(&self, digest: &Digest) -> Result<Vec<String>> {
        let keepers = self.catalog.keepers(digest, limits::GARBAGE_LISTED).await?;
        Ok(keepers.iter().map(Keeper::to_string).collect())
    }
}
