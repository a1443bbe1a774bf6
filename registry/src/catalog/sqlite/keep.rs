//! What keeps a blob.

use rusqlite::{Connection, params};

use super::super::{Keeper, KeptBy, Result};
use super::read::parse;
use crate::oci::Digest;

/// The manifests that need a blob with their tags, and the repositories that have it without one.
pub(super) fn keepers(
    connection: &Connection,
    digest: &Digest,
    limit: usize,
) -> Result<Vec<Keeper>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut keepers = Vec::new();
    let mut manifests = connection.prepare_cached(
        "SELECT repository.name, manifest.digest, manifest.id FROM blob
         JOIN manifest_blob ON manifest_blob.blob = blob.id
         JOIN manifest ON manifest.id = manifest_blob.manifest
         JOIN repository ON repository.id = manifest_blob.repository
         WHERE blob.digest = ? ORDER BY repository.name, manifest.digest LIMIT ?",
    )?;
    let mut tags =
        connection.prepare_cached("SELECT name FROM tag WHERE manifest = ? ORDER BY name")?;
    let rows = manifests.query_map(params![digest.to_string(), limit], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, i64>(2)?,
        ))
    })?;
    for row in rows {
        let (repository, manifest, id) = row?;
        let tags = tags
            .query_map([id], |row| row.get::<_, String>(0))?
            .map(|tag| parse(tag?))
            .collect::<Result<_>>()?;
        keepers.push(Keeper {
            repository: parse(repository)?,
            by: KeptBy::Manifest {
                digest: parse(manifest)?,
                tags,
            },
        });
    }
    let mut loose = connection.prepare_cached(
        "SELECT repository.name, loose_blob.last_used FROM blob
         JOIN loose_blob ON loose_blob.blob = blob.id
         JOIN repository ON repository.id = loose_blob.repository
         WHERE blob.digest = ? ORDER BY repository.name LIMIT ?",
    )?;
    let rows = loose.query_map(params![digest.to_string(), limit], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    })?;
    for row in rows {
        let (repository, last_used) = row?;
        keepers.push(Keeper {
            repository: parse(repository)?,
            by: KeptBy::Use(last_used),
        });
    }
    Ok(keepers)
}
