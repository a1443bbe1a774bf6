//! The catalog in a SQLite database.

mod cache;
mod checkpoint;
mod delete;
mod keep;
mod list;
mod loose;
mod meta;
#[cfg(test)]
mod races;
mod read;
mod readers;
mod verify;
mod write;
mod writer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::{
    BlobDeletion, BlobRecord, Catalog, Collected, Error, Keeper, LooseBlob, Missing, NewManifest,
    Page, Referrer, Result, StoredBlob, StoredManifest,
};
use crate::blobs::{Location, UploadId};
use crate::clock::Clock;
use crate::limits;
use crate::oci::{Digest, Name, Reference, Tag};
use cache::{Kept, Stale};
use readers::Readers;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use writer::Writer;

/// The format of the database, kept in its `user_version`.
const FORMAT: i64 = 2;

/// A [`Catalog`] in one SQLite file.
///
/// All writes go through one thread, which puts what is waiting into one transaction and answers
/// after it is on disk (`synchronous=FULL`). Reads have connections of their own and see what was
/// committed last. One process at a time may have the file open; the data folder's lock sees to
/// that.
pub struct SqliteCatalog {
    store_id: String,
    clock: Clock,
    writer: Writer,
    readers: Readers,
    kept: Arc<Kept>,
}

impl SqliteCatalog {
    /// Opens the catalog at `path`, making one with the id `new_store_id` where there is none.
    ///
    /// # Errors
    /// [`Error::Format`] for a newer wharf's; [`Error::Database`].
    pub fn open(path: &Path, new_store_id: &str, clock: Clock) -> Result<Self> {
        let mut connection = open_writer(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            0 => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.execute(
                    "INSERT INTO meta (key, value) VALUES ('store_id', ?)",
                    [new_store_id],
                )?;
                // Nothing was lost before there was anything.
                meta::set_ended_well(&transaction, true)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
            }
            1 => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(include_str!("from_1_to_2.sql"))?;
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
        loose::cap_uses(&connection, clock.now())?;
        let kept = Arc::new(Kept::new());
        Ok(Self {
            store_id,
            clock,
            writer: Writer::start(connection, path, kept.clone())?,
            readers: Readers::new(path),
            kept,
        })
    }
}

fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_plans(&connection)?;
    Ok(connection)
}

/// Prepares each statement once. Left alone, SQLite prepares it again for each new value that is compared with a column,
/// because another plan might suit that value better; there is one good plan for each of ours.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

#[async_trait::async_trait]
impl Catalog for SqliteCatalog {
    fn store_id(&self) -> &str {
        &self.store_id
    }

    async fn is_empty(&self) -> Result<bool> {
        self.readers.read(read::is_empty).await
    }

    async fn blob(&self, repository: &Name, digest: &Digest) -> Result<Option<BlobRecord>> {
        let key = (repository.clone(), digest.clone());
        let ticket = match self.kept.blobs.get(&key) {
            Ok(record) => return Ok(Some(record)),
            Err(ticket) => ticket,
        };
        let (key, found) = self
            .readers
            .glance(move |connection| {
                let found = read::blob(connection, &key.0, &key.1)?;
                Ok((key, found))
            })
            .await?;
        if let Some(record) = &found {
            self.kept.blobs.keep(ticket, key, record.clone());
        }
        Ok(found)
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let digest = digest.clone();
        self.readers
            .glance(move |connection| read::has_blob(connection, &digest))
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
        let now = self.clock.now();
        self.writer
            .change(move |connection| {
                let copies = write::add_blob(connection, &repository, &digest, size, &upload, now)?;
                Ok((copies, Stale::blob(&repository, &digest)))
            })
            .await
    }

    async fn mount(&self, repository: &Name, digest: &Digest, from: Option<&Name>) -> Result<bool> {
        let (repository, digest, from) = (repository.clone(), digest.clone(), from.cloned());
        let now = self.clock.now();
        self.writer
            .change(move |connection| {
                let found = write::mount(connection, &repository, &digest, from.as_ref(), now)?;
                Ok((found, Stale::blob(&repository, &digest)))
            })
            .await
    }

    async fn push_manifest(&self, repository: &Name, manifest: NewManifest) -> Result<Missing> {
        let repository = repository.clone();
        let now = self.clock.now();
        self.writer
            .change(move |connection| {
                let missing = write::push_manifest(connection, &repository, &manifest, now)?;
                let digest = Reference::Digest(manifest.digest);
                let mut stale = Stale::default().and_manifest(&repository, digest);
                for tag in &manifest.tags {
                    stale = stale.and_tag(&repository, tag);
                }
                // They are not loose any more.
                let needed = manifest.manifest;
                for blob in needed.blobs.iter().chain(&needed.foreign_blobs) {
                    stale = stale.and_blob(&repository, blob);
                }
                Ok((missing, stale))
            })
            .await
    }

