//! What the catalog knows of itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Error, Result};
use crate::durable;

/// How the catalog ended, and which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Counts up with every start and with every copy that is made; so that of two catalogs of one
    /// store the newer can be told.
    pub(super) generation: i64,
    /// Whether its last process wrote down all that it knew.
    pub(super) ended_well: bool,
}

pub(super) fn standing(connection: &Connection) -> Result<Standing> {
    Ok(Standing {
        generation: number(connection, "generation")?.unwrap_or(0),
        ended_well: number(connection, "ended_well")? == Some(1),
    })
}

pub(super) fn set_generation(connection: &Connection, generation: i64) -> Result<()> {
    set(connection, "generation", generation)
}

pub(super) fn set_ended_well(connection: &Connection, well: bool) -> Result<()> {
    set(connection, "ended_well", i64::from(well))
}

fn number(connection: &Connection, key: &str) -> Result<Option<i64>> {
    let text: Option<String> = connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    text.map(|text| text.parse().map_err(|_| Error::Corrupt(text)))
        .transpose()
}

fn set(connection: &Connection, key: &str, value: i64) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES (?, ?)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![key, value.to_string()])?;
    Ok(())
}

/// Copies the database as it is at this moment into a new file, which is whole and on disk when this
/// returns, or not there.
pub(super) fn copy(connection: &Connection, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    let failed = |error| Error::Copy {
        to: to.to_owned(),
        source: error,
    };
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    connection.execute("VACUUM INTO ?", [path_text(&new)?])?;
    File::open(&new)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&new, to))
        .and_then(|()| durable::sync_folder(to.parent().unwrap_or(Path::new("."))))
        .map_err(failed)
}

fn path_text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::Copy {
        to: PathBuf::from(path),
        source: std::io::Error::new(std::io::ErrorKind::InvalidFilename, "the path is not UTF-8"),
    })
}
