//! What belongs to what: which repository has which blobs, manifests and tags.
//!
//! A catalog's methods are whole transactions in the registry's words. A method that changes
//! something returns after the change is on disk. References are rows, written in the same
//! transaction as what they belong to, so they are exact: what is garbage is a query.

mod referrer;
mod sqlite;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::blobs::{Location, UploadId};
use crate::oci::{Digest, Manifest, MediaType, Name, Reference, Tag};

pub use referrer::Referrer;
pub use sqlite::SqliteCatalog;

/// A blob, as seen from a repository that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRecord {
    /// Bytes.
    pub size: u64,
    /// Where they are.
    pub location: Location,
    /// Whether no manifest of the repository needs it, so that it goes when nobody asks for it.
    pub loose: bool,
}

/// A blob that a repository has and that no manifest of the repository needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LooseBlob {
    /// The repository.
    pub repository: Name,
    /// The blob.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was last pushed, mounted or asked for, in seconds since 1970.
    pub last_used: i64,
    /// What the catalog knows it by: its last use as listed, its repository, its blob.
    key: (i64, i64, i64),
}

#[cfg(test)]
impl LooseBlob {
    /// One as a list has it.
    pub(crate) fn of(repository: Name, digest: Digest) -> Self {
        Self {
            repository,
            digest,
            size: 1,
            last_used: 0,
            key: (0, 0, 0),
        }
    }
}

/// What a collection took out of the catalog.
#[derive(Debug, Default)]
pub struct Collected {
    /// Blobs that repositories had, and have no more.
    pub memberships: usize,
    /// The bytes that nothing names any more, with how many there are.
    pub blobs: Vec<(Location, u64)>,
}

/// The copy of a blob that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// Where it is.
    pub location: Location,
    /// Bytes it should have.
    pub size: u64,
    /// When they were last hashed, in seconds since 1970.
    pub verified_at: i64,
    /// Whether they were found wrong.
    pub bad: bool,
}

/// A repository that keeps a blob, and why it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// The repository.
    pub repository: Name,
    /// Why.
    pub by: KeptBy,
}

/// What keeps a blob in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptBy {
    /// A manifest that is made of it.
    Manifest {
        /// The manifest.
        digest: Digest,
        /// The tags that point to it.
        tags: Vec<Tag>,
    },
    /// Its last use, in seconds since 1970, until the grace is over.
    Use(i64),
}

/// A manifest, as it was pushed.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// The digest of `payload`.
    pub digest: Digest,
    /// What it was pushed as.
    pub media_type: MediaType,
    /// The very bytes that were pushed.
    pub payload: bytes::Bytes,
}

/// A manifest to push.
#[derive(Debug, Clone)]
pub struct NewManifest {
    /// The digest of `payload`.
    pub digest: Digest,
    /// What `payload` says.
    pub manifest: Manifest,
    /// The bytes as they were received.
    pub payload: bytes::Bytes,
    /// The tags that shall point to it.
    pub tags: Vec<Tag>,
    /// What has to hold of each of the tags before.
    pub condition: Option<Condition>,
    /// Whether the repository may lack blobs that the manifest names.
    pub may_be_sparse: bool,
}

/// What a manifest names and its repository lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Blobs, other than those that belong elsewhere.
    pub blobs: usize,
    /// Manifests of an index.
    pub children: usize,
}

/// What a tag has to point to for a push to move it: a compare and swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing: the tag is new.
    Absent,
    /// Anything: the tag is there.
    Present,
    /// One of these manifests.
    PointsTo(Vec<Digest>),
}

/// What became of a blob that was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobDeletion {
    /// The repository does not have it any more. Where it was the last one that had it, these bytes
    /// can go.
    Deleted(Option<Location>),
    /// The repository did not have it.
    Unknown,
    /// A manifest of the repository is made of it.
    Referenced,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The page's items, in order.
    pub items: Vec<T>,
    /// Whether there are items after them.
    pub more: bool,
}

