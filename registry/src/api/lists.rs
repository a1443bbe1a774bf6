//! Lists: tags, repositories, referrers. Each comes in pages, with a `Link` to the next.

use std::io::Write as _;

use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use form_urlencoded::Serializer;
use oci_spec::distribution::ErrorCode;
use serde::Serialize;

use super::Result;
use super::error::ApiError;
use super::response::text;
use crate::catalog::Referrer;
use crate::oci::{Digest, MediaType, Name, Tag};
use crate::registry::{Access, Registry};

/// What a list is asked for.
#[derive(Default)]
struct Query {
    /// How many items (`n`).
    limit: Option<usize>,
    /// The item that the page comes behind (`last`).
    last: Option<String>,
    /// Of which kind (`artifactType`).
    artifact_type: Option<String>,
}

/// `GET`: a repository's tags.
pub(super) async fn tags(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
) -> Result {
    let query = Query::parse(parts)?;
    let page = registry
        .tags(access, name, query.last.as_deref(), query.limit)
        .await?;
    let next = page.items.last().filter(|_| page.more);
    let link = next.map(|last| query.link(parts, last.as_str()));
    let list = TagList {
        name: name.as_str(),
        tags: page.items.iter().map(Tag::as_str).collect(),
    };
    Ok(linked(json(&list, page.items.len())?, link))
}

/// `GET`: the repositories.
pub(super) async fn catalog(registry: &Registry, access: &Access, parts: &Parts) -> Result {
    let query = Query::parse(parts)?;
    let page = registry
        .repositories(access, query.last.as_deref(), query.limit)
        .await?;
    let next = page.items.last().filter(|_| page.more);
    let link = next.map(|last| query.link(parts, last.as_str()));
    let list = RepositoryList {
        repositories: page.items.iter().map(Name::as_str).collect(),
    };
    Ok(linked(json(&list, page.items.len())?, link))
}

/// `GET`: the manifests that refer to a digest, as an image index.
pub(super) async fn referrers(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
    subject: &Digest,
) -> Result {
    let query = Query::parse(parts)?;
    let last = query.last.as_deref().map(str::parse).transpose();
    let last: Option<Digest> = last.map_err(ApiError::invalid_digest)?;
    let kind = query.artifact_type.as_deref();
    let page = registry
        .referrers(access, name, subject, kind, last.as_ref(), query.limit)
        .await?;
    let next = page.items.last().filter(|_| page.more);
    let link = next.map(|last| query.link(parts, &last.digest));
    let content_type = HeaderValue::from_static(MediaType::OCI_INDEX);
    let content_type = [(header::CONTENT_TYPE, content_type)];
    let index = referrer_index(&page.items)?;
    let mut response = linked((content_type, index).into_response(), link);
    let headers = response.headers_mut();
    if kind.is_some() {
        let filters = HeaderValue::from_static("artifactType");
        headers.insert("OCI-Filters-Applied", filters);
    }
    Ok(response)
}

/// A page of tags. (oci-spec's own would copy each of them.)
#[derive(Serialize)]
struct TagList<'page> {
    name: &'page str,
    tags: Vec<&'page str>,
}

/// A page of repositories.
#[derive(Serialize)]
struct RepositoryList<'page> {
    repositories: Vec<&'page str>,
}

/// An image index, of which a list of referrers is one.
fn referrer_index(referrers: &[Referrer]) -> Result<Vec<u8>> {
    const PER_ITEM: usize = 256;
    let annotations: usize = referrers.iter().map(|one| one.annotations.len()).sum();
    let mut json = Vec::with_capacity(annotations + (referrers.len() + 1) * PER_ITEM);
    json.extend_from_slice(b"{\"schemaVersion\":2,\"mediaType\":\"");
    json.extend_from_slice(MediaType::OCI_INDEX.as_bytes());
    json.extend_from_slice(b"\",\"manifests\":[");
    for (number, referrer) in referrers.iter().enumerate() {
        if number > 0 {
            json.push(b',');
        }
        write_descriptor(referrer, &mut json).map_err(|_| ApiError::internal())?;
    }
    json.extend_from_slice(b"]}");
    Ok(json)
}

/// What the index says of one of them. Its annotations are JSON already, and are most of it.
fn write_descriptor(referrer: &Referrer, json: &mut Vec<u8>) -> serde_json::Result<()> {
    json.extend_from_slice(b"{\"mediaType\":");
    serde_json::to_writer(&mut *json, &referrer.media_type)?;
    json.extend_from_slice(b",\"digest\":");
    serde_json::to_writer(&mut *json, &referrer.digest)?;
    write!(json, ",\"size\":{}", referrer.size).map_err(serde_json::Error::io)?;
    if let Some(kind) = &referrer.artifact_type {
        json.extend_from_slice(b",\"artifactType\":");
        serde_json::to_writer(&mut *json, kind)?;
    }
    if referrer.annotations != Referrer::NO_ANNOTATIONS {
        json.extend_from_slice(b",\"annotations\":");
        json.extend_from_slice(referrer.annotations.as_bytes());
    }
    json.push(b'}');
    Ok(())
}

/// A list of so many items.
fn json(list: &impl Serialize, items: usize) -> Result {
    const PER_ITEM: usize = 128;
    let mut body = Vec::with_capacity((items + 1) * PER_ITEM);
    serde_json::to_writer(&mut body, list).map_err(|_| ApiError::internal())?;
    let content_type = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

fn linked(mut response: Response, link: Option<HeaderValue>) -> Response {
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

impl Query {
    fn parse(parts: &Parts) -> Result<Self> {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        {
            match &*key {
                "n" => query.limit = Some(number(&value)?),
                "last" => query.last = Some(value.into_owned()),
                "artifactType" => query.artifact_type = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(query)
    }

    /// The page behind `last`, for the same question. An empty page leads nowhere, so there is no
    /// link to the page behind it.
    fn link(&self, parts: &Parts, last: &str) -> HeaderValue {
        let mut parameters = Serializer::new(String::new());
        if let Some(limit) = self.limit {
            parameters.append_pair("n", &limit.to_string());
        }
        if let Some(kind) = &self.artifact_type {
            parameters.append_pair("artifactType", kind);
        }
        parameters.append_pair("last", last);
        let (path, query) = (parts.uri.path(), parameters.finish());
        text(format!("<{path}?{query}>; rel=\"next\""))
    }
}

/// A number of items. More than anyone has is as good as any other large number.
fn number(text: &str) -> Result<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        return Ok(text.parse().unwrap_or(usize::MAX));
    }
    let message = "n is a number of items, 0 or more";
    Err(ApiError::new(
        StatusCode::BAD_REQUEST,
        ErrorCode::SizeInvalid,
        message,
    ))
}
