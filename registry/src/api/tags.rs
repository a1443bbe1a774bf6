//! The list of tags.

use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use oci_spec::distribution::{ErrorCode, TagListBuilder};

use super::Result;
use super::error::ApiError;
use super::response::text;
use crate::oci::Name;
use crate::registry::{Access, Registry};

/// `GET` and `HEAD`: the tags in ASCII order, `n` of them behind `last`, with a `Link` to those that follow.
pub(super) async fn list(
    registry: &Registry,
    access: &Access,
    parts: &Parts,
    name: &Name,
) -> Result {
    let (mut limit, mut last) = (None, None);
    for (key, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        match &*key {
            "n" => {
                let invalid = || {
                    ApiError::new(
                        StatusCode::BAD_REQUEST,
                        ErrorCode::SizeInvalid,
                        "n is a number of tags, 0 or more",
                    )
                };
                limit = Some(value.parse::<usize>().map_err(|_| invalid())?);
            }
            "last" => last = Some(value.into_owned()),
            _ => {}
        }
    }
    let page = registry.tags(access, name, last.as_deref(), limit).await?;
    let next = page
        .items
        .last()
        .filter(|_| page.more)
        .map(|last| match limit {
            Some(limit) => text(format!(
                "</v2/{name}/tags/list?n={limit}&last={last}>; rel=\"next\""
            )),
            None => text(format!("</v2/{name}/tags/list?last={last}>; rel=\"next\"")),
        });
    let tags: Vec<String> = page.items.iter().map(ToString::to_string).collect();
    let list = TagListBuilder::default()
        .name(name.as_str())
        .tags(tags)
        .build()
        .map_err(|_| ApiError::internal())?;
    let mut response = axum::Json(list).into_response();
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, next);
    }
    Ok(response)
}