/// What may go wrong with a catalog.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest cannot be pushed, because its repository has not all of its blobs.
    #[error("the repository does not have {}", list(.0))]
    MissingBlobs(Vec<Digest>),
    /// A tag does not point to what the push expected.
    #[error("the tag {tag} points to {}", current.as_ref().map_or("nothing".to_owned(), Digest::to_string))]
    ConditionFailed {
        /// The tag.
        tag: Tag,
        /// What it points to.
        current: Option<Digest>,
    },
    /// The database failed.
    #[error("the catalog failed")]
    Database(#[from] rusqlite::Error),
    /// An earlier write failed in a way that leaves open what is on disk.
    #[error(
        "the catalog is read-only since a write to it failed; restart the server once its disk is well"
    )]
    ReadOnly,
    /// The database is of a newer wharf.
    #[error(
        "the catalog has format {found}, and this wharf knows formats up to {known}; use a newer wharf"
    )]
    Format {
        /// The version that the file says.
        found: i64,
        /// The newest that we know.
        known: i64,
    },
    /// What stands in the database cannot have come from us.
    #[error("the catalog holds {0:?}, which this program never writes there")]
    Corrupt(String),
    /// The bytes of a manifest are not those that were stored.
    #[error("the manifest {0} is damaged")]
    DamagedManifest(Digest),
    /// The database could not be copied.
    #[error("could not copy the catalog to {to}", to = to.display())]
    Copy {
        /// Where to.
        to: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The server is stopping.
    #[error("the catalog is closed")]
    Closed,
}

/// The result of a catalog operation.
pub type Result<T> = std::result::Result<T, Error>;

