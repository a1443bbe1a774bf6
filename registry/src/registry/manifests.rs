//! Manifests and tags.

use bytes::Bytes;
use tokio::sync::SemaphorePermit;

use super::{Access, Action, Error, Registry, Result};
use crate::catalog::{self, BlobDeletion, Condition, Missing, NewManifest, Page, StoredManifest};
use crate::limits;
use crate::oci::{Algorithm, Digest, Manifest, MediaType, Name, Reference, Tag};

/// A manifest as a client sends it.
#[derive(Debug)]
pub struct ManifestPush {
    /// What the client calls it: a tag to move, or the digest that the bytes have to have.
    pub reference: Reference,
    /// Further tags to move.
    pub tags: Vec<Tag>,
    /// The type that it is sent as.
    pub content_type: Option<MediaType>,
    /// What has to hold of the tags before.
    pub condition: Option<Condition>,
    /// Its bytes.
    pub payload: Bytes,
}

/// What became of a manifest that was pushed.
#[derive(Debug)]
pub struct PushedManifest {
    /// Its digest, in the algorithm that the client named it by.
    pub digest: Digest,
    /// The manifest that it refers to, and among whose referrers it is listed from now on.
    pub subject: Option<Digest>,
    /// What the repository lacks of it.
    pub missing: Missing,
}

impl Registry {
    /// Waits for the turn of a manifest of more than [`limits::SMALL_MANIFEST_BYTES`], which lasts
    /// until what is returned is dropped.
    ///
    /// # Errors
    /// [`Error::TooManyManifests`]
    pub async fn large_manifest(&self) -> Result<SemaphorePermit<'_>> {
        let place = self.large_manifests.acquire();
        match tokio::time::timeout(limits::LARGE_MANIFEST_WAIT, place).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Error::TooManyManifests),
        }
    }

    /// Stores a manifest under its digest, and moves its tags to it.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::DigestMismatch`], [`Error::ManifestBlobsUnknown`],
    /// [`Error::ConditionFailed`].
    pub async fn push_manifest(
        &self,
        access: &Access,
        name: &Name,
        push: ManifestPush,
    ) -> Result<PushedManifest> {
        access.check(Action::Push, name)?;
        let ManifestPush {
            reference,
            mut tags,
            content_type,
            condition,
            payload,
        } = push;
        let digest = match reference {
            Reference::Tag(tag) => {
                tags.push(tag);
                Algorithm::Sha256.digest(&payload)
            }
            Reference::Digest(expected) => {
                let actual = expected.algorithm().digest(&payload);
                if actual != expected {
                    return Err(Error::DigestMismatch { expected, actual });
                }
                actual
            }
        };
        let manifest = Manifest::parse(content_type.as_ref(), &payload)?;
        let subject = manifest.subject.clone();
        let new = NewManifest {
            digest: digest.clone(),
            manifest,
            payload,
            tags,
            condition,
            may_be_sparse: self.settings.sparse_images,
        };
        let stored = self.catalog.push_manifest(name, new).await;
        let missing = self.heed(stored.map_err(Error::from))?;
        Ok(PushedManifest {
            digest,
            subject,
            missing,
        })
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
        self.load(name, reference)
            .await?
            .ok_or_else(|| Error::ManifestUnknown(reference.clone()))
    }

    /// A manifest, where there is one that is not damaged: then a client that is told that it is
    /// unknown pushes it again.
    pub(super) async fn load(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        match self.catalog.manifest(name, reference).await {
            Err(catalog::Error::DamagedManifest(digest)) => {
                tracing::error!(repository = %name, %digest, "a manifest is damaged");
                Ok(None)
            }
            result => Ok(result?),
        }
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
        let limit = limit.unwrap_or(usize::MAX).min(self.limits().page);
        self.catalog
            .tags(name, last, limit)
            .await?
            .ok_or_else(|| Error::NameUnknown(name.clone()))
    }

    /// Repositories with something in them, in ASCII order, starting behind `last`: `limit` of
    /// them, or as many as fit on a page.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn repositories(
        &self,
        access: &Access,
        last: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<Name>> {
        let limit = limit.unwrap_or(usize::MAX).min(self.limits().page);
        let mut page = self.catalog.repositories(last, limit).await?;
        page.items.retain(|name| access.may(Action::Pull, name));
        Ok(page)
    }

    /// Removes a tag, or a manifest with all its tags.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::DeletesDisabled`].
    pub async fn delete_manifest(
        &self,
        access: &Access,
        name: &Name,
        reference: &Reference,
    ) -> Result<()> {
        self.check_delete(access, name)?;
        let deleted = match reference {
            Reference::Tag(tag) => self.catalog.delete_tag(name, tag).await?,
            Reference::Digest(digest) => self.catalog.delete_manifest(name, digest).await?,
        };
        if deleted {
            Ok(())
        } else {
            Err(Error::ManifestUnknown(reference.clone()))
        }
    }

    /// Takes a blob away from a repository.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], [`Error::DeletesDisabled`]; [`Error::BlobReferenced`] where a
    /// manifest would be left without it.
    pub async fn delete_blob(&self, access: &Access, name: &Name, digest: &Digest) -> Result<()> {
        self.check_delete(access, name)?;
        match self.catalog.delete_blob(name, digest).await? {
            BlobDeletion::Deleted(last) => {
                self.remove(Vec::from_iter(last)).await;
                Ok(())
            }
            BlobDeletion::Unknown => Err(Error::BlobUnknown(digest.clone())),
            BlobDeletion::Referenced => Err(Error::BlobReferenced(digest.clone())),
        }
    }

    fn check_delete(&self, access: &Access, name: &Name) -> Result<()> {
        access.check(Action::Delete, name)?;
        if self.settings.deletes {
            Ok(())
        } else {
            Err(Error::DeletesDisabled)
        }
    }
}
