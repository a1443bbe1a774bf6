//! Manifests by tag and by digest.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Result;
use super::blobs::matches_any;
use super::body::RequestBody;
use super::response::{entity_tag, manifest_location, text};
use crate::limits;
use crate::oci::{MediaType, Name, Reference};
use crate::registry::{Access, Registry};

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

/// `PUT`: stores a manifest.
pub(super) async fn put(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
    reference: &Reference,
    body: &mut RequestBody,
) -> Result {
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| MediaType::parse(value.to_str().ok()?));
    let payload = body.collect(limits::MANIFEST_BYTES).await?;
    let digest = registry
        .push_manifest(access, name, reference, content_type.as_ref(), payload)
        .await?;
    let headers = [(header::LOCATION, manifest_location(name, &digest))];
    Ok((
        StatusCode::CREATED,
        headers,
        [("Docker-Content-Digest", text(digest.to_string()))],
    )
        .into_response())
}
