//! `GET` and `HEAD` of blobs.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Result;
use super::error::ApiError;
use super::response::{entity_tag, text};
use crate::oci::{ByteRange, Digest, MediaType, Name};
use crate::registry::{Access, Registry};

/// Answers with a blob, a range of it, or only what a `GET` would have said.
pub(super) async fn get(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
    digest: &Digest,
) -> Result {
    let blob = registry.blob(access, name, digest).await?;
    let tag = entity_tag(digest);
    if matches_any(parts, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let (status, offset, length) =
        match requested_range(parts, &tag).map(|range| range.resolve(blob.size)) {
            None => (StatusCode::OK, 0, blob.size),
            Some(Some((offset, length))) => (StatusCode::PARTIAL_CONTENT, offset, length),
            Some(None) => return Err(ApiError::range_not_satisfiable(blob.size)),
        };
    let body = if parts.method == Method::HEAD || length == 0 {
        Body::empty()
    } else {
        Body::from_stream(
            registry
                .read_blob(access, name, &blob, offset, length)
                .await?,
        )
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(MediaType::OCTET_STREAM),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // What a digest names never changes.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=31536000, immutable"),
    );
    headers.insert("Docker-Content-Digest", text(digest.to_string()));
    headers.insert(header::ETAG, tag);
    if status == StatusCode::PARTIAL_CONTENT {
        headers.insert(
            header::CONTENT_RANGE,
            text(format!(
                "bytes {offset}-{}/{}",
                offset + length - 1,
                blob.size
            )),
        );
    }
    Ok(response)
}

/// `DELETE`: takes a blob away from a repository.
pub(super) async fn delete(
    registry: &Registry,
    access: &Access,
    name: &Name,
    digest: &Digest,
) -> Result {
    registry.delete_blob(access, name, digest).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Whether the client has what it asks for already.
pub(super) fn matches_any(parts: &Parts, tag: &HeaderValue) -> bool {
    let candidates = parts
        .headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    candidates
        .flat_map(|list| list.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == "*" || one.as_bytes() == tag.as_bytes())
}

/// The one range that is asked for, if any. What is not understood is ignored, as RFC 9110 §14.2
/// has it, and so are lists of ranges: the whole is a right answer to them.
fn requested_range(parts: &Parts, tag: &HeaderValue) -> Option<ByteRange> {
    let current = parts
        .headers
        .get(header::IF_RANGE)
        .is_none_or(|condition| condition == tag);
    let range = parts.headers.get(header::RANGE).filter(|_| current)?;
    range.to_str().ok()?.parse().ok()
}
