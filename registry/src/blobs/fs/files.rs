//! The files that are there, whoever knows of them; and the quarantine for those that nobody knows.

use super::folder::Folder;
use super::layout::{self, Layout};
use crate::blobs::{Error, Location, Result, StoredFile};
use crate::oci::Algorithm;

/// One folder's blobs. What is named as no blob is, or is no file, is not ours to judge.
pub(super) fn list(layout: &Layout, part: usize) -> Result<Option<Vec<StoredFile>>> {
    let Some((algorithm, folder)) = layout.blob_part(part)? else {
        return Ok(None);
    };
    match folder {
        Some(folder) => scan(&folder, Some(algorithm)).map(Some),
        None => Ok(Some(Vec::new())),
    }
}

/// Every quarantined file. The folder that it is in says since when.
pub(super) fn quarantined(layout: &Layout) -> Result<Vec<StoredFile>> {
    let mut files = Vec::new();
    let Some(quarantine) = layout.quarantine()? else {
        return Ok(files);
    };
    for since in times(&quarantine)? {
        let folder = quarantine.open(&since.to_string())?;
        files.extend(scan(&folder, None)?.into_iter().map(|file| StoredFile {
            placed_at: since,
            ..file
        }));
    }
    Ok(files)
}

pub(super) fn quarantine(layout: &Layout, location: &Location, now: i64) -> Result<()> {
    let (quarantine, now) = (layout.make_quarantine()?, now.to_string());
    quarantine.make(&now)?;
    let name = layout::file_name(location);
    layout
        .blob_folder(location)?
        .relocate(&name, &quarantine.open(&now)?, &name)
}

pub(super) fn restore(layout: &Layout, location: &Location) -> Result<()> {
    layout.ensure_fan_out(location.digest.algorithm())?;
    let missing = || Error::Missing(location.clone());
    let quarantine = layout.quarantine()?.ok_or_else(missing)?;
    let (name, blobs) = (layout::file_name(location), layout.blob_folder(location)?);
    for since in times(&quarantine)? {
        let folder = quarantine.open(&since.to_string())?;
        if folder.has(&name)? {
            folder.relocate(&name, &blobs, &name)?;
            return blobs.sync();
        }
    }
    Err(missing())
}

/// Removes what has been in quarantine since before `before`.
pub(super) fn expel(layout: &Layout, before: i64) -> Result<()> {
    let Some(quarantine) = layout.quarantine()? else {
        return Ok(());
    };
    for since in times(&quarantine)? {
        if since < before {
            let name = since.to_string();
            let folder = quarantine.open(&name)?;
            for file in folder.names()? {
                folder.remove(&file)?;
            }
            quarantine.remove_folder(&name)?;
        }
    }
    Ok(())
}

/// The names of the quarantine's folders: when their files came there.
fn times(quarantine: &Folder) -> Result<Vec<i64>> {
    let names = quarantine.names()?.into_iter();
    // As they are written here, and not `+1` or `01`, which would be found under another name.
    Ok(names
        .filter_map(|name| {
            name.parse()
                .ok()
                .filter(|time: &i64| time.to_string() == name)
        })
        .collect())
}

/// The blobs in a folder: of one algorithm, or of the one that the length of the name tells.
fn scan(folder: &Folder, algorithm: Option<Algorithm>) -> Result<Vec<StoredFile>> {
    let mut files = Vec::new();
    for name in folder.names()? {
        let Some(location) = parse(&name, algorithm) else {
            continue;
        };
        if let Some((size, placed_at)) = folder.file(&name)? {
            files.push(StoredFile {
                location,
                size,
                placed_at,
            });
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
