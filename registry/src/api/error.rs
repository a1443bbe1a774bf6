//! One mapping from what the rules refuse to what clients are told.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oci_spec::distribution::ErrorCode;
use serde_json::{Value, json};

use super::response::{range_so_far, text};
use super::route::{Target, Unroutable};
use crate::catalog;
use crate::limits;
use crate::oci::{Digest, InvalidDigest, InvalidReference};
use crate::registry::{ContentError, Error};

/// An answer that says no: in JSON, with a code of the specification, because clients do not retry
/// what they cannot parse.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// Nothing for what the specification has no code for.
    code: Option<ErrorCode>,
    message: String,
    detail: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Box<Error>>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code: Some(code),
            message: message.into(),
            detail: Value::Null,
            headers: Vec::new(),
            cause: None,
        }
    }

    pub(super) fn internal() -> Self {
        let message = "the registry failed; its log says why".to_owned();
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: None,
            message,
            detail: Value::Null,
            headers: Vec::new(),
            cause: None,
        }
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::ManifestInvalid,
            format!("a manifest may have {limit} bytes at most"),
        )
    }

    pub(super) fn method_not_allowed(target: &Target) -> Self {
        let allowed = match target {
            Target::Version | Target::Tags { .. } | Target::Referrers { .. } | Target::Catalog => {
                "GET, HEAD"
            }
            Target::Blob { .. } => "GET, HEAD, DELETE",
            Target::Uploads { .. } => "POST",
            Target::Upload { .. } => "GET, HEAD, PATCH, PUT, DELETE",
            Target::Manifest { .. } => "GET, HEAD, PUT, DELETE",
        };
        Self::supports(allowed)
    }

    /// For what can only be read, and is none of the specification's resources.
    pub(super) fn only_get() -> Self {
        Self::supports("GET, HEAD")
    }

    fn supports(allowed: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Unsupported,
            format!("this resource supports {allowed}"),
        )
        .header(header::ALLOW, HeaderValue::from_static(allowed))
    }

    pub(super) fn invalid_digest(error: InvalidDigest) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::DigestInvalid,
            error.to_string(),
        )
    }

    pub(super) fn range_not_satisfiable(size: u64) -> Self {
        let message = format!("the blob has {size} bytes, and none of them is in the range");
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            ErrorCode::SizeInvalid,
            message,
        )
        .header(header::CONTENT_RANGE, text(format!("bytes */{size}")))
    }

    /// Whether the fault is on this side, and so belongs into the log.
    pub(super) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// The fault with all its causes.
    pub(super) fn chain(&self) -> String {
        match &self.cause {
            Some(cause) => cause.chain(),
            None => self.message.clone(),
        }
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

/// A message may quote what the client sent, and that may be a manifest of megabytes.
fn shorten(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(limits::MESSAGE_CHARACTERS) {
        message.truncate(end);
        message.push('…');
    }
    message
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code.map_or(json!("UNKNOWN"), |code| json!(code));
        let mut error = json!({"code": code, "message": shorten(self.message)});
        if !self.detail.is_null() {
            error["detail"] = self.detail;
        }
        let body = axum::Json(json!({"errors": [error]}));
        let mut response = (self.status, body).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<Unroutable> for ApiError {
    fn from(unroutable: Unroutable) -> Self {
        match unroutable {
            Unroutable::NotFound => Self::new(
                StatusCode::NOT_FOUND,
                ErrorCode::Unsupported,
                "this registry has no such resource",
            ),
            Unroutable::Name(error) => Self::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::NameInvalid,
                error.to_string(),
            ),
            Unroutable::Digest(error) | Unroutable::Reference(InvalidReference::Digest(error)) => {
                Self::invalid_digest(error)
            }
            Unroutable::Reference(InvalidReference::Tag(error)) => Self::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::ManifestInvalid,
                error.to_string(),
            ),
            Unroutable::Upload => Self::new(
                StatusCode::NOT_FOUND,
                ErrorCode::BlobUploadUnknown,
                "there is no such upload; start a new one",
            ),
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let mut answer = match &error {
            Error::Denied { .. } => Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message),
            Error::NameUnknown(name) => {
                Self::new(StatusCode::NOT_FOUND, ErrorCode::NameUnknown, message)
                    .detail(json!({"name": name.as_str()}))
            }
            Error::BlobUnknown(digest) => {
                Self::new(StatusCode::NOT_FOUND, ErrorCode::BlobUnknown, message)
                    .detail(json!({"digest": digest.to_string()}))
            }
            Error::ManifestUnknown(reference) => {
                Self::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, message)
                    .detail(json!({"reference": reference.to_string()}))
            }
            Error::UploadUnknown(_) => {
                Self::new(StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown, message)
            }
            // The upload lives on: the client is told where it stands.
            Error::ChunkOutOfOrder { offset, .. } => Self::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                ErrorCode::BlobUploadInvalid,
                message,
            )
            .header(header::RANGE, range_so_far(*offset))
            .detail(json!({"offset": offset})),
            Error::ChunkSize { .. } => {
                Self::new(StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid, message)
            }
            Error::Superseded => {
                Self::new(StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid, message)
            }
            // Not TOOMANYREQUESTS: Docker gives up at once on that code, and tries again on this.
            Error::TooManyUploads | Error::TooManyManifests => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::BlobUploadInvalid,
                message,
            )
            .header(header::RETRY_AFTER, HeaderValue::from_static("30")),
            Error::DigestMismatch { expected, actual } => {
                Self::new(StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid, message)
                    .detail(json!({"expected": expected.to_string(), "actual": actual.to_string()}))
            }
            Error::ManifestInvalid(_) => {
                Self::new(StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid, message)
            }
            Error::BlobReferenced(_) => Self::new(StatusCode::CONFLICT, ErrorCode::Denied, message),
            Error::DeletesDisabled => Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                ErrorCode::Unsupported,
                message,
            ),
            Error::ConditionFailed { current, .. } => {
                Self::new(StatusCode::PRECONDITION_FAILED, ErrorCode::Denied, message)
                    .detail(json!({"current": current.as_ref().map(Digest::to_string)}))
            }
            Error::ManifestBlobsUnknown(digests) => {
                let digests = digests.iter().take(limits::NAMED_BLOBS);
                let digests: Vec<_> = digests.map(ToString::to_string).collect();
                Self::new(
                    StatusCode::BAD_REQUEST,
                    ErrorCode::ManifestBlobUnknown,
                    message,
                )
                .detail(json!({"digests": digests}))
            }
            Error::Content(ContentError::Idle(_)) => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                ErrorCode::BlobUploadInvalid,
                message,
            )
            .header(header::CONNECTION, HeaderValue::from_static("close")),
            Error::Content(ContentError::CutOff(_)) => {
                Self::new(StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid, message)
                    .header(header::CONNECTION, HeaderValue::from_static("close"))
            }
            // Clients give up at once on DENIED, and would try for minutes with any other code.
            error if error.is_full() => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                ErrorCode::Denied,
                Error::Full.to_string(),
            ),
            Error::Catalog(catalog::Error::ReadOnly) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Denied,
                "the registry is read-only since its disk failed; its log says more",
            ),
            Error::Full | Error::Blobs(_) | Error::Catalog(_) | Error::Random(_) => {
                Self::internal()
            }
        };
        answer.cause = Some(Box::new(error));
        answer
    }
}
