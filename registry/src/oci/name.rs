//! Repository names.

use std::fmt;
use std::str::FromStr;

/// The name of a repository, such as `library/python` or `team/app`.
///
/// The grammar is the distribution specification's: components of
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, joined by `/`, [`Name::MAX_BYTES`] bytes at most. Nothing
/// that this grammar admits can leave a directory: there is no empty component, no `.` or `..`, no
/// upper case and nothing outside ASCII.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

/// A text that is not a repository name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidName {
    reason: &'static str,
}

impl Name {
    /// Clients limit host, slash and name together to 255 bytes; so no client can use a longer
    /// name.
    pub const MAX_BYTES: usize = 255;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName {
                reason: "a repository name may not be empty",
            });
        }
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidName {
                reason: "a repository name may have 255 bytes at most",
            });
        }
        if text.split('/').all(is_component) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName {
            reason: "a repository name consists of lower-case letters and digits, separated by '.', '_', '__' or '-' \
                     within a component and by '/' between components",
        })
    }
}

/// Whether `text` is `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    bytes
        .split(alphanumeric)
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
        })
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_grammar_of_the_specification() {
        for name in [
            "a",
            "0",
            "a/b/c",
            "a.b",
            "a_b",
            "a__b",
            "a-b",
            "a---b",
            "library/python",
            "k3d-registry_local_5000_x",
        ] {
            assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
        }
        assert!("a".repeat(255).parse::<Name>().is_ok());
    }

    #[test]
    fn refuses_everything_else() {
        for name in [
            "", "/", "a/", "/a", "a//b", "A", "a/B", ".", "..", "a/../b", "a/..", "-a", "a-",
            "a..b", "a___b", "a_.b", "a b", "a\0b", "a%2fb", "é", "a\n", "a:b", "a@b",
        ] {
            assert!(
                name.parse::<Name>().is_err(),
                "{name:?} was taken for a name"
            );
        }
        assert!("a".repeat(256).parse::<Name>().is_err());
    }
}
