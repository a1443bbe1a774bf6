//! Upload sessions, and what replaces them: mounts and single-request pushes.

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oci_spec::distribution::ErrorCode;

use super::Result;
use super::body::RequestBody;
use super::error::ApiError;
use super::response::{blob_location, range_so_far, text, upload_location};
use crate::blobs::UploadId;
use crate::oci::{Algorithm, ContentRange, Digest, Name};
use crate::registry::{Access, Registry};

/// The parameters of an upload's requests.
#[derive(Default)]
struct Parameters {
    digest: Option<Digest>,
    mount: Option<Digest>,
    from: Option<Name>,
    algorithm: Option<Algorithm>,
}

/// `POST`: mounts a blob, takes a whole blob, or opens an upload.
pub(super) async fn start(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
    body: &mut RequestBody,
) -> Result {
    let parameters = Parameters::parse(parts)?;
    if let Some(digest) = &parameters.mount
        && registry
            .mount(access, name, digest, parameters.from.as_ref())
            .await?
    {
        return Ok(created(name, digest));
    }
    let algorithm = parameters
        .digest
        .as_ref()
        .map(Digest::algorithm)
        .or(parameters.algorithm)
        .unwrap_or(Algorithm::Sha256);
    let upload = registry.start_upload(access, name, algorithm).await?;
    let Some(digest) = &parameters.digest else {
        return Ok(accepted(name, &upload, 0));
    };
    if let Err(error) = registry
        .finish_upload(access, name, &upload, None, digest, body.content())
        .await
    {
        // The client never learned the upload's name, so nobody could go on with it.
        let _ = registry.cancel_upload(access, name, &upload).await;
        return Err(error.into());
    }
    Ok(created(name, digest))
}

/// `GET`: how far an upload is.
pub(super) fn status(
    registry: &Registry,
    access: &Access,
    name: &Name,
    upload: &UploadId,
) -> Result {
    let size = registry.upload_size(access, name, upload)?;
    Ok((StatusCode::NO_CONTENT, progress(name, upload, size)).into_response())
}

/// `PATCH`: a chunk, or (without `Content-Range`) a stream of unknown length, which is how Docker
/// pushes.
pub(super) async fn append(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
    upload: &UploadId,
    body: &mut RequestBody,
) -> Result {
    let size = registry
        .append(access, name, upload, content_range(parts)?, body.content())
        .await?;
    Ok(accepted(name, upload, size))
}

/// `PUT`: the last chunk, if there is one left, and the digest of the whole.
pub(super) async fn finish(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
    upload: &UploadId,
    body: &mut RequestBody,
) -> Result {
    let Some(digest) = Parameters::parse(parts)?.digest else {
        let message = "the upload cannot be finished without its digest; add the parameter '?digest=sha256:…'";
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::DigestInvalid,
            message,
        ));
    };
    registry
        .finish_upload(
            access,
            name,
            upload,
            content_range(parts)?,
            &digest,
            body.content(),
        )
        .await?;
    Ok(created(name, &digest))
}

/// `DELETE`: drops an upload.
pub(super) async fn cancel(
    registry: &Registry,
    access: &Access,
    name: &Name,
    upload: &UploadId,
) -> Result {
    registry.cancel_upload(access, name, upload).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn accepted(name: &Name, upload: &UploadId, size: u64) -> Response {
    (StatusCode::ACCEPTED, progress(name, upload, size)).into_response()
}

fn created(name: &Name, digest: &Digest) -> Response {
    let headers = [(header::LOCATION, blob_location(name, digest))];
    (
        StatusCode::CREATED,
        headers,
        [("Docker-Content-Digest", text(digest.to_string()))],
    )
        .into_response()
}

fn progress(name: &Name, upload: &UploadId, size: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, upload_location(name, upload));
    headers.insert(header::RANGE, range_so_far(size));
    headers.insert("Docker-Upload-UUID", text(upload.as_str()));
    headers
}

fn content_range(parts: &Parts) -> Result<Option<ContentRange>> {
    let Some(value) = parts.headers.get(header::CONTENT_RANGE) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(range) => Ok(Some(range)),
        None => {
            let message =
                "Content-Range has the form 'first-last', both bytes included, such as '0-1023'";
            Err(ApiError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                ErrorCode::BlobUploadInvalid,
                message,
            ))
        }
    }
}

impl Parameters {
    /// Reads the query. Other parameters are for others (`ns=` names the registry that a mirror
    /// stands for).
    fn parse(parts: &Parts) -> Result<Self> {
        let mut parameters = Self::default();
        for (key, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        {
            match &*key {
                "digest" => {
                    parameters.digest = Some(value.parse().map_err(ApiError::invalid_digest)?)
                }
                "mount" => {
                    parameters.mount = Some(value.parse().map_err(ApiError::invalid_digest)?)
                }
                "digest-algorithm" => {
                    parameters.algorithm = Some(value.parse().map_err(ApiError::invalid_digest)?)
                }
                "from" => {
                    let name = |error: crate::oci::InvalidName| {
                        ApiError::new(
                            StatusCode::BAD_REQUEST,
                            ErrorCode::NameInvalid,
                            error.to_string(),
                        )
                    };
                    parameters.from = Some(value.parse().map_err(name)?);
                }
                _ => {}
            }
        }
        Ok(parameters)
    }
}
