//! Lists, a page at a time. Each page is one range of an index, however far in the list it is.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::super::{Error, Page, Referrer, Result};
use super::read::parse;
use super::write::find_repository;
use crate::limits;
use crate::oci::{Digest, MediaType, Name, Tag};

pub(super) fn tags(
    connection: &Connection,
    repository: &Name,
    last: Option<&str>,
    limit: usize,
) -> Result<Option<Page<Tag>>> {
    let Some(id) = find_repository(connection, repository)? else {
        return Ok(None);
    };
    // Every tag sorts behind the empty text.
    let items = connection
        .prepare_cached(
            "SELECT name FROM tag WHERE repository = ? AND name > ? ORDER BY name LIMIT ?",
        )?
        .query_map(
            params![id, last.unwrap_or_default(), one_more(limit)],
            |row| row.get::<_, String>(0),
        )?
        .map(|name| parse(name?))
        .collect::<Result<_>>()?;
    Ok(Some(page(items, limit)))
}

pub(super) fn repositories(
    connection: &Connection,
    last: Option<&str>,
    limit: usize,
) -> Result<Page<Name>> {
    let items = connection
        .prepare_cached(
            "SELECT name FROM repository WHERE name > ?
             AND EXISTS (SELECT 1 FROM manifest WHERE manifest.repository = repository.id)
             ORDER BY name LIMIT ?",
        )?
        .query_map(params![last.unwrap_or_default(), one_more(limit)], |row| {
            row.get::<_, String>(0)
        })?
        .map(|name| parse(name?))
        .collect::<Result<_>>()?;
    Ok(page(items, limit))
}

pub(super) fn referrers(
    connection: &Connection,
    repository: &Name,
    subject: &Digest,
    artifact_type: Option<&str>,
    last: Option<&Digest>,
    limit: usize,
) -> Result<Page<Referrer>> {
    let mut statement = connection.prepare_cached(
        "SELECT manifest.digest, media_type, size, artifact_type, annotations FROM manifest
             JOIN repository ON repository.id = manifest.repository
             WHERE repository.name = ?1 AND subject = ?2 AND manifest.digest > ?3
             AND (?4 IS NULL OR artifact_type = ?4)
             ORDER BY manifest.digest LIMIT ?5",
    )?;
    let rows = statement.query_map(
        params![
            repository.as_str(),
            subject.to_string(),
            last.map(Digest::to_string).unwrap_or_default(),
            artifact_type,
            one_more(limit),
        ],
        |row| {
            let text = |column| row.get::<_, String>(column);
            Ok((
                text(0)?,
                text(1)?,
                row.get::<_, i64>(2)?,
                row.get(3)?,
                text(4)?,
            ))
        },
    )?;
    let (mut items, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let (digest, media_type, size, artifact_type, annotations) = row?;
        bytes += annotations.len();
        // What does not fit is not even held for a moment: a thousand times 4 MiB are too many.
        if bytes > limits::REFERRERS_BYTES && !items.is_empty() {
            return Ok(Page { items, more: true });
        }
        items.push(Referrer {
            digest: parse(digest)?,
            media_type: MediaType::parse(&media_type).ok_or(Error::Corrupt(media_type))?,
            size: u64::try_from(size).map_err(|_| Error::Corrupt(size.to_string()))?,
            artifact_type,
            annotations: serde_json::from_str(&annotations)
                .map_err(|_| Error::Corrupt(annotations))?,
        });
    }
    Ok(page(items, limit))
}

pub(super) fn known_manifests(
    connection: &Connection,
    repository: &Name,
    digests: Vec<Digest>,
) -> Result<HashSet<Digest>> {
    let mut find = connection.prepare_cached(
        "SELECT 1 FROM manifest JOIN repository ON repository.id = manifest.repository
         WHERE repository.name = ? AND manifest.digest = ?",
    )?;
    let mut known = HashSet::new();
    for digest in digests {
        if find.exists(params![repository.as_str(), digest.to_string()])? {
            known.insert(digest);
        }
    }
    Ok(known)
}

/// One item more than a page holds tells whether there are more.
fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

fn page<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}
