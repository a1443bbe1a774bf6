//! Byte ranges: what a pull asks for, and where a chunk of an upload belongs.

use std::str::FromStr;

/// One range of a `Range` header (RFC 9110 §14.1.2), before the content's length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last`, both included. Where `last` comes before `first` there is no such byte in any
    /// content.
    FromTo(u64, u64),
    /// `first-`, to the end.
    From(u64),
    /// `-count`, the last `count` bytes.
    Last(u64),
}

/// The `Content-Range` of an upload's chunk in the distribution specification's form: `first-last`,
/// both included, without unit or total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Offset of the chunk's first byte.
    pub first: u64,
    /// Offset of its last byte; at least `first`.
    pub last: u64,
}

/// A header's text that is no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a byte range")]
pub struct InvalidRange;

impl ByteRange {
    /// The range's first byte and its length within a content of `size` bytes, or nothing where it
    /// holds no byte of it (which is answered with 416).
    pub fn resolve(self, size: u64) -> Option<(u64, u64)> {
        let (first, end) = match self {
            Self::FromTo(first, last) => (first, last.saturating_add(1).min(size)),
            Self::From(first) => (first, size),
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        (first < end).then(|| (first, end - first))
    }
}

impl FromStr for ByteRange {
    type Err = InvalidRange;

    /// Parses a whole `Range` header that names a single range of bytes.
    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (unit, range) = text.split_once('=').ok_or(InvalidRange)?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return Err(InvalidRange);
        }
        let (first, last) = range.trim().split_once('-').ok_or(InvalidRange)?;
        match (first, last) {
            ("", count) => Ok(Self::Last(number(count)?)),
            (first, "") => Ok(Self::From(number(first)?)),
            (first, last) => Ok(Self::FromTo(number(first)?, number(last)?)),
        }
    }
}

impl FromStr for ContentRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (first, last) = text.split_once('-').ok_or(InvalidRange)?;
        let (first, last) = (number(first)?, number(last)?);
        if first <= last {
            Ok(Self { first, last })
        } else {
            Err(InvalidRange)
        }
    }
}

/// Decimal digits only: `u64::from_str` would also take a leading plus.
fn number(text: &str) -> Result<u64, InvalidRange> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| InvalidRange)
    } else {
        Err(InvalidRange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_against_the_size() {
        let resolve = |text: &str, size| {
            text.parse::<ByteRange>()
                .ok()
                .map(|range| range.resolve(size))
        };
        assert_eq!(resolve("bytes=0-0", 10), Some(Some((0, 1))));
        assert_eq!(resolve("bytes=2-5", 10), Some(Some((2, 4))));
        assert_eq!(resolve("bytes=2-500", 10), Some(Some((2, 8))));
        assert_eq!(resolve("bytes=3-", 10), Some(Some((3, 7))));
        assert_eq!(resolve("bytes=-3", 10), Some(Some((7, 3))));
        assert_eq!(resolve("bytes=-30", 10), Some(Some((0, 10))));
        assert_eq!(resolve("bytes=10-", 10), Some(None));
        assert_eq!(resolve("bytes=5-2", 10), Some(None));
        assert_eq!(resolve("bytes=-0", 10), Some(None));
        assert_eq!(resolve("bytes=0-", 0), Some(None));
        assert_eq!(
            resolve("bytes=0-18446744073709551615", 10),
            Some(Some((0, 10)))
        );
    }

    #[test]
    fn other_texts_are_no_ranges() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=+1-2",
            "bytes=1-2,4-5",
            "items=0-1",
            "bytes=18446744073709551616-",
        ] {
            assert!(
                text.parse::<ByteRange>().is_err(),
                "{text:?} was taken for a range"
            );
        }
        for text in [
            "",
            "0",
            "-1",
            "1-",
            "5-2",
            "bytes 0-5/6",
            "+0-5",
            "0-18446744073709551616",
        ] {
            assert!(
                text.parse::<ContentRange>().is_err(),
                "{text:?} was taken for a content range"
            );
        }
        assert_eq!("0-0".parse(), Ok(ContentRange { first: 0, last: 0 }));
    }
}
