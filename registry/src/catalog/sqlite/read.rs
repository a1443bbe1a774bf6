//! Queries.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{BlobRecord, Error, Result, StoredManifest};
use crate::blobs::{Location, UploadId};
use crate::oci::{Digest, MediaType, Name, Reference};

pub(super) fn is_empty(connection: &Connection) -> Result<bool> {
    Ok(!connection
        .prepare_cached("SELECT 1 FROM blob LIMIT 1")?
        .exists([])?)
}

pub(super) fn blob(
    connection: &Connection,
    repository: &Name,
    digest: &Digest,
) -> Result<Option<BlobRecord>> {
    let mut statement = connection.prepare_cached(
        "SELECT blob.size, blob.location, EXISTS (SELECT 1 FROM loose_blob
             WHERE loose_blob.repository = repository.id AND loose_blob.blob = blob.id)
         FROM repository
         JOIN repository_blob ON repository_blob.repository = repository.id
         JOIN blob ON blob.id = repository_blob.blob
         WHERE repository.name = ? AND blob.digest = ? AND NOT blob.bad",
    )?;
    let found = statement
        .query_row(params![repository.as_str(), digest.to_string()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?))
        })
        .optional()?;
    found
        .map(|(size, upload, loose)| {
            let size = u64::try_from(size).map_err(|_| Error::Corrupt(size.to_string()))?;
            Ok(BlobRecord {
                size,
                location: Location {
                    digest: digest.clone(),
                    upload: upload_id(&upload)?,
                },
                loose,
            })
        })
        .transpose()
}

pub(super) fn has_blob(connection: &Connection, digest: &Digest) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM blob WHERE digest = ? AND NOT bad")?
        .exists([digest.to_string()])?)
}

pub(super) fn known_locations(
    connection: &Connection,
    locations: Vec<Location>,
) -> Result<HashSet<Location>> {
    let mut find =
        connection.prepare_cached("SELECT 1 FROM blob WHERE digest = ? AND location = ?")?;
    let mut known = HashSet::new();
    for location in locations {
        if find.exists(params![
            location.digest.to_string(),
            location.upload.as_str()
        ])? {
            known.insert(location);
        }
    }
    Ok(known)
}

pub(super) fn manifest(
    connection: &Connection,
    repository: &Name,
    reference: &Reference,
) -> Result<Option<StoredManifest>> {
    let query = match reference {
        Reference::Tag(_) => {
            "SELECT manifest.digest, manifest.media_type, manifest.payload FROM repository
             JOIN tag ON tag.repository = repository.id AND tag.name = ?2
             JOIN manifest ON manifest.id = tag.manifest
             WHERE repository.name = ?1"
        }
        Reference::Digest(_) => {
            "SELECT manifest.digest, manifest.media_type, manifest.payload FROM repository
             JOIN manifest ON manifest.repository = repository.id AND manifest.digest = ?2
             WHERE repository.name = ?1"
        }
    };
    let found = connection
        .prepare_cached(query)?
        .query_row(params![repository.as_str(), reference.to_string()], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, Vec<u8>>(2)?,
            ))
        })
        .optional()?;
    found
        .map(|(digest, media_type, payload)| {
            let digest: Digest = parse(digest)?;
            // Manifests are small and everything hangs on them; so each is checked whenever it is
            // loaded.
            if digest.algorithm().digest(&payload) != digest {
                return Err(Error::DamagedManifest(digest));
            }
            Ok(StoredManifest {
                digest,
                media_type: MediaType::parse(&media_type).ok_or(Error::Corrupt(media_type))?,
                payload: payload.into(),
            })
        })
        .transpose()
}

pub(super) fn upload_id(text: &str) -> Result<UploadId> {
    text.parse().map_err(|()| Error::Corrupt(text.to_owned()))
}

/// What stands in the database in the words of this program.
pub(super) fn parse<T: std::str::FromStr>(text: impl AsRef<str> + Into<String>) -> Result<T> {
    let parsed = text.as_ref().parse();
    parsed.map_err(|_| Error::Corrupt(text.into()))
}
