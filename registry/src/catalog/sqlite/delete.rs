//! Deletions. Rows go here, and never bytes on disk: those can go once this is committed.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{BlobDeletion, Result};
use super::loose;
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

pub(super) fn manifest(
    connection: &Connection,
    repository: &Name,
    digest: &Digest,
    now: i64,
) -> Result<bool> {
    let Some(repository) = find_repository(connection, repository)? else {
        return Ok(false);
    };
    let Some(manifest) = find_manifest(connection, repository, digest)? else {
        return Ok(false);
    };
    connection
        .prepare_cached("DELETE FROM tag WHERE manifest = ?")?
        .execute([manifest])?;
    loose::loosen(connection, manifest, now)?;
    // Its references go with it.
    connection
        .prepare_cached("DELETE FROM manifest WHERE id = ?")?
        .execute([manifest])?;
    Ok(true)
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
