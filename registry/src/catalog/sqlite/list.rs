//! Lists, a page at a time. Each page is one range of an index, however far in the list it is.

use std::collections::HashSet;

use rusqlite::{Connection, Row, params};

use super::super::{Error, Page, Referrer, Result};
use super::read::parse;
use crate::limits;
use crate::oci::{Digest, Name, Tag};

pub(super) fn tags(
    connection: &Connection,
    repository: &Name,
    last: Option<&str>,
    limit: usize,
) -> Result<Option<Page<Tag>>> {
    // Every tag sorts behind the empty text. A repository without further ones still has a row.
    let mut statement = connection.prepare_cached(
        "SELECT tag.name FROM repository
         LEFT JOIN tag ON tag.repository = repository.id AND tag.name > ?2
         WHERE repository.name = ?1 ORDER BY tag.name LIMIT ?3",
    )?;
    let mut rows = statement.query(params![
        repository.as_str(),
        last.unwrap_or_default(),
        one_more(limit)
    ])?;
    let mut items = None;
    while let Some(row) = rows.next()? {
        let items = items.get_or_insert_with(Vec::new);
        if let Some(name) = text(row, 0)? {
            items.push(parse(name)?);
        }
    }
    Ok(items.map(|items| page(items, limit)))
}

pub(super) fn repositories(
    connection: &Connection,
    last: Option<&str>,
    limit: usize,
) -> Result<Page<Name>> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM repository WHERE name > ?
         AND EXISTS (SELECT 1 FROM manifest WHERE manifest.repository = repository.id)
         ORDER BY name LIMIT ?",
    )?;
    let mut rows = statement.query(params![last.unwrap_or_default(), one_more(limit)])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.extend(text(row, 0)?.map(parse).transpose()?);
    }
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
    let mut rows = statement.query(params![
        repository.as_str(),
        subject.to_string(),
        last.map(Digest::to_string).unwrap_or_default(),
        artifact_type,
        one_more(limit),
    ])?;
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let text = |column| Ok::<_, Error>(text(row, column)?.unwrap_or_default());
        let annotations = text(4)?;
        bytes += annotations.len();
        // What does not fit is not even held for a moment: a thousand times 4 MiB are too many.
        if bytes > limits::REFERRERS_BYTES && !items.is_empty() {
            return Ok(Page { items, more: true });
        }
        let size = row.get::<_, i64>(2)?;
        items.push(Referrer {
            digest: text(0)?.to_owned(),
            media_type: text(1)?.to_owned(),
            size: u64::try_from(size).map_err(|_| Error::Corrupt(size.to_string()))?,
            artifact_type: row.get(3)?,
            annotations: annotations.to_owned(),
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

/// A text, where it is: most are looked at and dropped.
fn text<'row>(row: &'row Row<'_>, column: usize) -> rusqlite::Result<Option<&'row str>> {
    Ok(row.get_ref(column)?.as_str_or_null()?)
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
