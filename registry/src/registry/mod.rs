//! The rules of the registry. Every effect of a request is one method of [`Registry`].
//!
//! Each method takes the caller's [`Access`] and checks it before anything else, and reaches
//! content through a repository only: a digest that another repository has is as unknown as one
//! that never existed.

mod access;
mod directory;
mod error;
mod manifests;
mod referrers;
mod session;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::blobs::{self, BlobStore};
use crate::catalog::{BlobRecord, Catalog};
use crate::oci::{Digest, Name};

pub use access::{Access, Action};
pub use directory::{DirectoryError, DirectoryLock, open};
pub use error::{Error, Result};
pub use manifests::{ManifestPush, PushedManifest};
pub use referrers::ReferrerDescriptor;
pub use uploads::{Content, ContentError};

/// A registry over a catalog and a blob store.
pub struct Registry {
    catalog: Arc<dyn Catalog>,
    blobs: Arc<dyn BlobStore>,
    uploads: uploads::Uploads,
    deletes: bool,
    sparse_images: bool,
}

impl Registry {
    /// A registry whose open uploads are those that the blob store has.
    ///
    /// # Errors
    /// Where the blob store cannot be read.
    pub async fn new(catalog: Arc<dyn Catalog>, blobs: Arc<dyn BlobStore>) -> blobs::Result<Self> {
        let uploads = uploads::Uploads::load(blobs.as_ref()).await?;
        Ok(Self {
            catalog,
            blobs,
            uploads,
            deletes: true,
            sparse_images: false,
        })
    }

    /// The same registry, refusing to delete anything.
    #[must_use]
    pub fn without_deletes(mut self) -> Self {
        self.deletes = false;
        self
    }

    /// The same registry, taking images some of whose blobs it does not have.
    #[must_use]
    pub fn with_sparse_images(mut self) -> Self {
        self.sparse_images = true;
        self
    }

    /// Whether pushes are refused since a write to the catalog failed.
    pub fn is_read_only(&self) -> bool {
        self.catalog.is_read_only()
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
        self.catalog
            .blob(name, digest)
            .await?
            .ok_or_else(|| Error::BlobUnknown(digest.clone()))
    }

    /// `length` bytes of a blob from `offset` on.
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
        match self
            .blobs
            .read(&blob.location, blob.size, offset, length)
            .await
        {
            Err(error @ blobs::Error::Damaged { .. }) => {
                tracing::error!(error = &error as &dyn std::error::Error, repository = %name, "a blob is damaged");
                Err(Error::BlobUnknown(blob.location.digest.clone()))
            }
            result => Ok(result?),
        }
    }
}
