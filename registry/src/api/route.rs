//! Which resource a path names.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::blobs::UploadId;
use crate::oci::{Digest, InvalidDigest, InvalidName, InvalidReference, Name, Reference};

/// A resource of the distribution specification.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/v2/`
    Version,
    /// `/v2/<name>/blobs/<digest>`
    Blob { name: Name, digest: Digest },
    /// `/v2/<name>/blobs/uploads/`
    Uploads { name: Name },
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload { name: Name, upload: UploadId },
    /// `/v2/<name>/manifests/<reference>`
    Manifest { name: Name, reference: Reference },
    /// `/v2/<name>/tags/list`
    Tags { name: Name },
    /// `/v2/<name>/referrers/<digest>`
    Referrers { name: Name, digest: Digest },
    /// `/v2/_catalog`
    Catalog,
}

impl Target {
    /// The repository that the resource is of.
    pub(crate) fn repository(&self) -> Option<&Name> {
        match self {
            Self::Version | Self::Catalog => None,
            Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Manifest { name, .. }
            | Self::Tags { name }
            | Self::Referrers { name, .. } => Some(name),
        }
    }
}

/// Why a path names nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unroutable {
    /// No such resource.
    NotFound,
    /// It would be one, but for its repository's name.
    Name(InvalidName),
    /// It would be one, but for its digest.
    Digest(InvalidDigest),
    /// It would be one, but for its tag or digest.
    Reference(InvalidReference),
    /// An upload's id that is none of ours.
    Upload,
}

/// Finds the resource of a path as it came over the wire. Names have slashes, so a path is read
/// from its end; an escaped slash is part of a segment, never a separator, and so never part of a
/// name.
pub(crate) fn parse(path: &str) -> Result<Target, Unroutable> {
    let rest = path.strip_prefix("/v2").ok_or(Unroutable::NotFound)?;
    if rest.is_empty() || rest == "/" {
        return Ok(Target::Version);
    }
    let segments: Vec<Cow<'_, str>> = rest
        .strip_prefix('/')
        .ok_or(Unroutable::NotFound)?
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8())
        .collect::<Result<_, _>>()
        .map_err(|_| Unroutable::NotFound)?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    match segments.as_slice() {
        ["_catalog"] => Ok(Target::Catalog),
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
            Ok(Target::Uploads {
                name: parse_name(name)?,
            })
        }
        [name @ .., "blobs", "uploads", upload] => Ok(Target::Upload {
            name: parse_name(name)?,
            upload: upload.parse().map_err(|()| Unroutable::Upload)?,
        }),
        [name @ .., "blobs", digest] => Ok(Target::Blob {
            name: parse_name(name)?,
            digest: digest.parse().map_err(Unroutable::Digest)?,
        }),
        [name @ .., "manifests", reference] => Ok(Target::Manifest {
            name: parse_name(name)?,
            reference: reference.parse().map_err(Unroutable::Reference)?,
        }),
        [name @ .., "referrers", digest] => Ok(Target::Referrers {
            name: parse_name(name)?,
            digest: digest.parse().map_err(Unroutable::Digest)?,
        }),
        [name @ .., "tags", "list"] => Ok(Target::Tags {
            name: parse_name(name)?,
        }),
        _ => Err(Unroutable::NotFound),
    }
}

fn parse_name(segments: &[&str]) -> Result<Name, Unroutable> {
    // A decoded slash must not become a separator by joining.
    if segments.iter().any(|segment| segment.contains('/')) {
        return Err(Unroutable::NotFound);
    }
    segments.join("/").parse().map_err(Unroutable::Name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_look_like_resources() {
        let digest = Digest::sha256(b"");
        for name in [
            "a",
            "a/b/c",
            "blobs",
            "manifests/tags",
            "a/blobs/uploads",
            "v2",
            "tags/list",
        ] {
            let name: Name = name.parse().unwrap();
            assert_eq!(
                parse(&format!("/v2/{name}/blobs/{digest}")),
                Ok(Target::Blob {
                    name: name.clone(),
                    digest: digest.clone()
                })
            );
            assert_eq!(
                parse(&format!("/v2/{name}/blobs/uploads/")),
                Ok(Target::Uploads { name: name.clone() })
            );
            assert_eq!(
                parse(&format!("/v2/{name}/tags/list")),
                Ok(Target::Tags { name: name.clone() })
            );
            let reference = "manifests".parse().unwrap();
            assert_eq!(
                parse(&format!("/v2/{name}/manifests/manifests")),
                Ok(Target::Manifest { name, reference })
            );
        }
        let escaped = digest.to_string().replace(':', "%3A");
        assert!(matches!(
            parse(&format!("/v2/a/blobs/{escaped}")),
            Ok(Target::Blob { .. })
        ));
    }

    #[test]
    fn nothing_leaves_the_grammar() {
        let digest = Digest::sha256(b"");
        for path in [
            "",
            "/",
            "/v1/",
            "/v2x",
            "/v2//",
            "/v2/a",
            "/v2/blobs/x",
            "/v2/a/blobs/",
            "/v2/a/tags",
            "/v2/a/manifests/",
            "/v2/../a/tags/list",
            "/v2/a/../b/tags/list",
            "/v2/a%2f..%2fb/tags/list",
            "/v2/a%2Fb/tags/list",
            "/v2/%2e%2e/tags/list",
            "/v2/a%00/tags/list",
            "/v2/A/tags/list",
            "/v2/a/blobs/sha256:..%2f..",
            "/v2/a/blobs/uploads/../../x",
            "/v2/a/blobs/uploads/..%2f..",
            "/v2/%ff/tags/list",
            "/v2/a/manifests/..",
            "/v2/a/manifests/a%2fb",
            "/v2//tags/list",
            "/v2/tags/list",
        ] {
            assert!(
                parse(path).is_err(),
                "{path:?} was taken for {:?}",
                parse(path)
            );
        }
        assert!(matches!(
            parse(&format!("/v2/A/blobs/{digest}")),
            Err(Unroutable::Name(_))
        ));
        assert!(matches!(
            parse("/v2/a/blobs/sha256:x"),
            Err(Unroutable::Digest(_))
        ));
    }
}
