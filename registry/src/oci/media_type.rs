//! Media types of manifests.

use std::fmt;

/// A media type as a client wrote it, without parameters: `type/subtype`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaType(Box<str>);

impl MediaType {
    /// The OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// The OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// The artifact manifest of a release candidate of the OCI specifications, which some clients
    /// still push.
    pub const OCI_ARTIFACT: &'static str = "application/vnd.oci.artifact.manifest.v1+json";
    /// Docker's image manifest, version 2, schema 2.
    pub const DOCKER_MANIFEST: &'static str =
        "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &'static str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image manifest, version 2, schema 1: out of use since 2017, and unsafe (its content
    /// is not addressed by digest).
    pub const DOCKER_SCHEMA1: &'static str = "application/vnd.docker.distribution.manifest.v1+json";
    /// The same, signed.
    pub const DOCKER_SCHEMA1_SIGNED: &'static str =
        "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// Content of no particular type, what a blob is served as.
    pub const OCTET_STREAM: &'static str = "application/octet-stream";

    /// Takes the media type out of a `Content-Type` header, leaving its parameters away. Nothing
    /// where it is not of the form `type/subtype` in the characters that RFC 6838 admits.
    pub fn parse(header: &str) -> Option<Self> {
        let text = header.split(';').next().unwrap_or_default().trim();
        let (kind, subtype) = text.split_once('/')?;
        let restricted = |part: &str| {
            !part.is_empty()
                && part.len() <= 127
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
        };
        (restricted(kind) && restricted(subtype)).then(|| Self(text.into()))
    }

    /// The media type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_left_away() {
        assert_eq!(
            MediaType::parse("application/json; charset=utf-8")
                .unwrap()
                .as_str(),
            "application/json"
        );
        for bad in ["", "json", "a/", "/b", "a/b/c", "a/b\r\nx: y", "a b/c"] {
            assert_eq!(MediaType::parse(bad), None, "{bad:?}");
        }
    }
}
