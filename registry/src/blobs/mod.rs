//! Bytes by location: where uploads grow and where blobs rest.
//!
//! A store knows nothing of repositories, tags or references, and never decides what is garbage.

mod fs;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The digest that the bytes were checked against before they came here.
    pub digest: Digest,
    /// The upload that they came with.
    pub upload: UploadId,
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
    /// A blob is not as long as the catalog says: it was damaged from outside.
    #[error("{location:?} has {actual} bytes instead of {expected}")]
    Damaged {
        /// The blob.
        location: Location,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        actual: u64,
    },
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

/// A place for blobs and for the uploads that become blobs.
#[async_trait::async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// The id that this store was made with, or nothing in a store that was just made.
    async fn store_id(&self) -> Result<Option<String>>;

    /// Gives the store its id, durably. Done once in its life.
    async fn set_store_id(&self, id: &str) -> Result<()>;

    /// Begins an upload. `session` are the caller's notes on it, given back by
    /// [`BlobStore::uploads`].
    async fn create_upload(
        &self,
        upload: &UploadId,
        session: &[u8],
        algorithm: Algorithm,
    ) -> Result<Box<dyn UploadWriter>>;

    /// The uploads that were begun and neither committed nor discarded, with their notes.
    async fn uploads(&self) -> Result<Vec<(UploadId, Vec<u8>)>>;

    /// How many bytes of an upload are stored.
    async fn upload_size(&self, upload: &UploadId) -> Result<u64>;

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
    async fn read(
        &self,
        location: &Location,
        size: u64,
        offset: u64,
        length: u64,
    ) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// How large the blob at `location` is, if there is one: what tells that an upload was
    /// committed before its process ended.
    async fn committed(&self, location: &Location) -> Result<Option<u64>>;

    /// Gives a blob's space back. No error where there is none.
    async fn delete(&self, location: &Location) -> Result<()>;
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
