//! Tags, and references to manifests.

use std::fmt;
use std::str::FromStr;

use super::{Digest, InvalidDigest};

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

/// A text that is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tag has 1 to 128 letters, digits, '_', '.' and '-', and starts with none of '.' and '-'"
)]
pub struct InvalidTag;

/// What names a manifest within a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The manifest that a tag points to now.
    Tag(Tag),
    /// The manifest whose bytes have this digest.
    Digest(Digest),
}

/// A text that is neither a tag nor a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It has a `:`, so it was meant to be a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// It was meant to be a tag.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
}

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = text.as_bytes();
        let starts_well = bytes.first().is_some_and(|byte| word(*byte));
        if starts_well
            && bytes.len() <= 128
            && bytes
                .iter()
                .all(|byte| word(*byte) || matches!(byte, b'.' | b'-'))
        {
            Ok(Self(text.into()))
        } else {
            Err(InvalidTag)
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        // No tag has a colon and every digest has one, so the two never compete.
        if text.contains(':') {
            Ok(Self::Digest(text.parse()?))
        } else {
            Ok(Self::Tag(text.parse()?))
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_follow_the_grammar() {
        for tag in ["latest", "1.0", "_x", "A-b_c.d", &"a".repeat(128)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag:?} was refused");
        }
        for tag in [
            "",
            ".a",
            "-a",
            "a/b",
            "a b",
            "a:b",
            "é",
            "..",
            "a\n",
            &"a".repeat(129),
        ] {
            assert!(tag.parse::<Tag>().is_err(), "{tag:?} was taken for a tag");
        }
    }

    #[test]
    fn a_colon_makes_a_digest() {
        assert!(matches!("v1".parse::<Reference>(), Ok(Reference::Tag(_))));
        let digest = Digest::sha256(b"");
        assert_eq!(
            digest.to_string().parse::<Reference>(),
            Ok(Reference::Digest(digest))
        );
        assert!(matches!(
            "sha256:abc".parse::<Reference>(),
            Err(InvalidReference::Digest(_))
        ));
    }
}
