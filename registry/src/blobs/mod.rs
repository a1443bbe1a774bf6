//! Bytes by location: where uploads grow and where blobs rest.
//!
//! A store knows nothing of repositories, tags or references, and never decides what is garbage.

mod fs;
pub(crate) mod window;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::oci::{Algorithm, Digest};

pub use fs::FsStore;

/// Names an upload session, and later the file that the upload became: 128 random bits, so that no
/// one can guess another's.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UploadId(Box<str>);

/// Where a blob's bytes are. Every upload has a location of its own, so a digest that is pushed
/// again never touches the copy that was there before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// The digest that the bytes were checked against before they came here.
    pub digest: Digest,
    /// The upload that they came with.
    pub upload: UploadId,
}

/// An upload that was begun and neither committed nor discarded.
#[derive(Debug, Clone)]
pub struct OpenUpload {
    /// Its name.
    pub upload: UploadId,
    /// What the caller of [`BlobStore::create_upload`] noted on it; empty where that was lost.
    pub notes: Vec<u8>,
    /// Bytes stored.
    pub size: u64,
    /// When it was last written to, in seconds since 1970.
    pub written_at: i64,
}

/// A blob's bytes as they lie in the store, whoever knows of them.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// Whose they are.
    pub location: Location,
    /// How many they are.
    pub size: u64,
    /// When they were last written to, or taken out of sight, in seconds since 1970.
    pub placed_at: i64,
}

/// What a store remembers of itself, in a line of text each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The id that the store was made with.
    StoreId,
    /// The newest catalog that it was used with.
    Generation,
}

/// How much room is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Files that can still be made; nothing where the file system does not count them.
    pub free_files: Option<u64>,
}

/// What may go wrong between us and the disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no.
    #[error("could not {action} {what}")]
    Io {
        /// A verb: what was being done.
        action: &'static str,
        /// To which file or folder.
        what: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A blob's file is missing or is not what the catalog says: it was damaged from outside.
    #[error("{location:?}: {reason}")]
    Damaged {
        /// The blob.
        location: Location,
        /// What is wrong with it.
        reason: String,
    },
    /// There are no bytes.
    #[error("{0:?} is not there")]
    Missing(Location),
    /// The content has another digest than the client said.
    #[error("the content's digest is {actual}")]
    DigestMismatch {
        /// What was hashed.
        actual: Digest,
    },
    /// A request was cut off in the middle of a write, so this writer is of no use any more.
    /// Resuming the upload gives a new one.
    #[error("an earlier write to this upload was cut off")]
    Interrupted,
}

/// The result of a storage operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Where the pieces of a blob may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pieces {
    /// In memory of their own: for whoever looks at them.
    Copied,
    /// Where the system has the file in memory: for whoever passes them on, unseen, to a socket. To touch them ends the
    /// process if the file gets shorter, or the disk fails, in this moment.
    Lent,
}

/// A place for blobs and for the uploads that become blobs.
#[async_trait::async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// What the store remembers of itself.
    async fn note(&self, note: Note) -> Result<Option<String>>;

    /// Makes it remember something, durably.
    async fn set_note(&self, note: Note, text: &str) -> Result<()>;

    /// Begins an upload. `notes` are the caller's, given back by [`BlobStore::uploads`].
    async fn create_upload(
        &self,
        upload: &UploadId,
        notes: &[u8],
        algorithm: Algorithm,
    ) -> Result<Box<dyn UploadWriter>>;

    /// The uploads that were begun and neither committed nor discarded.
    async fn uploads(&self) -> Result<Vec<OpenUpload>>;

    /// Goes on with an upload that has no writer any more: hashes what is stored, whatever that is.
    async fn resume_upload(
        &self,
        upload: &UploadId,
        algorithm: Algorithm,
    ) -> Result<Box<dyn UploadWriter>>;

    /// Ends an upload and gives its space back. No error where there is none.
    async fn discard_upload(&self, upload: &UploadId) -> Result<()>;

    /// `length` bytes of a blob from `offset` on, in large pieces. `size` is what the blob should
    /// have in all; a blob of another size is an error before the first byte.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Io`].
    async fn read(
        &self,
        location: &Location,
        size: u64,
        offset: u64,
        length: u64,
        pieces: Pieces,
    ) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// How large the blob at `location` is, if there is one and it has the right content: what tells that an
    /// upload was committed before its process ended.
    async fn committed(&self, location: &Location) -> Result<Option<u64>>;

    /// Gives blobs' space back, as far as that can be done. No error where there is none.
    async fn delete(&self, locations: Vec<Location>) -> Result<()>;

    /// A part of all blobs' bytes: `part` counts from 0, and behind the last one there is nothing.
    async fn list(&self, part: usize) -> Result<Option<Vec<StoredFile>>>;

    /// Takes bytes out of sight at the time `now`, without giving their space back yet.
    async fn quarantine(&self, location: &Location, now: i64) -> Result<()>;

    /// What was taken out of sight, and when.
    async fn quarantined(&self) -> Result<Vec<StoredFile>>;

    /// Brings back what was taken out of sight.
    async fn restore(&self, location: &Location) -> Result<()>;

    /// Gives the space back of what was taken out of sight before `before`.
    async fn expel(&self, before: i64) -> Result<()>;

    /// How much room is left.
    async fn space(&self) -> Result<Space>;

    /// Keeps about `bytes` back, to be given up when the room is short; 0 gives them up.
    async fn keep_ballast(&self, bytes: u64) -> Result<()>;
}

/// The growing end of one upload.
#[async_trait::async_trait]
pub trait UploadWriter: Send {
    /// Bytes stored so far.
    fn size(&self) -> u64;

    /// Writes and hashes `frames`. After an error or when the future is dropped, the writer is of
    /// no use any more.
    async fn append(&mut self, frames: Vec<Bytes>) -> Result<()>;

    /// Compares the content with `digest`, reading it again where the digest's algorithm is not the
    /// one that was hashed with.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`]
    async fn verify(&mut self, digest: &Digest) -> Result<()>;

    /// Makes the verified content a blob that survives power loss. When this returns, all of it is
    /// on disk under its final name; before, nothing of it is. What is left of the upload is for
    /// [`BlobStore::discard_upload`].
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Location>;
}

impl UploadId {
    /// A new one.
    ///
    /// # Errors
    /// Where the operating system gives no random bits.
    pub fn random() -> std::result::Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        // The specification wants a UUID: version 4, of the variant of RFC 9562.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Self(
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                .into(),
        ))
    }

    /// The id as 32 lower-case hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let good = text.len() == 32
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.into())) } else { Err(()) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error {
    /// Whether the disk (or a quota) is full.
    pub fn is_full(&self) -> bool {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}
