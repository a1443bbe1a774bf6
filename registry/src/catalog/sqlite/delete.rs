//! Deletions. Rows go here, and never bytes on disk: those can go once this is committed.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{BlobDeletion, Result};
use super::loose;
use super::read::parse;
use super::write::{find_manifest, find_repository};
use crate::oci::{Digest, Name, Tag};

pub(super) fn tag(connection: &Connection, repository: &Name, tag: &Tag) -> Result<bool> {
    let Some(repository) = find_repository(connection, repository)? else {
        return Ok(false);
    };
    let deleted = connection
        .prepare_cached("DELETE FROM tag WHERE repository = ? AND name = ?")?
        .execute(params![repository, tag.as_str()])?;
    Ok(deleted > 0)
}

/// What went with a manifest.
pub(super) struct DeletedManifest {
    /// The tags that pointed to it.
    pub(super) tags: Vec<Tag>,
    /// The blobs that it was made of, which stay.
    pub(super) blobs: Vec<Digest>,
}

pub(super) fn manifest(
    connection: &Connection,
    repository: &Name,
    digest: &Digest,
    now: i64,
) -> Result<Option<DeletedManifest>> {
    let Some(repository) = find_repository(connection, repository)? else {
        return Ok(None);
    };
    let Some(manifest) = find_manifest(connection, repository, digest)? else {
        return Ok(None);
    };
    let tags = connection
        .prepare_cached("DELETE FROM tag WHERE manifest = ? RETURNING name")?
        .query_map([manifest], |row| row.get::<_, String>(0))?
        .map(|tag| parse(tag?))
        .collect::<Result<_>>()?;
    let blobs = connection
        .prepare_cached(
            "SELECT blob.digest FROM manifest_blob JOIN blob ON blob.id = manifest_blob.blob
             WHERE manifest_blob.manifest = ?",
        )?
        .query_map([manifest], |row| row.get::<_, String>(0))?
        .map(|digest| parse(digest?))
        .collect::<Result<_>>()?;
    loose::loosen(connection, manifest, now)?;
    // Its references go with it.
    connection
        .prepare_cached("DELETE FROM manifest WHERE id = ?")?
        .execute([manifest])?;
    Ok(Some(DeletedManifest { tags, blobs }))
}

pub(super) fn blob(
    connection: &Connection,
    repository: &Name,
    digest: &Digest,
) -> Result<BlobDeletion> {
    let Some(repository) = find_repository(connection, repository)? else {
        return Ok(BlobDeletion::Unknown);
    };
    let blob: Option<i64> = connection
        .prepare_cached(
            "SELECT blob.id FROM blob JOIN repository_blob ON repository_blob.blob = blob.id
             WHERE repository_blob.repository = ? AND blob.digest = ?",
        )?
        .query_row(params![repository, digest.to_string()], |row| row.get(0))
        .optional()?;
    let Some(blob) = blob else {
        return Ok(BlobDeletion::Unknown);
    };
    let referenced = connection
        .prepare_cached("SELECT 1 FROM manifest_blob WHERE repository = ? AND blob = ?")?
        .exists(params![repository, blob])?;
    if referenced {
        return Ok(BlobDeletion::Referenced);
    }
    let last = loose::leave(connection, repository, blob)?;
    Ok(BlobDeletion::Deleted(last.map(|(location, _)| location)))
}
