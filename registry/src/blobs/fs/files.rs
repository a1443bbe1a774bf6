//! The files that are there, whoever knows of them; and the quarantine for those that nobody knows.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::layout::{self, Layout};
use crate::blobs::{Error, Location, Result, StoredFile};
use crate::oci::Algorithm;

/// One folder's blobs. What is named as no blob is, or is no file, is not ours to judge.
pub(super) fn list(layout: &Layout, part: usize) -> Result<Option<Vec<StoredFile>>> {
    let Some((algorithm, folder)) = layout.blob_part(part) else {
        return Ok(None);
    };
    scan(&folder, Some(algorithm)).map(Some)
}

/// Every quarantined file. The folder that it is in says since when.
pub(super) fn quarantined(layout: &Layout) -> Result<Vec<StoredFile>> {
    let mut files = Vec::new();
    for (since, folder) in quarantine_folders(layout)? {
        files.extend(scan(&folder, None)?.into_iter().map(|file| StoredFile {
            placed_at: since,
            ..file
        }));
    }
    Ok(files)
}

pub(super) fn quarantine(layout: &Layout, location: &Location, now: i64) -> Result<()> {
    let folder = layout.quarantine().join(now.to_string());
    layout::create_dir(&folder)?;
    rename(
        &layout.blob(location),
        &folder.join(layout::file_name(location)),
    )
}

pub(super) fn restore(layout: &Layout, location: &Location) -> Result<()> {
    layout.ensure_fan_out(location.digest.algorithm())?;
    let name = layout::file_name(location);
    for (_, folder) in quarantine_folders(layout)? {
        let path = folder.join(&name);
        if fs::symlink_metadata(&path).is_ok() {
            rename(&path, &layout.blob(location))?;
            return layout::sync(&layout.blob_folder(location));
        }
    }
    Err(Error::Missing(location.clone()))
}

/// Removes what has been in quarantine since before `before`.
pub(super) fn expel(layout: &Layout, before: i64) -> Result<()> {
    for (since, folder) in quarantine_folders(layout)? {
        if since < before {
            fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        }
    }
    Ok(())
}

/// The folders of the quarantine, each named by when its files came there.
fn quarantine_folders(layout: &Layout) -> Result<Vec<(i64, PathBuf)>> {
    let quarantine = layout.quarantine();
    let mut folders = Vec::new();
    for entry in entries(&quarantine)? {
        let entry = entry.map_err(Error::io("list", &quarantine))?;
        let since = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        folders.extend(since.map(|since| (since, entry.path())));
    }
    Ok(folders)
}

/// What is in a folder that need not be there.
fn entries(folder: &Path) -> Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        entries => Some(entries.map_err(Error::io("list", folder))?),
    };
    Ok(entries.into_iter().flatten())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}

/// The blobs in a folder: of one algorithm, or of the one that the length of the name tells.
fn scan(folder: &Path, algorithm: Option<Algorithm>) -> Result<Vec<StoredFile>> {
    let mut files = Vec::new();
    for entry in entries(folder)? {
        let entry = entry.map_err(Error::io("list", folder))?;
        let Some(location) = entry
            .file_name()
            .to_str()
            .and_then(|name| parse(name, algorithm))
        else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => files.push(StoredFile {
                location,
                size: metadata.len(),
                placed_at: metadata.mtime(),
            }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("look at", &entry.path())(error)),
        }
    }
    Ok(files)
}

fn parse(name: &str, algorithm: Option<Algorithm>) -> Option<Location> {
    let (hex, upload) = name.split_once('.')?;
    let algorithms = Algorithm::ALL
        .into_iter()
        .filter(|one| algorithm.is_none_or(|algorithm| algorithm == *one));
    let digest = algorithms
        .filter_map(|algorithm| format!("{algorithm}:{hex}").parse().ok())
        .next()?;
    Some(Location {
        digest,
        upload: upload.parse().ok()?,
    })
}
