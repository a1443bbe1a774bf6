//! Blobs that no manifest of their repository needs: the only rows that garbage collection looks
//! at.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Collected, Error, LooseBlob, Result};
use super::read::upload_id;
use crate::blobs::Location;
use crate::oci::{Digest, Name};

/// Notes a use of a membership, unless a manifest needs it: then it takes no note to stay.
pub(super) fn note_use(
    connection: &Connection,
    repository: i64,
    blob: i64,
    now: i64,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO loose_blob (repository, blob, last_used)
             SELECT ?1, ?2, ?3 WHERE NOT EXISTS
                 (SELECT 1 FROM manifest_blob WHERE repository = ?1 AND blob = ?2)
             ON CONFLICT (repository, blob)
             DO UPDATE SET last_used = max(last_used, excluded.last_used)",
        )?
        .execute(params![repository, blob, now])?;
    Ok(())
}

/// A manifest needs the blob from now on.
pub(super) fn tighten(connection: &Connection, repository: i64, blob: i64) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM loose_blob WHERE repository = ? AND blob = ?")?
        .execute([repository, blob])?;
    Ok(())
}

/// The manifest, which is about to go, needs its blobs no more. Its end is a use of them: what a
/// client was told a moment ago stays true for the grace.
pub(super) fn loosen(connection: &Connection, manifest: i64, now: i64) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO loose_blob (repository, blob, last_used)
             SELECT repository, blob, ?2 FROM manifest_blob AS own WHERE manifest = ?1
             AND NOT EXISTS (SELECT 1 FROM manifest_blob AS other WHERE other.repository = own.repository
                             AND other.blob = own.blob AND other.manifest <> ?1)",
        )?
        .execute([manifest, now])?;
    Ok(())
}

/// Writes down uses that were kept in memory.
pub(super) fn write_uses(connection: &Connection, uses: &[(Name, Digest, i64)]) -> Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE loose_blob SET last_used = max(last_used, ?3)
         WHERE repository = (SELECT id FROM repository WHERE name = ?1)
         AND blob = (SELECT id FROM blob WHERE digest = ?2)",
    )?;
    for (repository, digest, used) in uses {
        update.execute(params![repository.as_str(), digest.to_string(), used])?;
    }
    Ok(())
}

/// Uses that are dated later than now, by a clock that has been set back since, were now.
pub(super) fn cap_uses(connection: &Connection, now: i64) -> Result<()> {
    connection.execute(
        "UPDATE loose_blob SET last_used = ?1 WHERE last_used > ?1",
        [now],
    )?;
    Ok(())
}

pub(super) fn list(
    connection: &Connection,
    used_before: i64,
    behind: Option<&LooseBlob>,
    limit: usize,
) -> Result<Vec<LooseBlob>> {
    let behind = behind.map_or((i64::MIN, 0, 0), |last| last.key);
    connection
        .prepare_cached(
            "SELECT loose_blob.last_used, loose_blob.repository, loose_blob.blob,
                    repository.name, blob.digest, blob.size
             FROM loose_blob
             JOIN repository ON repository.id = loose_blob.repository
             JOIN blob ON blob.id = loose_blob.blob
             WHERE (loose_blob.last_used, loose_blob.repository, loose_blob.blob) > (?1, ?2, ?3)
             AND loose_blob.last_used < ?4
             ORDER BY loose_blob.last_used, loose_blob.repository, loose_blob.blob LIMIT ?5",
        )?
        .query_map(
            params![
                behind.0,
                behind.1,
                behind.2,
                used_before,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row| {
                Ok((
                    (row.get(0)?, row.get(1)?, row.get(2)?),
                    row.get::<_, String>(3)?,
                    row.get::<_, String>(4)?,
                    row.get::<_, i64>(5)?,
                ))
            },
        )?
        .map(|row| {
            let (key, repository, digest, size) = row?;
            Ok(LooseBlob {
                repository: repository.parse().map_err(|_| Error::Corrupt(repository))?,
                digest: digest.parse().map_err(|_| Error::Corrupt(digest))?,
                size: u64::try_from(size).map_err(|_| Error::Corrupt(size.to_string()))?,
                last_used: key.0,
                key,
            })
        })
        .collect()
}

/// Takes memberships away that still are as they were listed, and blobs with their last one.
pub(super) fn collect(connection: &Connection, garbage: &[LooseBlob]) -> Result<Collected> {
    let mut collected = Collected::default();
    for loose in garbage {
        let (last_used, repository, blob) = loose.key;
        let unused = connection
            .prepare_cached(
                "DELETE FROM loose_blob WHERE repository = ? AND blob = ? AND last_used = ?",
            )?
            .execute([repository, blob, last_used])?;
        if unused == 0 {
            continue;
        }
        collected.memberships += 1;
        collected.blobs.extend(leave(connection, repository, blob)?);
        connection
            .prepare_cached(
                "DELETE FROM repository WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM repository_blob WHERE repository = ?1)
                 AND NOT EXISTS (SELECT 1 FROM manifest WHERE repository = ?1)",
            )?
            .execute([repository])?;
    }
    Ok(collected)
}

/// Ends a membership. With its last one the blob ends as well, and its bytes, which are returned, can
/// go once this is on disk.
pub(super) fn leave(
    connection: &Connection,
    repository: i64,
    blob: i64,
) -> Result<Option<(Location, u64)>> {
    connection
        .prepare_cached("DELETE FROM repository_blob WHERE repository = ? AND blob = ?")?
        .execute([repository, blob])?;
    let last = connection
        .prepare_cached(
            "DELETE FROM blob WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM repository_blob WHERE blob = ?1)
             RETURNING digest, location, size",
        )?
        .query_row([blob], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })
        .optional()?;
    last.map(|(digest, upload, size)| {
        let location = Location {
            digest: digest.parse().map_err(|_| Error::Corrupt(digest))?,
            upload: upload_id(&upload)?,
        };
        let size = u64::try_from(size).map_err(|_| Error::Corrupt(size.to_string()))?;
        Ok((location, size))
    })
    .transpose()
}
