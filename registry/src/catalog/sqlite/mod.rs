//! The catalog in a SQLite database.

mod delete;
mod list;
mod read;
mod write;
mod writer;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::{
    BlobDeletion, BlobRecord, Catalog, Error, Missing, NewManifest, Page, Referrer, Result,
    StoredManifest,
};
use crate::blobs::{Location, UploadId};
use crate::oci::{Digest, Name, Reference, Tag};
use writer::Writer;

/// The format of the database, kept in its `user_version`.
const FORMAT: i64 = 1;

/// Connections that read at the same time; each costs some memory, and a read takes microseconds.
const READERS: usize = 4;

/// A [`Catalog`] in one SQLite file.
///
/// All writes go through one thread, which puts what is waiting into one transaction and answers
/// after it is on disk (`synchronous=FULL`). Reads have connections of their own and see what was
/// committed last. One process at a time may have the file open; the data folder's lock sees to
/// that.
pub struct SqliteCatalog {
    store_id: String,
    writer: Writer,
    readers: Arc<Readers>,
}

/// Idle connections for reading.
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// How many may be in use at a time.
    places: Semaphore,
}

impl SqliteCatalog {
    /// Opens the catalog at `path`, making one with the id `new_store_id` where there is none.
    ///
    /// # Errors
    /// [`Error::Format`] for a newer wharf's; [`Error::Database`].
    pub fn open(path: &Path, new_store_id: &str) -> Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            0 => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.execute(
                    "INSERT INTO meta (key, value) VALUES ('store_id', ?)",
                    [new_store_id],
                )?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
            }
            FORMAT => {}
            found => {
                return Err(Error::Format {
                    found,
                    known: FORMAT,
                });
            }
        }
        let store_id =
            connection.query_row("SELECT value FROM meta WHERE key = 'store_id'", [], |row| {
                row.get(0)
            })?;
        let readers = Readers {
            path: path.to_owned(),
            idle: Mutex::default(),
            places: Semaphore::new(READERS),
        };
        Ok(Self {
            store_id,
            writer: Writer::start(connection)?,
            readers: Arc::new(readers),
        })
    }

    /// Runs `query` on a connection for reading.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _place = self
            .readers
            .places
            .acquire()
            .await
            .map_err(|_| Error::Closed)?;
        let readers = self.readers.clone();
        let work = move || {
            let idle = readers.lock().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => open_reader(&readers.path)?,
            };
            let result = query(&connection);
            readers.lock().push(connection);
            result
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(Error::Closed))
    }
}

impl Readers {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_reader(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[async_trait::async_trait]
impl Catalog for SqliteCatalog {
    fn store_id(&self) -> &str {
        &self.store_id
    }

    async fn is_empty(&self) -> Result<bool> {
        self.read(read::is_empty).await
    }

    async fn blob(&self, repository: &Name, digest: &Digest) -> Result<Option<BlobRecord>> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.read(move |connection| read::blob(connection, &repository, &digest))
            .await
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let digest = digest.clone();
        self.read(move |connection| read::has_blob(connection, &digest))
            .await
    }

    async fn add_blob(
        &self,
        repository: &Name,
        digest: &Digest,
        size: u64,
        upload: &UploadId,
    ) -> Result<Vec<Location>> {
        let (repository, digest, upload) = (repository.clone(), digest.clone(), upload.clone());
        self.writer
            .run(move |connection| write::add_blob(connection, &repository, &digest, size, &upload))
            .await
    }

    async fn mount(&self, repository: &Name, digest: &Digest, from: Option<&Name>) -> Result<bool> {
        let (repository, digest, from) = (repository.clone(), digest.clone(), from.cloned());
        self.writer
            .run(move |connection| write::mount(connection, &repository, &digest, from.as_ref()))
            .await
    }

    async fn push_manifest(&self, repository: &Name, manifest: NewManifest) -> Result<Missing> {
        let repository = repository.clone();
        self.writer
            .run(move |connection| write::push_manifest(connection, &repository, &manifest))
            .await
    }

    async fn delete_tag(&self, repository: &Name, tag: &Tag) -> Result<bool> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.writer
            .run(move |connection| delete::tag(connection, &repository, &tag))
            .await
    }

    async fn delete_manifest(&self, repository: &Name, digest: &Digest) -> Result<bool> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.writer
            .run(move |connection| delete::manifest(connection, &repository, &digest))
            .await
    }

    async fn delete_blob(&self, repository: &Name, digest: &Digest) -> Result<BlobDeletion> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.writer
            .run(move |connection| delete::blob(connection, &repository, &digest))
            .await
    }

    async fn known_manifests(
        &self,
        repository: &Name,
        digests: Vec<Digest>,
    ) -> Result<HashSet<Digest>> {
        let repository = repository.clone();
        self.read(move |connection| list::known_manifests(connection, &repository, digests))
            .await
    }

    async fn referrers(
        &self,
        repository: &Name,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Referrer>> {
        let (repository, subject) = (repository.clone(), subject.clone());
        let (kind, last) = (artifact_type.map(str::to_owned), last.cloned());
        self.read(move |connection| {
            let behind = last.as_ref();
            list::referrers(
                connection,
                &repository,
                &subject,
                kind.as_deref(),
                behind,
                limit,
            )
        })
        .await
    }

    async fn repositories(&self, last: Option<&str>, limit: usize) -> Result<Page<Name>> {
        let last = last.map(str::to_owned);
        self.read(move |connection| list::repositories(connection, last.as_deref(), limit))
            .await
    }

    fn is_read_only(&self) -> bool {
        self.writer.is_read_only()
    }

    async fn manifest(
        &self,
        repository: &Name,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.read(move |connection| read::manifest(connection, &repository, &reference))
            .await
    }

    async fn tags(
        &self,
        repository: &Name,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<Tag>>> {
        let (repository, last) = (repository.clone(), last.map(str::to_owned));
        self.read(move |connection| list::tags(connection, &repository, last.as_deref(), limit))
            .await
    }
}
