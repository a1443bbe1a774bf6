//! What keeps a blob.

use serde::{Deserialize, Serialize};

use super::{Registry, Result};
use crate::catalog::KeptBy;
use crate::limits;
use crate::oci::Digest;

/// A blob of the store, and all that keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Why {
    /// The blob.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Whether its bytes were found wrong, so that clients are told that it is not there.
    pub bad: bool,
    /// What keeps it; the first ones only, where they are many.
    pub reasons: Vec<Reason>,
}

/// One thing that keeps a blob.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reason {
    /// The repository that has the blob.
    pub repository: String,
    /// The manifest that is made of it. Without one, the blob is garbage once it was not used for the grace.
    pub manifest: Option<String>,
    /// The tags of that manifest.
    pub tags: Vec<String>,
    /// Seconds since its last use, where no manifest keeps it.
    pub unused_for: Option<i64>,
    /// The grace, in seconds.
    pub grace: u64,
}

impl Registry {
    /// Why a blob is still there. Nothing where it is not.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn why(&self, digest: &Digest) -> Result<Option<Why>> {
        let Some(blob) = self.catalog.stored_blob(digest).await? else {
            return Ok(None);
        };
        let keepers = self.catalog.keepers(digest, limits::GARBAGE_LISTED).await?;
        let now = self.clock.now();
        let reasons = keepers.into_iter().map(|keeper| {
            let (manifest, tags, last_used) = match keeper.by {
                KeptBy::Manifest { digest, tags } => (Some(digest), tags, None),
                KeptBy::Use(written) => {
                    // One that is not written down yet counts as well.
                    let last = self.uses.last(&keeper.repository, digest);
                    (None, Vec::new(), Some(last.unwrap_or(written)))
                }
            };
            Reason {
                repository: keeper.repository.to_string(),
                manifest: manifest.map(|digest| digest.to_string()),
                tags: tags.iter().map(ToString::to_string).collect(),
                unused_for: last_used.map(|last_used| now - last_used),
                grace: self.grace().as_secs(),
            }
        });
        Ok(Some(Why {
            digest: digest.to_string(),
            size: blob.size,
            bad: blob.bad,
            reasons: reasons.collect(),
        }))
    }
}
