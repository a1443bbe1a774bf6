//! What the rules refuse.

use super::{Action, ContentError};
use crate::blobs::{self, UploadId};
use crate::catalog;
use crate::oci::{Digest, InvalidManifest, Name, Reference, Tag};

/// Why a request had no effect.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller may not.
    #[error("{action:?} of repository {name} is not allowed")]
    Denied {
        /// What was asked.
        action: Action,
        /// Of which repository.
        name: Name,
    },
    /// There is no such repository.
    #[error("there is no repository {0}")]
    NameUnknown(Name),
    /// The repository has no such blob.
    #[error("the repository has no blob {0}")]
    BlobUnknown(Digest),
    /// The repository has no such manifest.
    #[error("the repository has no manifest {0}")]
    ManifestUnknown(Reference),
    /// There is no such open upload in the repository.
    #[error("there is no open upload {0} in this repository; start a new one")]
    UploadUnknown(UploadId),
    /// The chunk does not begin where the upload ends.
    #[error("the chunk begins at byte {first}, and the upload goes on at byte {offset}")]
    ChunkOutOfOrder {
        /// Where the chunk begins.
        first: u64,
        /// Where the upload goes on.
        offset: u64,
        /// The upload.
        upload: UploadId,
    },
    /// The body is not as long as its `Content-Range` said.
    #[error("the chunk should have {expected} bytes and has {actual}")]
    ChunkSize {
        /// Bytes that the range names.
        expected: u64,
        /// Bytes that came; more may have been refused.
        actual: u64,
    },
    /// A newer request took the upload over.
    #[error("a newer request on this upload took over")]
    Superseded,
    /// More uploads are open than the server takes, and none ended while we waited.
    #[error("too many uploads are open; try again once some of them have ended")]
    TooManyUploads,
    /// A large manifest did not get its turn.
    #[error("the registry is busy with other large manifests; try again")]
    TooManyManifests,
    /// The disk is full, so that no new upload is taken.
    #[error("the registry's disk is full; free some space on it, or delete images")]
    Full,
    /// The content is not what the client said.
    #[error("the content's digest is {actual}, not {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: Digest,
        /// What was received.
        actual: Digest,
    },
    /// The manifest cannot be stored.
    #[error(transparent)]
    ManifestInvalid(#[from] InvalidManifest),
    /// The manifest references blobs that its repository does not have.
    #[error("the manifest references blobs that the repository does not have; push them first")]
    ManifestBlobsUnknown(Vec<Digest>),
    /// A manifest of the repository is made of the blob.
    #[error("a manifest of the repository needs {0}; delete the manifest first")]
    BlobReferenced(Digest),
    /// The server was told to delete nothing.
    #[error("this registry deletes nothing; its operator switched that off")]
    DeletesDisabled,
    /// A tag does not point to what the push expects.
    #[error("the tag {tag} points to {}, which is not what the request expects",
        current.as_ref().map_or("nothing".to_owned(), Digest::to_string))]
    ConditionFailed {
        /// The tag.
        tag: Tag,
        /// What it points to.
        current: Option<Digest>,
    },
    /// The request's body did not arrive.
    #[error("the request's body was cut off")]
    Content(#[from] ContentError),
    /// The blob store failed.
    #[error("the blob store failed")]
    Blobs(#[from] blobs::Error),
    /// The catalog failed.
    #[error("the catalog failed")]
    Catalog(#[source] catalog::Error),
    /// The operating system gave no random bits.
    #[error("the operating system gave no random bits")]
    Random(#[from] getrandom::Error),
}

/// The result of a rule.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What went wrong with all its causes, in a line for the log or the operator.
    pub fn chain(&self) -> String {
        let mut chain = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            chain = format!("{chain}: {error}");
            source = error.source();
        }
        chain
    }

    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Blobs(error) => error.is_full(),
            Self::Catalog(error) => error.is_full(),
            _ => false,
        }
    }
}

impl From<catalog::Error> for Error {
    fn from(error: catalog::Error) -> Self {
        match error {
            catalog::Error::MissingBlobs(digests) => Self::ManifestBlobsUnknown(digests),
            catalog::Error::ConditionFailed { tag, current } => {
                Self::ConditionFailed { tag, current }
            }
            other => Self::Catalog(other),
        }
    }
}
