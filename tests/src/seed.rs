//! Rows that would take too long to get there by requests.

use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, params};

use crate::content::sha256;

/// Puts rows of blobs into the catalog of a server that does not run, numbered on from `from`; no file belongs to them. Every
/// second one is in no manifest.
///
/// # Errors
/// The catalog has other tables than this knows.
pub fn blob_rows(data: &Path, from: u64, to: u64) -> Result<()> {
    let mut catalog = Connection::open(data.join("catalog.db"))?;
    let transaction = catalog.transaction()?;
    transaction.execute(
        "INSERT INTO repository (name) VALUES ('many') ON CONFLICT DO NOTHING",
        [],
    )?;
    let repository: i64 =
        transaction.query_row("SELECT id FROM repository WHERE name = 'many'", [], |row| {
            row.get(0)
        })?;
    for number in from..to {
        let digest = sha256(&number.to_le_bytes());
        transaction
            .prepare_cached("INSERT INTO blob (digest, size, location, created_at, verified_at) VALUES (?, 1, ?, unixepoch(), unixepoch())")?
            .execute(params![digest, format!("{number:032x}")])?;
        let blob = transaction.last_insert_rowid();
        transaction
            .prepare_cached("INSERT INTO repository_blob (repository, blob) VALUES (?, ?)")?
            .execute([repository, blob])?;
        if number % 2 == 0 {
            transaction
                .prepare_cached("INSERT INTO loose_blob (repository, blob, last_used) VALUES (?, ?, unixepoch())")?
                .execute([repository, blob])?;
        }
    }
    Ok(transaction.commit()?)
}
