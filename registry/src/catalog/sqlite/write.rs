//! Transactions. Each runs within a savepoint of the writer's: an error undoes all of it.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Condition, Error, Missing, NewManifest, Result};
use super::loose;
use super::read::upload_id;
use crate::blobs::{Location, UploadId};
use crate::oci::{Digest, Name, Tag};

pub(super) fn add_blob(
    connection: &Connection,
    repository: &Name,
    digest: &Digest,
    size: u64,
    upload: &UploadId,
    now: i64,
) -> Result<Vec<Location>> {
    let known = connection
        .prepare_cached("SELECT id, location, bad FROM blob WHERE digest = ?")?
        .query_row([digest.to_string()], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, bool>(2)?,
            ))
        })
        .optional()?;
    let size = i64::try_from(size).map_err(|_| Error::Corrupt(size.to_string()))?;
    let (blob, superfluous) = match known {
        None => {
            connection
                .prepare_cached("INSERT INTO blob (digest, size, location, created_at, verified_at) VALUES (?, ?, ?, ?4, ?4)")?
                .execute(params![digest.to_string(), size, upload.as_str(), now])?;
            (connection.last_insert_rowid(), None)
        }
        // A copy that was found bad is healed by the one that was just checked.
        Some((blob, location, true)) => {
            connection
                .prepare_cached(
                    "UPDATE blob SET size = ?, location = ?, verified_at = ?, bad = 0 WHERE id = ?",
                )?
                .execute(params![size, upload.as_str(), now, blob])?;
            (blob, Some(upload_id(&location)?))
        }
        Some((blob, location, false)) => {
            (blob, (location != upload.as_str()).then(|| upload.clone()))
        }
    };
    give(connection, repository, blob, digest, now)?;
    Ok(superfluous
        .into_iter()
        .map(|upload| Location {
            digest: digest.clone(),
            upload,
        })
        .collect())
}

pub(super) fn mount(
    connection: &Connection,
    repository: &Name,
    digest: &Digest,
    from: Option<&Name>,
    now: i64,
) -> Result<bool> {
    let blob: Option<i64> = connection
        .prepare_cached(
            "SELECT blob.id FROM blob WHERE blob.digest = ?1 AND NOT blob.bad AND (?2 IS NULL OR EXISTS (
                 SELECT 1 FROM repository JOIN repository_blob ON repository_blob.repository = repository.id
                 WHERE repository.name = ?2 AND repository_blob.blob = blob.id))",
        )?
        .query_row(params![digest.to_string(), from.map(Name::as_str)], |row| row.get(0))
        .optional()?;
    let Some(blob) = blob else { return Ok(false) };
    give(connection, repository, blob, digest, now)?;
    Ok(true)
}

pub(super) fn push_manifest(
    connection: &Connection,
    repository: &Name,
    new: &NewManifest,
    now: i64,
) -> Result<Missing> {
    let repository = ensure_repository(connection, repository)?;
    if let Some(condition) = &new.condition {
        for tag in &new.tags {
            check(connection, repository, tag, condition)?;
        }
    }
    let manifest = match find_manifest(connection, repository, &new.digest)? {
        Some(manifest) => {
            // Damaged bytes are healed by those that were just checked.
            connection
                .prepare_cached("UPDATE manifest SET payload = ?2 WHERE id = ?1 AND payload <> ?2")?
                .execute(params![manifest, &new.payload[..]])?;
            manifest
        }
        None => insert_manifest(connection, repository, new, now)?,
    };
    let mut point = connection.prepare_cached(
        "INSERT INTO tag (repository, name, manifest, updated_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (repository, name)
         DO UPDATE SET manifest = excluded.manifest, updated_at = excluded.updated_at",
    )?;
    for tag in &new.tags {
        point.execute(params![repository, tag.as_str(), manifest, now])?;
    }
    let mut missing = Missing::default();
    for child in &new.manifest.children {
        let known = find_manifest(connection, repository, &child.digest)?;
        missing.children += usize::from(known.is_none());
    }
    let mut absent = connection
        .prepare_cached("SELECT 1 FROM missing_blob WHERE manifest = ? AND digest = ?")?;
    for blob in &new.manifest.blobs {
        missing.blobs += usize::from(absent.exists(params![manifest, blob.to_string()])?);
    }
    Ok(missing)
}

/// Compares what a tag points to with what the push expects.
fn check(connection: &Connection, repository: i64, tag: &Tag, condition: &Condition) -> Result<()> {
    let current = connection
        .prepare_cached(
            "SELECT manifest.digest FROM tag JOIN manifest ON manifest.id = tag.manifest
             WHERE tag.repository = ? AND tag.name = ?",
        )?
        .query_row(params![repository, tag.as_str()], |row| {
            row.get::<_, String>(0)
        })
        .optional()?
        .map(|digest| digest.parse().map_err(|_| Error::Corrupt(digest)))
        .transpose()?;
    let holds = match condition {
        Condition::Absent => current.is_none(),
        Condition::Present => current.is_some(),
        Condition::PointsTo(digests) => current.as_ref().is_some_and(|now| digests.contains(now)),
    };
    if holds {
        Ok(())
    } else {
        Err(Error::ConditionFailed {
            tag: tag.clone(),
            current,
        })
    }
}

