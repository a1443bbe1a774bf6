//! Which file is where.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Location, Result, UploadId, remove_file};
use crate::blobs::{Error, Note, OpenUpload};
use crate::durable;
use crate::oci::Algorithm;

/// The paths of a store. Only parsed digests and upload ids can become one.
pub(super) struct Layout {
    root: PathBuf,
    blobs: PathBuf,
    uploads: PathBuf,
    /// Whether an algorithm's fan-out folders are known to be there.
    fan_out: [Mutex<bool>; Algorithm::ALL.len()],
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            blobs: root.join("blobs"),
            uploads: root.join("uploads"),
            fan_out: Default::default(),
        }
    }

    /// Makes the folders that a store begins with.
    pub(super) fn create(&self) -> Result<()> {
        create_dir(&self.uploads)?;
        create_dir(&self.blobs)
    }

    /// Makes an algorithm's fan-out folders, once and for all, so that a commit has to sync one
    /// folder only. All folders down to them are synced before the first blob goes into one.
    pub(super) fn ensure_fan_out(&self, algorithm: Algorithm) -> Result<()> {
        let done = &self.fan_out[algorithm as usize];
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        if *done {
            return Ok(());
        }
        let folder = self.blobs.join(algorithm.as_str());
        let complete = folder.with_extension("fan-out");
        if !complete.exists() {
            for byte in 0..=u8::MAX {
                create_dir(&folder.join(format!("{byte:02x}")))?;
            }
            sync(&folder)?;
            sync(&self.blobs)?;
            sync(&self.root)?;
            // The root may be new as well. Where its parent is not ours to open, neither did we
            // make the root.
            if let Some(parent) = self.root.parent() {
                let _ = sync(parent);
            }
            File::create(&complete).map_err(Error::io("create", &complete))?;
        }
        *done = true;
        Ok(())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn note(&self, note: Note) -> PathBuf {
        self.blobs.join(match note {
            Note::StoreId => "store-id",
            Note::Generation => "generation",
        })
    }

    pub(super) fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    /// The folders that blobs are in, in some order.
    pub(super) fn blob_part(&self, part: usize) -> Option<(Algorithm, PathBuf)> {
        let algorithm = *Algorithm::ALL.get(part / 256)?;
        let folder = self.blobs.join(algorithm.as_str());
        Some((algorithm, folder.join(format!("{:02x}", part % 256))))
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(super) fn blob_folder(&self, location: &Location) -> PathBuf {
        let digest = &location.digest;
        // A digest's hexadecimal part has 64 digits at least.
        self.blobs
            .join(digest.algorithm().as_str())
            .join(&digest.hex()[..2])
    }

    pub(super) fn blob(&self, location: &Location) -> PathBuf {
        self.blob_folder(location).join(file_name(location))
    }

    pub(super) fn upload(&self, upload: &UploadId) -> PathBuf {
        self.uploads.join(upload.as_str())
    }

    pub(super) fn upload_data(&self, upload: &UploadId) -> PathBuf {
        self.upload(upload).join("data")
    }

    pub(super) fn upload_session(&self, upload: &UploadId) -> PathBuf {
        self.upload(upload).join("session")
    }

    /// The uploads on disk with their notes; empty notes where a crash came before they were
    /// written.
    pub(super) fn uploads(&self) -> Result<Vec<OpenUpload>> {
        let mut uploads = Vec::new();
        for entry in fs::read_dir(&self.uploads).map_err(Error::io("list", &self.uploads))? {
            let entry = entry.map_err(Error::io("list", &self.uploads))?;
            let Some(upload) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<UploadId>().ok())
            else {
                continue;
            };
            let path = self.upload_session(&upload);
            let session = match fs::read(&path) {
                Ok(session) => session,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(Error::io("read", &path)(error)),
            };
            let data = fs::symlink_metadata(self.upload_data(&upload)).ok();
            let written = match &data {
                Some(data) => Some(data.mtime()),
                None => fs::symlink_metadata(&path).ok().map(|notes| notes.mtime()),
            };
            uploads.push(OpenUpload {
                upload,
                session,
                size: data.map_or(0, |data| data.len()),
                written_at: written.unwrap_or(0),
            });
        }
        Ok(uploads)
    }

    pub(super) fn remove_upload(&self, upload: &UploadId) -> Result<()> {
        remove_file(&self.upload_data(upload))?;
        // The notes go last: without them the data could not be told from another's.
        remove_file(&self.upload_session(upload))?;
        let folder = self.upload(upload);
        match fs::remove_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", &folder)(error))
            }
            _ => Ok(()),
        }
    }
}

/// The name of a blob's file in whatever folder.
pub(super) fn file_name(location: &Location) -> String {
    format!("{}.{}", location.digest.hex(), location.upload)
}

/// Makes a folder's entries survive power loss.
pub(super) fn sync(folder: &Path) -> Result<()> {
    durable::sync_folder(folder).map_err(Error::io("sync", folder))
}

pub(super) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("create", path))
}
