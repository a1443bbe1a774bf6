//! Which blobs were read again, and what came of it.

use rusqlite::{Connection, params};

use super::super::{Error, Result, StoredBlob};
use super::read::upload_id;
use crate::blobs::Location;
use crate::oci::Digest;

/// A row of the table of blobs, as far as it is about bytes.
const COLUMNS: &str = "digest, location, size, verified_at, bad";

/// The blobs whose bytes were not looked at since `before`, longest ago first. Those that are known
/// to be bad wait for a push.
pub(super) fn due(connection: &Connection, before: i64, limit: usize) -> Result<Vec<StoredBlob>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM blob WHERE verified_at < ? AND NOT bad ORDER BY verified_at LIMIT ?"
        ))?
        .query_map(params![before, limit], columns)?
        .map(|row| stored(row?))
        .collect()
}

/// Blobs that are not known to be bad, in the order of their digests.
pub(super) fn all(
    connection: &Connection,
    behind: Option<&Digest>,
    limit: usize,
) -> Result<Vec<StoredBlob>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let behind = behind.map(Digest::to_string).unwrap_or_default();
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM blob WHERE digest > ? AND NOT bad ORDER BY digest LIMIT ?"
        ))?
        .query_map(params![behind, limit], columns)?
        .map(|row| stored(row?))
        .collect()
}

/// The blobs that are known to be bad.
pub(super) fn bad(connection: &Connection, limit: usize) -> Result<Vec<StoredBlob>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM blob WHERE bad ORDER BY digest LIMIT ?"
        ))?
        .query_map([limit], columns)?
        .map(|row| stored(row?))
        .collect()
}

/// Whatever copy of a blob is in force.
pub(super) fn find(connection: &Connection, digest: &Digest) -> Result<Option<StoredBlob>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM blob WHERE digest = ?"))?
        .query_map([digest.to_string()], columns)?
        .next()
        .map(|row| stored(row?))
        .transpose()
}

/// Writes down that copies are good, or that they are not; only of those still in force.
pub(super) fn record(
    connection: &Connection,
    results: &[(Location, bool)],
    now: i64,
) -> Result<usize> {
    let mut update = connection.prepare_cached(
        "UPDATE blob SET verified_at = ?3, bad = ?4 WHERE digest = ?1 AND location = ?2",
    )?;
    let mut changed = 0;
    for (location, good) in results {
        changed += update.execute(params![
            location.digest.to_string(),
            location.upload.as_str(),
            now,
            !good
        ])?;
    }
    Ok(changed)
}

type Row = (String, String, i64, i64, bool);

fn columns(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
    ))
}

fn stored((digest, upload, size, verified_at, bad): Row) -> Result<StoredBlob> {
    Ok(StoredBlob {
        location: Location {
            digest: digest.parse().map_err(|_| Error::Corrupt(digest))?,
            upload: upload_id(&upload)?,
        },
        size: u64::try_from(size).map_err(|_| Error::Corrupt(size.to_string()))?,
        verified_at,
        bad,
    })
}
