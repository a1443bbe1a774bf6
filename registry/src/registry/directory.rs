//! The data directory of a server.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Registry;
use crate::blobs::{self, BlobStore, FsStore, UploadId};
use crate::catalog::{self, Catalog, SqliteCatalog};

/// Keeps every other server out of a data directory for as long as it lives, and however the
/// process ends.
pub struct DirectoryLock {
    _file: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another server has it.
    #[error("{path} is in use by another wharf server{owner}; stop that one, or choose another directory with --data",
        path = path.display(), owner = process.map(|id| format!(" (process {id})")).unwrap_or_default())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that has it, in its own process namespace.
        process: Option<u32>,
    },
    /// Catalog and blobs were not made together. Serving would lose what only one of them knows.
    #[error(
        "the catalog and the blobs in {path} do not belong together (catalog {catalog}, blobs {blobs}); put the catalog.db that belongs to these \
         blobs back, or start with an empty directory", path = path.display())]
    Mismatch {
        /// The directory.
        path: PathBuf,
        /// The catalog's store id.
        catalog: String,
        /// The blob store's.
        blobs: String,
    },
    /// The operating system said no.
    #[error("could not {action} {path}", path = path.display())]
    Io {
        /// A verb.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The catalog cannot be opened.
    #[error("could not open the catalog in {path}", path = path.display())]
    Catalog {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: catalog::Error,
    },
    /// The blob store cannot be opened.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
}

/// Opens the registry in `path`, making the directory and what belongs into it where it is missing.
/// Waits up to `patience` for another server to leave it: where servers are replaced (a pod), the
/// old one finishes its requests while the new one starts.
///
/// ```text
/// wharf.lock    locked by the one server of the directory; names its process
/// catalog.db    what belongs to what
/// blobs/ uploads/
/// ```
///
/// # Errors
/// [`DirectoryError`]
pub async fn open(
    path: &Path,
    patience: Duration,
) -> Result<(Registry, DirectoryLock), DirectoryError> {
    fs::create_dir_all(path).map_err(|source| DirectoryError::Io {
        action: "create",
        path: path.to_owned(),
        source,
    })?;
    let lock = lock(path, patience).await?;
    let catalog_error = |source| DirectoryError::Catalog {
        path: path.to_owned(),
        source,
    };

    let blobs = FsStore::open(path)?;
    let new_id = UploadId::random().map_err(|error| DirectoryError::Io {
        action: "name",
        path: path.to_owned(),
        source: error.into(),
    })?;
    let catalog =
        SqliteCatalog::open(&path.join("catalog.db"), new_id.as_str()).map_err(catalog_error)?;
    match blobs.store_id().await? {
        Some(id) if id == catalog.store_id() => {}
        Some(id) => {
            return Err(DirectoryError::Mismatch {
                path: path.to_owned(),
                catalog: catalog.store_id().to_owned(),
                blobs: id,
            });
        }
        // The first start ended between making the catalog and naming the blobs, at a time when
        // there were none.
        None if catalog.is_empty().await.map_err(catalog_error)? => {
            blobs.set_store_id(catalog.store_id()).await?
        }
        None => {
            return Err(DirectoryError::Mismatch {
                path: path.to_owned(),
                catalog: catalog.store_id().to_owned(),
                blobs: "missing".to_owned(),
            });
        }
    }
    Ok((
        Registry::new(Arc::new(catalog), Arc::new(blobs)).await?,
        lock,
    ))
}

async fn lock(directory: &Path, patience: Duration) -> Result<DirectoryLock, DirectoryError> {
    let path = directory.join("wharf.lock");
    let io = |action| {
        let path = path.clone();
        move |source| DirectoryError::Io {
            action,
            path,
            source,
        }
    };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io("open"))?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only to help; a lock that does not say whose it is holds just as well.
                let _ = (&file).take(32).read_to_string(&mut text);
                return Err(DirectoryError::InUse {
                    path: directory.to_owned(),
                    process: text.trim().parse().ok(),
                });
            }
        }
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(io("write"))?;
    Ok(DirectoryLock { _file: file })
}
