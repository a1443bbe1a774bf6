//! An OCI client: what pushes and fetches images by the registry's own protocol, over plain HTTP.
//!
//! It talks to an address, never to a name: a static program cannot ask the C library to resolve one.

mod exchange;

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response, StatusCode};

use crate::oci::{Digest, MediaType, Name, Reference};
use exchange::{Body, exchange, full, in_pieces};

/// Why a request of the client's failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or one that broke.
    #[error("talking to the registry at {address}: {source}")]
    Transport {
        /// Where the registry should be.
        address: SocketAddr,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry did not answer in time.
    #[error("the registry at {address} was silent for {seconds} s")]
    Silent {
        /// Where the registry should be.
        address: SocketAddr,
        /// How long the client waited.
        seconds: u64,
    },
    /// The registry answered with an error.
    #[error("the registry answered {status} to {method} {path}: {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The request's method.
        method: Method,
        /// The request's path.
        path: String,
        /// The registry's words.
        message: String,
    },
    /// The registry's answer makes no sense.
    #[error("the registry's answer to {0} cannot be understood: {1}")]
    Nonsense(String, &'static str),
    /// What arrived is not what its digest names.
    #[error("{expected} was asked for, and the bytes of {got} arrived")]
    WrongBytes {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        got: Digest,
    },
}

/// A client of one registry. Cheap; each request has a connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    address: SocketAddr,
}

impl Client {
    /// A client of the registry at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Pushes a blob, unless the repository has it.
    pub async fn push_blob(
        &self,
        name: &Name,
        digest: &Digest,
        bytes: Bytes,
    ) -> Result<(), ClientError> {
        let path = format!("/v2/{name}/blobs/{digest}");
        let head = self
            .send(request(Method::HEAD, &path), full(Bytes::new()))
            .await?;
        if head.status() == StatusCode::OK {
            return Ok(());
        }
        let start = format!("/v2/{name}/blobs/uploads/");
        let started = self
            .send(request(Method::POST, &start), full(Bytes::new()))
            .await?;
        let started = accept(started, Method::POST, &start, &[StatusCode::ACCEPTED])?;
        let location = started
            .headers()
            .get(LOCATION)
            .and_then(|location| location.to_str().ok());
        let location = location
            .and_then(path_of)
            .ok_or_else(|| ClientError::Nonsense(start.clone(), "no Location"))?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let finish = format!("{location}{separator}digest={digest}");
        let put = request(Method::PUT, &finish).header(CONTENT_TYPE, MediaType::OCTET_STREAM);
        let finished = self.send(put, in_pieces(bytes)).await?;
        accept(finished, Method::PUT, &finish, &[StatusCode::CREATED]).map(|_| ())
    }

    /// Pushes a manifest, byte for byte.
    pub async fn push_manifest(
        &self,
        name: &Name,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<(), ClientError> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let put = request(Method::PUT, &path).header(CONTENT_TYPE, media_type);
        let answer = self.send(put, full(bytes)).await?;
        accept(answer, Method::PUT, &path, &[StatusCode::CREATED]).map(|_| ())
    }

    /// Whether the repository has a manifest.
    pub async fn has_manifest(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<bool, ClientError> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let head = request(Method::HEAD, &path).header(ACCEPT, ANY_MANIFEST);
        let answer = self.send(head, full(Bytes::new())).await?;
        let answer = accept(
            answer,
            Method::HEAD,
            &path,
            &[StatusCode::OK, StatusCode::NOT_FOUND],
        )?;
        Ok(answer.status() == StatusCode::OK)
    }

    /// Fetches a manifest's bytes. What a digest names is checked.
    pub async fn pull_manifest(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<Bytes, ClientError> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let get = request(Method::GET, &path).header(ACCEPT, ANY_MANIFEST);
        let answer = self.send(get, full(Bytes::new())).await?;
        let bytes = accept(answer, Method::GET, &path, &[StatusCode::OK])?.into_body();
        match reference {
            Reference::Digest(expected) => checked(expected, bytes),
            Reference::Tag(_) => Ok(bytes),
        }
    }

    /// Fetches a blob, and checks it.
    pub async fn pull_blob(&self, name: &Name, digest: &Digest) -> Result<Bytes, ClientError> {
        let path = format!("/v2/{name}/blobs/{digest}");
        let answer = self
            .send(request(Method::GET, &path), full(Bytes::new()))
            .await?;
        checked(
            digest,
            accept(answer, Method::GET, &path, &[StatusCode::OK])?.into_body(),
        )
    }

    /// Deletes a manifest or a tag; what is not there is deleted already.
    pub async fn delete_manifest(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<(), ClientError> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let answer = self
            .send(request(Method::DELETE, &path), full(Bytes::new()))
            .await?;
        accept(
            answer,
            Method::DELETE,
            &path,
            &[StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NOT_FOUND],
        )
        .map(|_| ())
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: Body,
    ) -> Result<Response<Bytes>, ClientError> {
        exchange(self.address, request, body).await
    }
}

/// What a manifest may be; a registry that is not told converts or refuses.
const ANY_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path)
}

/// The path and query of a `Location`, which may be absolute.
fn path_of(location: &str) -> Option<String> {
    let uri: http::Uri = location.parse().ok()?;
    uri.path_and_query()
        .map(ToString::to_string)
        .filter(|path| path.starts_with('/'))
}

fn checked(expected: &Digest, bytes: Bytes) -> Result<Bytes, ClientError> {
    let got = expected.algorithm().digest(&bytes);
    if got == *expected {
        Ok(bytes)
    } else {
        Err(ClientError::WrongBytes {
            expected: expected.clone(),
            got,
        })
    }
}

fn accept(
    answer: Response<Bytes>,
    method: Method,
    path: &str,
    good: &[StatusCode],
) -> Result<Response<Bytes>, ClientError> {
    if good.contains(&answer.status()) {
        return Ok(answer);
    }
    let body: Option<serde_json::Value> = serde_json::from_slice(answer.body()).ok();
    let first = body.as_ref().and_then(|body| body.pointer("/errors/0"));
    let message = match first {
        Some(error) => format!(
            "{} {}",
            error["code"].as_str().unwrap_or_default(),
            error["message"].as_str().unwrap_or_default()
        ),
        None => String::from_utf8_lossy(answer.body())
            .chars()
            .take(200)
            .collect(),
    };
    Err(ClientError::Refused {
        status: answer.status(),
        method,
        path: path.to_owned(),
        message: message.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests;