/// Stores a manifest that is new here, with a row for all that it references.
fn insert_manifest(
    connection: &Connection,
    repository: i64,
    new: &NewManifest,
    now: i64,
) -> Result<i64> {
    let look = &new.manifest;
    let annotations = serde_json::to_string(&look.annotations)
        .map_err(|error| Error::Corrupt(error.to_string()))?;
    connection
        .prepare_cached(
            "INSERT INTO manifest (repository, digest, media_type, artifact_type, subject, size, annotations, created_at, payload)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            repository,
            new.digest.to_string(),
            look.media_type.as_str(),
            look.artifact_type,
            look.subject.as_ref().map(Digest::to_string),
            i64::try_from(new.payload.len()).unwrap_or(i64::MAX),
            annotations,
            now,
            &new.payload[..],
        ])?;
    let manifest = connection.last_insert_rowid();

    let mut find = connection.prepare_cached(
        "SELECT blob.id FROM blob JOIN repository_blob ON repository_blob.blob = blob.id
         WHERE repository_blob.repository = ? AND blob.digest = ? AND NOT blob.bad",
    )?;
    let mut reference = connection.prepare_cached(
        "INSERT OR IGNORE INTO manifest_blob (manifest, repository, blob) VALUES (?, ?, ?)",
    )?;
    let mut lack = connection.prepare_cached(
        "INSERT OR IGNORE INTO missing_blob (manifest, repository, digest) VALUES (?, ?, ?)",
    )?;
    let mut missing = Vec::new();
    let own = look.blobs.iter().map(|digest| (digest, !new.may_be_sparse));
    let foreign = look.foreign_blobs.iter().map(|digest| (digest, false));
    for (digest, required) in own.chain(foreign) {
        let blob: Option<i64> = find
            .query_row(params![repository, digest.to_string()], |row| row.get(0))
            .optional()?;
        match blob {
            Some(blob) => {
                reference.execute(params![manifest, repository, blob])?;
                loose::tighten(connection, repository, blob)?;
            }
            None if required => missing.push(digest.clone()),
            None => {
                lack.execute(params![manifest, repository, digest.to_string()])?;
            }
        }
    }
    if !missing.is_empty() {
        return Err(Error::MissingBlobs(missing));
    }
    let mut list =
        connection.prepare_cached("INSERT INTO manifest_child (manifest, digest) VALUES (?, ?)")?;
    for child in &look.children {
        list.execute(params![manifest, child.digest.to_string()])?;
    }
    Ok(manifest)
}

pub(super) fn find_manifest(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
) -> Result<Option<i64>> {
    let mut find =
        connection.prepare_cached("SELECT id FROM manifest WHERE repository = ? AND digest = ?")?;
    Ok(find
        .query_row(params![repository, digest.to_string()], |row| row.get(0))
        .optional()?)
}

/// Makes a blob visible in a repository, also to the manifests there that have been lacking it.
fn give(
    connection: &Connection,
    repository: &Name,
    blob: i64,
    digest: &Digest,
    now: i64,
) -> Result<()> {
    let repository = ensure_repository(connection, repository)?;
    connection
        .prepare_cached("INSERT OR IGNORE INTO repository_blob (repository, blob) VALUES (?, ?)")?
        .execute([repository, blob])?;
    let lacking = connection
        .prepare_cached(
            "INSERT INTO manifest_blob (manifest, repository, blob)
             SELECT manifest, repository, ?1 FROM missing_blob WHERE repository = ?2 AND digest = ?3",
        )?
        .execute(params![blob, repository, digest.to_string()])?;
    if lacking > 0 {
        connection
            .prepare_cached("DELETE FROM missing_blob WHERE repository = ? AND digest = ?")?
            .execute(params![repository, digest.to_string()])?;
        loose::tighten(connection, repository, blob)?;
    }
    loose::note_use(connection, repository, blob, now)
}

pub(super) fn find_repository(connection: &Connection, name: &Name) -> Result<Option<i64>> {
    let mut find = connection.prepare_cached("SELECT id FROM repository WHERE name = ?")?;
    Ok(find
        .query_row([name.as_str()], |row| row.get(0))
        .optional()?)
}

fn ensure_repository(connection: &Connection, name: &Name) -> Result<i64> {
    if let Some(id) = find_repository(connection, name)? {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO repository (name) VALUES (?)")?
        .execute([name.as_str()])?;
    Ok(connection.last_insert_rowid())
}
