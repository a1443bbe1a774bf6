//! Pieces of answers that several endpoints share.

use axum::http::HeaderValue;

use crate::blobs::UploadId;
use crate::oci::{Digest, Name};

/// A header of text that is known to be printable.
pub(super) fn text(value: impl Into<String>) -> HeaderValue {
    HeaderValue::try_from(value.into()).unwrap_or(HeaderValue::from_static(""))
}

/// How much of an upload is stored, as `0-<last byte>`. The form cannot say "nothing"; as every
/// registry does, `0-0` stands for it.
pub(super) fn range_so_far(size: u64) -> HeaderValue {
    text(format!("0-{}", size.saturating_sub(1)))
}

/// Where an upload goes on. Locations are relative, so that they are right behind every proxy and
/// port-forward.
pub(super) fn upload_location(name: &Name, upload: &UploadId) -> HeaderValue {
    text(format!("/v2/{name}/blobs/uploads/{upload}"))
}

/// Where a blob is.
pub(super) fn blob_location(name: &Name, digest: &Digest) -> HeaderValue {
    text(format!("/v2/{name}/blobs/{digest}"))
}

/// Where a manifest is.
pub(super) fn manifest_location(name: &Name, digest: &Digest) -> HeaderValue {
    text(format!("/v2/{name}/manifests/{digest}"))
}

/// The entity tag of content that is addressed by digest.
pub(super) fn entity_tag(digest: &Digest) -> HeaderValue {
    text(format!("\"{digest}\""))
}
