//! The rules of the registry. Every effect of a request is one method of [`Registry`].
//!
//! Each method takes the caller's [`Access`] and checks it before anything else, and reaches
//! content through a repository only: a digest that another repository has is as unknown as one
//! that never existed.

mod access;
mod content;
mod directory;
mod error;
mod garbage;
mod manifests;
mod orphans;
mod pushes;
mod referrers;
mod room;
mod scrub;
mod session;
mod settings;
mod upkeep;
mod uploads;
mod uses;
mod why;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::blobs::{self, BlobStore, Pieces};
use crate::catalog::{BlobRecord, Catalog};
use crate::clock::{Clock, seconds};
use crate::limits::{self, Limits};
use crate::oci::{Digest, Name};

pub use access::{Access, Action};
pub use content::{Content, ContentError};
pub use directory::{DirectoryError, DirectoryLock, accept_catalog, open, restore_catalog};
pub use error::{Error, Result};
pub use garbage::{Collection, Garbage};
pub use manifests::{ManifestPush, PushedManifest};
pub use orphans::Sweep;
pub use scrub::{BadBlob, Scrub};
pub use settings::Settings;

pub use why::{Reason, Why};

/// A registry over a catalog and a blob store.
pub struct Registry {
    catalog: Arc<dyn Catalog>,
    blobs: Arc<dyn BlobStore>,
    clock: Clock,
    settings: Settings,
    uploads: uploads::Uploads,
    /// Places for manifests that are larger than nearly all are.
    large_manifests: Semaphore,
    uses: uses::Uses,
    pushes: pushes::Pushes,
    room: room::Room,
    /// Held while garbage is collected, and while orphans are moved.
    sweeping: Mutex<()>,
    /// Says that the end has come.
    stopping: CancellationToken,
    /// Whether the process before this one wrote down all that it knew.
    ended_well: bool,
    /// The generation of the blobs' newest catalog, where this one is older.
    newer_generation: Option<i64>,
    /// Where copies of the catalog go.
    directory: Option<PathBuf>,
}

impl Registry {
    /// A registry whose open uploads are those that the blob store has.
    ///
    /// # Errors
    /// Where the blob store cannot be read, or the catalog not be written.
    async fn new(
        catalog: Arc<dyn Catalog>,
        blobs: Arc<dyn BlobStore>,
        clock: Clock,
        settings: Settings,
    ) -> Result<Self> {
        let uploads = uploads::Uploads::load(blobs.as_ref(), settings.limits).await?;
        // Nobody knows what was asked for in the last moments before a crash. After an orderly end
        // it is written down; but a client may still be in the middle of a push.
        let ended_well = catalog.begin().await?;
        let known_since = match ended_well {
            true => {
                let grace = seconds(settings.grace);
                clock.now() - grace + grace.min(seconds(settings.settle))
            }
            false => clock.now(),
        };
        Ok(Self {
            catalog,
            blobs,
            clock,
            settings,
            uploads,
            large_manifests: Semaphore::new(limits::LARGE_MANIFESTS),
            uses: uses::Uses::known_since(known_since),
            pushes: pushes::Pushes::default(),
            room: room::Room::default(),
            sweeping: Mutex::default(),
            stopping: CancellationToken::new(),
            ended_well,
            newer_generation: None,
            directory: None,
        })
    }

    /// Whether pushes are refused since a write to the catalog failed.
    pub fn is_read_only(&self) -> bool {
        self.catalog.is_read_only()
    }

    /// The limits that it was opened with.
    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// What tells this registry from any other: made at random with its store.
    pub fn instance(&self) -> &str {
        self.catalog.store_id()
    }

    /// A blob's record.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`]
    pub async fn blob(&self, access: &Access, name: &Name, digest: &Digest) -> Result<BlobRecord> {
        access.check(Action::Pull, name)?;
        let unknown = || Error::BlobUnknown(digest.clone());
        let blob = self.catalog.blob(name, digest).await?.ok_or_else(unknown)?;
        if !blob.loose {
            return Ok(blob);
        }
        // Who is told that it is there will not push it. So that is noted before it is told, and it
        // is told only if the blob is there after that.
        self.uses.note(name, digest, self.clock.now()).await;
        self.catalog.blob(name, digest).await?.ok_or_else(unknown)
    }

    /// `length` bytes of a blob from `offset` on, for a socket and nobody else ([`Pieces::Lent`]).
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], also where the blob's file is not what it should be: a client that
    /// is told so pushes it again.
    pub async fn read_blob(
        &self,
        access: &Access,
        name: &Name,
        blob: &BlobRecord,
        offset: u64,
        length: u64,
    ) -> Result<BoxStream<'static, blobs::Result<Bytes>>> {
        access.check(Action::Pull, name)?;
        let read = self
            .blobs
            .read(&blob.location, blob.size, offset, length, Pieces::Lent)
            .await;
        match read {
            Err(blobs::Error::Damaged { .. } | blobs::Error::Missing(_)) => {
                // Gone since it was looked up, or damaged from outside. Only what is still in force
                // is damaged.
                let digest = &blob.location.digest;
                if let Some(stored) = self.catalog.stored_blob(digest).await?
                    && stored.location == blob.location
                {
                    self.record(&stored, false).await?;
                }
                Err(Error::BlobUnknown(digest.clone()))
            }
            result => Ok(result?),
        }
    }

    /// Notices when the disk is full.
    fn heed<T>(&self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(Error::is_full) {
            self.room.ran_out();
        }
        result
    }
}
