//! Manifests by tag and by digest.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use oci_spec::distribution::ErrorCode;
use tokio::sync::SemaphorePermit;

use super::Result;
use super::blobs::matches_any;
use super::body::RequestBody;
use super::error::ApiError;
use super::response::{entity_tag, manifest_location, text};
use crate::catalog::{Condition, Missing};
use crate::limits;
use crate::oci::{Digest, InvalidTag, MediaType, Name, Reference, Tag};
use crate::registry::{Access, ContentError, ManifestPush, Registry};

/// Answers with the bytes that were pushed, or only with what a `GET` would have said.
pub(super) async fn get(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
    reference: &Reference,
) -> Result {
    let manifest = registry.manifest(access, name, reference).await?;
    let tag = entity_tag(&manifest.digest);
    if matches_any(parts, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let length = manifest.payload.len();
    let body = if parts.method == Method::HEAD {
        Body::empty()
    } else {
        Body::from(manifest.payload)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONTENT_TYPE, text(manifest.media_type.as_str()));
    headers.insert("Docker-Content-Digest", text(manifest.digest.to_string()));
    headers.insert(header::ETAG, tag);
    // A tag may point elsewhere the next moment; what a digest names never changes.
    let cache = match reference {
        Reference::Tag(_) => "no-cache",
        Reference::Digest(_) => "max-age=31536000, immutable",
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}

/// `PUT`: stores a manifest and moves tags to it.
pub(super) async fn put(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
    reference: &Reference,
    body: &mut RequestBody,
) -> Result {
    let (tags, condition) = (tags(parts, reference)?, condition(parts)?);
    let (payload, _turn) = receive(registry, body).await?;
    let push = ManifestPush {
        reference: reference.clone(),
        tags,
        content_type: content_type(parts),
        condition,
        payload,
    };
    let accepted = push.tags.clone();
    let pushed = registry.push_manifest(access, name, push).await?;
    let location = [(header::LOCATION, manifest_location(name, &pushed.digest))];
    let mut response = (StatusCode::CREATED, location).into_response();
    let headers = response.headers_mut();
    headers.insert("Docker-Content-Digest", text(pushed.digest.to_string()));
    if let Some(subject) = pushed.subject {
        headers.insert("OCI-Subject", text(subject.to_string()));
    }
    for tag in accepted {
        headers.append("OCI-Tag", text(tag.as_str()));
    }
    let Missing { blobs, children } = pushed.missing;
    if blobs + children > 0 {
        let what = format!(
            "{name} lacks {blobs} of this manifest's blobs and {children} of the manifests that it lists"
        );
        let warning = format!("299 - \"{what}; pulls of them will fail\"");
        headers.insert(header::WARNING, text(warning));
    }
    Ok(response)
}

/// The whole body, with a turn for as long as it is in use where it is a large one.
async fn receive<'a>(
    registry: &'a Registry,
    body: &mut RequestBody,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>)> {
    let mut payload = BytesMut::new();
    if body
        .collect(&mut payload, limits::SMALL_MANIFEST_BYTES)
        .await?
    {
        return Ok((payload.freeze(), None));
    }
    if body.least() > limits::MANIFEST_BYTES as u64 {
        return Err(ApiError::too_large(limits::MANIFEST_BYTES));
    }
    let turn = registry.large_manifest().await?;
    // Others wait for the same turn, so this is no idle deadline.
    let rest = body.collect(&mut payload, limits::MANIFEST_BYTES);
    match tokio::time::timeout(limits::LARGE_MANIFEST_TIME, rest).await {
        Ok(Ok(true)) => Ok((payload.freeze(), Some(turn))),
        Ok(Ok(false)) => Err(ApiError::too_large(limits::MANIFEST_BYTES)),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let error = ContentError::Idle(limits::LARGE_MANIFEST_TIME);
            Err(crate::registry::Error::from(error).into())
        }
    }
}

/// `DELETE`: removes a tag, or a manifest with all its tags.
pub(super) async fn delete(
    registry: &Registry,
    access: &Access,
    name: &Name,
    reference: &Reference,
) -> Result {
    registry.delete_manifest(access, name, reference).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn content_type(parts: &Parts) -> Option<MediaType> {
    let header = parts.headers.get(header::CONTENT_TYPE)?;
    MediaType::parse(header.to_str().ok()?)
}

/// The tags of `?tag=a&tag=b`, which go with a push by digest.
fn tags(parts: &Parts, reference: &Reference) -> Result<Vec<Tag>> {
    let mut tags = Vec::new();
    for (key, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        if key == "tag" {
            let invalid = |error: InvalidTag| {
                let message = format!("the parameter 'tag': {error}");
                ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid, message)
            };
            tags.push(value.parse().map_err(invalid)?);
        }
    }
    if tags.len() > limits::TAGS_PER_PUSH {
        let message = format!("one push moves {} tags at most", limits::TAGS_PER_PUSH);
        let status = StatusCode::URI_TOO_LONG;
        return Err(ApiError::new(status, ErrorCode::SizeInvalid, message));
    }
    if !tags.is_empty() && matches!(reference, Reference::Tag(_)) {
        let message = "the parameter 'tag' goes with a push by digest";
        let status = StatusCode::BAD_REQUEST;
        return Err(ApiError::new(status, ErrorCode::Unsupported, message));
    }
    Ok(tags)
}

/// What `If-Match` or `If-None-Match` ask of the tags before they move.
fn condition(parts: &Parts) -> Result<Option<Condition>> {
    let malformed = |what| {
        let message = format!("{what}; entity tags are digests in quotes, such as '\"sha256:…\"'");
        ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid, message)
    };
    if let Some(value) = parts.headers.get(header::IF_NONE_MATCH) {
        if value != "*" {
            return Err(malformed("If-None-Match of a push takes '*' only"));
        }
        return Ok(Some(Condition::Absent));
    }
    let Some(value) = parts.headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    if value == "*" {
        return Ok(Some(Condition::Present));
    }
    let digest = |one: &str| {
        one.trim()
            .strip_prefix('"')?
            .strip_suffix('"')?
            .parse()
            .ok()
    };
    let digests: Option<Vec<Digest>> = value
        .to_str()
        .ok()
        .and_then(|list| list.split(',').map(digest).collect());
    let digests = digests.ok_or_else(|| malformed("If-Match names no digest"))?;
    Ok(Some(Condition::PointsTo(digests)))
}
