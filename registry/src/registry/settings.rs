//! What an operator decides.

use std::time::Duration;

use crate::limits::Limits;

/// How a registry behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether tags, manifests and blobs can be deleted.
    pub deletes: bool,
    /// Whether images are taken that lack some of their blobs.
    pub sparse_images: bool,
    /// How long a blob that nothing needs is kept after its last use.
    pub grace: Duration,
    /// How long nothing is taken after a start, for clients that were in the middle of a push when the
    /// server before this one ended; the grace at most.
    pub settle: Duration,
    /// How long an upload waits for its next request.
    pub upload_expiry: Duration,
    /// How often the catalog is copied, if it was changed.
    pub copy_every: Duration,
    /// What is as large as it is for everybody, unless a program embeds the registry.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deletes: true,
            sparse_images: false,
            grace: Duration::from_secs(3600),
            settle: Duration::from_secs(300),
            upload_expiry: Duration::from_secs(24 * 3600),
            copy_every: Duration::from_secs(3600),
            limits: Limits::default(),
        }
    }
}