/// The transactions that the registry is made of.
#[async_trait::async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// The id that the catalog was made with; its blob store carries the same.
    fn store_id(&self) -> &str;

    /// Whether no blob is known at all.
    async fn is_empty(&self) -> Result<bool>;

    /// A good blob that `repository` has.
    async fn blob(&self, repository: &Name, digest: &Digest) -> Result<Option<BlobRecord>>;

    /// Whether the store has a good copy of a blob, whatever repository has it.
    async fn has_blob(&self, digest: &Digest) -> Result<bool>;

    /// Gives `repository` a blob that is on disk. Where the store had a good copy already, that one
    /// stays in force; a bad one is replaced. Returns the copies that nothing names any more
    /// and that are to be deleted.
    async fn add_blob(
        &self,
        repository: &Name,
        digest: &Digest,
        size: u64,
        upload: &UploadId,
    ) -> Result<Vec<Location>>;

    /// Gives `repository` a blob that the store has a good copy of: one that `from` has, or any
    /// without `from`. Says whether there is one.
    async fn mount(&self, repository: &Name, digest: &Digest, from: Option<&Name>) -> Result<bool>;

    /// Stores a manifest with its references and lets its tags point to it, all or nothing. Says
    /// what is missing from it.
    ///
    /// # Errors
    /// [`Error::MissingBlobs`], [`Error::ConditionFailed`]
    async fn push_manifest(&self, repository: &Name, manifest: NewManifest) -> Result<Missing>;

    /// Removes a tag; the manifest stays. Says whether there was one.
    async fn delete_tag(&self, repository: &Name, tag: &Tag) -> Result<bool>;

    /// Removes a manifest with the tags that point to it. Says whether there was one.
    async fn delete_manifest(&self, repository: &Name, digest: &Digest) -> Result<bool>;

    /// Takes a blob away from a repository, where no manifest of it needs the blob. Once this has
    /// returned, bytes that nothing names any more can go.
    async fn delete_blob(&self, repository: &Name, digest: &Digest) -> Result<BlobDeletion>;

    /// Those of `digests` that are manifests of the repository.
    async fn known_manifests(
        &self,
        repository: &Name,
        digests: Vec<Digest>,
    ) -> Result<HashSet<Digest>>;

    /// The manifests of a repository that refer to `subject`, in the order of their digests,
    /// `limit` at most, starting behind `last`; only those of one artifact type if it is given.
    async fn referrers(
        &self,
        repository: &Name,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Referrer>>;

    /// Repositories that have a manifest, in ASCII order, `limit` at most, starting behind `last`.
    async fn repositories(&self, last: Option<&str>, limit: usize) -> Result<Page<Name>>;

    /// Blobs that no manifest of their repository needs and that were last used before
    /// `used_before`, the longest unused first, `limit` at most, starting behind `behind`.
    async fn loose_blobs(
        &self,
        used_before: i64,
        behind: Option<LooseBlob>,
        limit: usize,
    ) -> Result<Vec<LooseBlob>>;

    /// Takes these blobs away from their repositories, except those that were used or needed since
    /// they were listed. Once this has returned, the bytes that nothing names any more can go.
    async fn collect(&self, garbage: Vec<LooseBlob>) -> Result<Collected>;

    /// Writes down when loose blobs were used.
    async fn write_uses(&self, uses: Vec<(Name, Digest, i64)>) -> Result<()>;

    /// Those of `locations` that the catalog names.
    async fn known_locations(&self, locations: Vec<Location>) -> Result<HashSet<Location>>;

    /// Blobs that were not verified since `before`, the longest ago first.
    async fn unverified(&self, before: i64, limit: usize) -> Result<Vec<StoredBlob>>;

    /// All blobs that were not found wrong, in the order of their digests, starting behind `behind`.
    async fn stored_blobs(&self, behind: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>>;

    /// Blobs that were found wrong.
    async fn bad_blobs(&self, limit: usize) -> Result<Vec<StoredBlob>>;

    /// The copy of a blob that is in force, whatever repository has it, and good or not.
    async fn stored_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>>;

    /// Writes down which copies were found good (`true`) and which wrong. A wrong blob is unknown to
    /// everyone until it is pushed again. Says how many of them are still in force.
    async fn record_verified(&self, results: Vec<(Location, bool)>) -> Result<usize>;

    /// What keeps a blob; `limit` reasons of each kind at most.
    async fn keepers(&self, digest: &Digest, limit: usize) -> Result<Vec<Keeper>>;

    /// Which of the catalogs that this store had this is: it counts up.
    async fn generation(&self) -> Result<i64>;

    /// Sets it.
    async fn set_generation(&self, generation: i64) -> Result<()>;

    /// Whether the last process wrote down all that it knew. From now on it counts as not having
    /// done so, until [`Catalog::end_well`].
    async fn begin(&self) -> Result<bool>;

    /// Says that all is written down.
    async fn end_well(&self) -> Result<()>;

    /// Writes a copy of the whole catalog to a file.
    async fn copy(&self, to: &Path) -> Result<()>;

    /// How much was pushed, mounted, deleted and collected since it was opened: a number that grows with every
    /// such change once that is on disk, and with nothing else.
    fn changes(&self) -> u64;

    /// Whether writes are refused since one failed.
    fn is_read_only(&self) -> bool;

    /// The manifest that a reference names.
    ///
    /// # Errors
    /// [`Error::DamagedManifest`]
    async fn manifest(
        &self,
        repository: &Name,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>>;

    /// Tags in ASCII order, `limit` at most, starting behind `last`; nothing where there is no such
    /// repository.
    async fn tags(
        &self,
        repository: &Name,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<Tag>>>;
}

impl Error {
    /// Whether the disk (or a quota) is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Database(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }
}

impl fmt::Display for Keeper {
    /// `NAME:TAG`, or `NAME@DIGEST` where no tag points to the manifest, or the repository alone.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.repository)?;
        match &self.by {
            KeptBy::Manifest { digest, tags } => match tags.first() {
                Some(tag) => write!(formatter, ":{tag}"),
                None => write!(formatter, "@{digest}"),
            },
            KeptBy::Use(_) => Ok(()),
        }
    }
}

fn list(digests: &[Digest]) -> String {
    digests
        .iter()
        .map(Digest::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
