//! Manifests and tags.

use bytes::Bytes;

use super::{Access, Action, Error, Registry, Result};
use crate::catalog::{NewManifest, Page, StoredManifest};
use crate::limits;
use crate::oci::{Algorithm, Digest, Manifest, MediaType, Name, Reference, Tag};

impl Registry {
    /// Stores a manifest under its digest, and under a tag where `reference` is one. Returns the
    /// digest.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::DigestMismatch`], [`Error::ManifestBlobsUnknown`].
    pub async fn push_manifest(
        &self,
        access: &Access,
        name: &Name,
        reference: &Reference,
        content_type: Option<&MediaType>,
        payload: Bytes,
    ) -> Result<Digest> {
        access.check(Action::Push, name)?;
        let (digest, tags) = match reference {
            Reference::Tag(tag) => (Algorithm::Sha256.digest(&payload), vec![tag.clone()]),
            Reference::Digest(expected) => {
                let actual = expected.algorithm().digest(&payload);
                if actual != *expected {
                    return Err(Error::DigestMismatch {
                        expected: expected.clone(),
                        actual,
                    });
                }
                (actual, Vec::new())
            }
        };
        let manifest = Manifest::parse(content_type, &payload)?;
        self.catalog
            .push_manifest(
                name,
                NewManifest {
                    digest: digest.clone(),
                    manifest,
                    payload,
                    tags,
                },
            )
            .await?;
        Ok(digest)
    }

    /// The manifest that a reference names.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`]
    pub async fn manifest(
        &self,
        access: &Access,
        name: &Name,
        reference: &Reference,
    ) -> Result<StoredManifest> {
        access.check(Action::Pull, name)?;
        let manifest = self
            .catalog
            .manifest(name, reference)
            .await?
            .ok_or_else(|| Error::ManifestUnknown(reference.clone()))?;
        // Manifests are small and everything hangs on them; so each is checked whenever it is
        // loaded.
        if manifest.digest.algorithm().digest(&manifest.payload) != manifest.digest {
            tracing::error!(repository = %name, digest = %manifest.digest, "a manifest is damaged");
            return Err(Error::ManifestUnknown(reference.clone()));
        }
        Ok(manifest)
    }

    /// The repository's tags in ASCII order, starting behind `last`: `limit` of them, or as many as
    /// fit on a page.
    ///
    /// # Errors
    /// [`Error::NameUnknown`]
    pub async fn tags(
        &self,
        access: &Access,
        name: &Name,
        last: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<Tag>> {
        access.check(Action::Pull, name)?;
        let limit = limit.unwrap_or(limits::PAGE).min(limits::PAGE);
        self.catalog
            .tags(name, last, limit)
            .await?
            .ok_or_else(|| Error::NameUnknown(name.clone()))
    }
}
