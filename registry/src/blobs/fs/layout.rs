//! Which file is where.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::folder::Folder;
use super::sessions::Sessions;
use super::{Location, Result};
use crate::blobs::Error;
use crate::durable;
use crate::oci::Algorithm;

/// The folders of a store. Only parsed digests and upload ids can lead to one.
pub(super) struct Layout {
    path: PathBuf,
    root: Folder,
    /// Whether an algorithm's fan-out folders are known to be there.
    fan_out: [Mutex<bool>; Algorithm::ALL.len()],
    sessions: Sessions,
}

impl Layout {
    /// Opens the store's root, and makes the folders that a store begins with.
    pub(super) fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        let layout = Self {
            path: root.to_owned(),
            root: Folder::root(root)?,
            fan_out: Default::default(),
            sessions: Sessions::default(),
        };
        for name in ["uploads", "blobs"] {
            layout.root.make(name)?;
            layout.root.open(name)?;
        }
        Ok(layout)
    }

    /// Makes an algorithm's fan-out folders, once and for all, so that a commit has to sync one
    /// folder only. All folders down to them are synced before the first blob goes into one.
    pub(super) fn ensure_fan_out(&self, algorithm: Algorithm) -> Result<()> {
        let done = &self.fan_out[algorithm as usize];
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        if *done {
            return Ok(());
        }
        let blobs = self.blobs()?;
        let complete = format!("{algorithm}.fan-out");
        if !blobs.has(&complete)? {
            blobs.make(algorithm.as_str())?;
            let folder = blobs.open(algorithm.as_str())?;
            for byte in 0..=u8::MAX {
                folder.make(&format!("{byte:02x}"))?;
            }
            folder.sync()?;
            blobs.sync()?;
            self.root.sync()?;
            // The root may be new as well. Where its parent is not ours to open, neither did we
            // make the root.
            if let Some(parent) = self.path.parent() {
                let _ = durable::sync_folder(parent);
            }
            blobs.create(&complete)?;
        }
        *done = true;
        Ok(())
    }

    /// For what is asked of the file system.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(super) fn root(&self) -> &Folder {
        &self.root
    }

    /// The folders that blobs are in, in some order; nothing in place of one that is not made yet.
    pub(super) fn blob_part(&self, part: usize) -> Result<Option<(Algorithm, Option<Folder>)>> {
        let Some(algorithm) = Algorithm::ALL.get(part / 256).copied() else {
            return Ok(None);
        };
        let folder = match self.blobs()?.find(algorithm.as_str())? {
            Some(folder) => folder.find(&format!("{:02x}", part % 256))?,
            None => None,
        };
        Ok(Some((algorithm, folder)))
    }

    pub(super) fn quarantine(&self) -> Result<Option<Folder>> {
        self.root.find("quarantine")
    }

    pub(super) fn make_quarantine(&self) -> Result<Folder> {
        self.root.make("quarantine")?;
        self.root.open("quarantine")
    }

    pub(super) fn blobs(&self) -> Result<Folder> {
        self.root.open("blobs")
    }

    /// The folder that a blob is in, which [`Layout::ensure_fan_out`] makes.
    pub(super) fn blob_folder(&self, location: &Location) -> Result<Folder> {
        let digest = &location.digest;
        let folder = self.blobs()?.open(digest.algorithm().as_str())?;
        // A digest's hexadecimal part has 64 digits at least.
        folder.open(&digest.hex()[..2])
    }
}

/// A blob's file, from the store's root.
pub(super) fn file_path(location: &Location) -> String {
    let digest = &location.digest;
    let (algorithm, hex) = (digest.algorithm(), digest.hex());
    format!("blobs/{algorithm}/{}/{hex}.{}", &hex[..2], location.upload)
}

/// The name of a blob's file in whatever folder.
pub(super) fn file_name(location: &Location) -> String {
    format!("{}.{}", location.digest.hex(), location.upload)
}
