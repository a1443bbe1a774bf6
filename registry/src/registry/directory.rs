//! The data directory of a server.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::upkeep::copies;
use super::{Registry, Settings};
use crate::blobs::{self, BlobStore, FsStore, Note, UploadId};
use crate::catalog::{self, Catalog, SqliteCatalog};
use crate::clock::Clock;
use crate::durable;

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
    /// The blobs are there, and the catalog that says what they are is not.
    #[error(
        "the catalog is missing from {path}, and the blobs are there; put catalog.db back, or let `wharf catalog restore --data {path}` \
         take the newest copy{}", copy.as_ref().map_or(" (there is none)".to_owned(), |copy| format!(" ({})", copy.display())), path = path.display())]
    CatalogMissing {
        /// The directory.
        path: PathBuf,
        /// The newest copy of the catalog.
        copy: Option<PathBuf>,
    },
    /// A newer wharf wrote the directory.
    #[error("{path} has format {found:?}, and this wharf knows {FORMAT}; use a newer wharf", path = path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// What it says.
        found: String,
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
    /// There is no copy of the catalog.
    #[error("there is no copy of the catalog in {path}", path = path.display())]
    NoCopy {
        /// Where copies are.
        path: PathBuf,
    },
    /// The registry cannot begin.
    #[error("could not open the registry in {path}", path = path.display())]
    Registry {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Box<super::Error>,
    },
    /// The blob store cannot be opened.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
}

/// The format of a data directory, kept in its file `format`.
const FORMAT: &str = "1";