    async fn delete_tag(&self, repository: &Name, tag: &Tag) -> Result<bool> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.writer
            .change(move |connection| {
                let deleted = delete::tag(connection, &repository, &tag)?;
                Ok((deleted, Stale::default().and_tag(&repository, &tag)))
            })
            .await
    }

    async fn delete_manifest(&self, repository: &Name, digest: &Digest) -> Result<bool> {
        let (repository, digest) = (repository.clone(), digest.clone());
        let now = self.clock.now();
        self.writer
            .change(move |connection| {
                let deleted = delete::manifest(connection, &repository, &digest, now)?;
                let mut stale = Stale::default();
                if let Some(deleted) = &deleted {
                    stale = stale.and_manifest(&repository, Reference::Digest(digest));
                    for tag in &deleted.tags {
                        stale = stale.and_tag(&repository, tag);
                    }
                    for blob in &deleted.blobs {
                        stale = stale.and_blob(&repository, blob);
                    }
                }
                Ok((deleted.is_some(), stale))
            })
            .await
    }

    async fn delete_blob(&self, repository: &Name, digest: &Digest) -> Result<BlobDeletion> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.writer
            .change(move |connection| {
                let deletion = delete::blob(connection, &repository, &digest)?;
                Ok((deletion, Stale::blob(&repository, &digest)))
            })
            .await
    }

    async fn known_manifests(
        &self,
        repository: &Name,
        digests: Vec<Digest>,
    ) -> Result<HashSet<Digest>> {
        let repository = repository.clone();
        self.readers
            .glance(move |connection| list::known_manifests(connection, &repository, digests))
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
        self.readers
            .list(limit, move |connection| {
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
        self.readers
            .list(limit, move |connection| {
                list::repositories(connection, last.as_deref(), limit)
            })
            .await
    }

    async fn loose_blobs(
        &self,
        used_before: i64,
        behind: Option<LooseBlob>,
        limit: usize,
    ) -> Result<Vec<LooseBlob>> {
        self.readers
            .read(move |connection| loose::list(connection, used_before, behind.as_ref(), limit))
            .await
    }

    async fn collect(&self, garbage: Vec<LooseBlob>) -> Result<Collected> {
        self.writer
            .change(move |connection| {
                let collected = loose::collect(connection, &garbage)?;
                let stale = garbage.iter().fold(Stale::default(), |stale, loose| {
                    stale.and_blob(&loose.repository, &loose.digest)
                });
                Ok((collected, stale))
            })
            .await
    }

    async fn write_uses(&self, uses: Vec<(Name, Digest, i64)>) -> Result<()> {
        self.writer
            .note(move |connection| loose::write_uses(connection, &uses))
            .await
    }

    async fn known_locations(&self, locations: Vec<Location>) -> Result<HashSet<Location>> {
        self.readers
            .read(move |connection| read::known_locations(connection, locations))
            .await
    }

    async fn unverified(&self, before: i64, limit: usize) -> Result<Vec<StoredBlob>> {
        self.readers
            .read(move |connection| verify::due(connection, before, limit))
            .await
    }

    async fn stored_blobs(&self, behind: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>> {
        let behind = behind.cloned();
        self.readers
            .read(move |connection| verify::all(connection, behind.as_ref(), limit))
            .await
    }

    async fn bad_blobs(&self, limit: usize) -> Result<Vec<StoredBlob>> {
        self.readers
            .read(move |connection| verify::bad(connection, limit))
            .await
    }

    async fn stored_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>> {
        let digest = digest.clone();
        self.readers
            .read(move |connection| verify::find(connection, &digest))
            .await
    }

    async fn record_verified(&self, results: Vec<(Location, bool)>) -> Result<usize> {
        let now = self.clock.now();
        self.writer
            .submit(
                move |connection| {
                    let changed = verify::record(connection, &results, now)?;
                    // Any repository may have what is unknown to all from now on.
                    let stale = match results.iter().all(|(_, good)| *good) {
                        true => Stale::default(),
                        false => Stale::all_blobs(),
                    };
                    Ok((changed, stale))
                },
                None,
            )
            .await
    }

    async fn keepers(&self, digest: &Digest, limit: usize) -> Result<Vec<Keeper>> {
        let digest = digest.clone();
        self.readers
            .read(move |connection| keep::keepers(connection, &digest, limit))
            .await
    }

    async fn generation(&self) -> Result<i64> {
        self.readers
            .read(|connection| Ok(meta::standing(connection)?.generation))
            .await
    }

    async fn set_generation(&self, generation: i64) -> Result<()> {
        self.writer
            .note(move |connection| meta::set_generation(connection, generation))
            .await
    }

    async fn begin(&self) -> Result<bool> {
        self.writer
            .note(|connection| {
                let ended_well = meta::standing(connection)?.ended_well;
                meta::set_ended_well(connection, false)?;
                Ok(ended_well)
            })
            .await
    }

    async fn end_well(&self) -> Result<()> {
        self.writer
            .note(|connection| meta::set_ended_well(connection, true))
            .await
    }

    async fn copy(&self, to: &Path) -> Result<()> {
        let to = to.to_owned();
        self.readers
            .read(move |connection| meta::copy(connection, &to))
            .await
    }

    fn changes(&self) -> u64 {
        self.writer.changes()
    }

    fn is_read_only(&self) -> bool {
        self.writer.is_read_only()
    }

    async fn manifest(
        &self,
        repository: &Name,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let key = (repository.clone(), reference.clone());
        let ticket = match self.kept.manifests.get(&key) {
            Ok(manifest) => return Ok(Some(manifest)),
            Err(ticket) => ticket,
        };
        let (key, found) = self
            .readers
            .glance(move |connection| {
                let found = read::manifest(connection, &key.0, &key.1)?;
                Ok((key, found))
            })
            .await?;
        if let Some(manifest) = &found
            && manifest.payload.len() <= limits::KEPT_MANIFEST
        {
            self.kept.manifests.keep(ticket, key, manifest.clone());
        }
        Ok(found)
    }

    async fn tags(
        &self,
        repository: &Name,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<Tag>>> {
        let (repository, last) = (repository.clone(), last.map(str::to_owned));
        self.readers
            .list(limit, move |connection| {
                list::tags(connection, &repository, last.as_deref(), limit)
            })
            .await
    }
}