/// Opens the registry in `path`, making the directory and what belongs into it where it is missing.
/// Waits up to `patience` for another server to leave it: where servers are replaced (a pod), the
/// old one finishes its requests while the new one starts.
///
/// ```text
/// wharf.lock    locked by the one server of the directory; names its process
/// format        the format of all this
/// catalog.db    what belongs to what
/// copies/       copies of that
/// blobs/ uploads/ quarantine/ ballast
/// ```
///
/// # Errors
/// [`DirectoryError`]
pub async fn open(
    path: &Path,
    patience: Duration,
    settings: Settings,
) -> Result<(Registry, DirectoryLock), DirectoryError> {
    fs::create_dir_all(path).map_err(io(path, "create"))?;
    let lock = lock(path, patience).await?;
    check_format(path)?;
    let blobs = FsStore::open(path)?;
    let blobs_id = blobs.note(Note::StoreId).await?;
    if blobs_id.is_some() && !path.join(CATALOG).exists() {
        return Err(DirectoryError::CatalogMissing {
            path: path.to_owned(),
            copy: newest_copy(path),
        });
    }
    let clock = Clock::start();
    let catalog = open_catalog(path, clock)?;
    let failed = catalog_failed(path);
    let mismatch = |blobs: &str| DirectoryError::Mismatch {
        path: path.to_owned(),
        catalog: catalog.store_id().to_owned(),
        blobs: blobs.to_owned(),
    };
    match blobs_id {
        Some(id) if id == catalog.store_id() => {}
        Some(id) => return Err(mismatch(&id)),
        // The first start ended between making the catalog and naming the blobs, at a time when
        // there were none.
        None if catalog.is_empty().await.map_err(failed)? => {
            blobs.set_note(Note::StoreId, catalog.store_id()).await?;
        }
        None => return Err(mismatch("missing")),
    }
    let newer_generation = newer_generation(&catalog, &blobs, path).await?;
    let open = async {
        let registry = Registry::new(Arc::new(catalog), Arc::new(blobs), clock, settings).await?;
        registry.release_quarantined().await?;
        Ok(registry)
    };
    let registry = open.await.map_err(|source| DirectoryError::Registry {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let registry = Registry {
        newer_generation,
        directory: Some(path.to_owned()),
        ..registry
    };
    Ok((registry, lock))
}

/// Compares the catalog with the newest that the blobs were used with. An older one (a copy that
/// somebody put back) does not know all that is needed; so nothing is garbage until somebody says
/// that it is the right one. Else this start makes a new generation.
async fn newer_generation(
    catalog: &SqliteCatalog,
    blobs: &FsStore,
    path: &Path,
) -> Result<Option<i64>, DirectoryError> {
    let known = catalog.generation().await.map_err(catalog_failed(path))?;
    let newest = blobs.note(Note::Generation).await?;
    let newest = newest.and_then(|newest| newest.parse().ok()).unwrap_or(0);
    if newest > known {
        tracing::error!(
            catalog = known,
            blobs = newest,
            "the catalog is older than the blobs: images that were pushed since are not known, and nothing is collected. \
             Put a newer catalog.db into place, or accept this one with `wharf catalog accept`"
        );
        return Ok(Some(newest));
    }
    begin_generation(catalog, blobs, path, known + 1).await?;
    Ok(None)
}

/// The catalog is marked first: a crash in between must not make it look old.
async fn begin_generation(
    catalog: &SqliteCatalog,
    blobs: &FsStore,
    path: &Path,
    generation: i64,
) -> Result<(), DirectoryError> {
    catalog
        .set_generation(generation)
        .await
        .map_err(catalog_failed(path))?;
    Ok(blobs
        .set_note(Note::Generation, &generation.to_string())
        .await?)
}

/// Puts the newest copy of the catalog in force, and keeps what was there under another name.
/// Returns which copy it was.
///
/// # Errors
/// [`DirectoryError::NoCopy`], [`DirectoryError::InUse`].
pub async fn restore_catalog(path: &Path) -> Result<PathBuf, DirectoryError> {
    let _lock = lock(path, Duration::ZERO).await?;
    check_format(path)?;
    let copy = newest_copy(path).ok_or_else(|| DirectoryError::NoCopy {
        path: path.join("copies"),
    })?;
    let catalog = path.join(CATALOG);
    let new = path.join("catalog.new");
    fs::copy(&copy, &new)
        .and_then(|_| File::open(&new)?.sync_all())
        .map_err(io(&new, "write"))?;
    let suffix = Clock::start().now();
    // What belongs to the old one must not be taken for the new one's.
    for name in ["catalog.db-wal", "catalog.db-shm", CATALOG] {
        let old = path.join(name);
        match fs::rename(&old, path.join(format!("{name}.replaced-{suffix}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io(&old, "rename")(error));
            }
            _ => {}
        }
    }
    fs::rename(&new, &catalog).map_err(io(&new, "rename"))?;
    durable::sync_folder(path).map_err(io(path, "sync"))?;
    Ok(copy)
}

/// Says that the catalog is the right one although the blobs were used with a newer one: from now
/// on, what it does not name is garbage.
///
/// # Errors
/// [`DirectoryError`]
pub async fn accept_catalog(path: &Path) -> Result<(), DirectoryError> {
    let _lock = lock(path, Duration::ZERO).await?;
    check_format(path)?;
    let blobs = FsStore::open(path)?;
    let catalog = open_catalog(path, Clock::start())?;
    let newest = blobs.note(Note::Generation).await?;
    let newest = newest.and_then(|newest| newest.parse::<i64>().ok());
    let known = catalog.generation().await.map_err(catalog_failed(path))?;
    let generation = newest.unwrap_or(0).max(known) + 1;
    begin_generation(&catalog, &blobs, path, generation).await
}

const CATALOG: &str = "catalog.db";

fn open_catalog(path: &Path, clock: Clock) -> Result<SqliteCatalog, DirectoryError> {
    let new_id = UploadId::random().map_err(|error| io(path, "name")(error.into()))?;
    // The directory is the user's choice, wherever links lead; what is in it is ours.
    let real = fs::canonicalize(path).map_err(io(path, "find"))?;
    SqliteCatalog::open(&real.join(CATALOG), new_id.as_str(), clock).map_err(catalog_failed(path))
}

fn newest_copy(path: &Path) -> Option<PathBuf> {
    let copies = copies(&path.join("copies")).ok()?;
    copies.into_iter().next().map(|(_, copy)| copy)
}

/// Refuses what a newer wharf may have laid out in another way.
fn check_format(path: &Path) -> Result<(), DirectoryError> {
    let file = path.join("format");
    match fs::read_to_string(&file) {
        Ok(found) if found.trim() == FORMAT => Ok(()),
        Ok(found) => Err(DirectoryError::Format {
            path: path.to_owned(),
            found: found.trim().to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            durable::write(&file, format!("{FORMAT}\n").as_bytes()).map_err(io(&file, "write"))
        }
        Err(error) => Err(io(&file, "read")(error)),
    }
}

fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Io {
        action,
        path,
        source,
    }
}

fn catalog_failed(path: &Path) -> impl FnOnce(catalog::Error) -> DirectoryError + use<> {
    let path = path.to_owned();
    move |source| DirectoryError::Catalog { path, source }
}

async fn lock(directory: &Path, patience: Duration) -> Result<DirectoryLock, DirectoryError> {
    let path = directory.join("wharf.lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // It is written to: not to what a link leads to.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)
        .map_err(io(&path, "open"))?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(io(&path, "lock")(source)),
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
        .map_err(io(&path, "write"))?;
    Ok(DirectoryLock { _file: file })
}
