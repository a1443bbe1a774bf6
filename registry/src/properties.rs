//! What holds of whatever a peer may send as a name, digest, reference, range, manifest or path:
//! said once, for the fuzz targets in `registry/fuzz`, which look for an input that breaks it, and
//! for the ordinary test that replays what they have found so far.
//!
//! Each property takes any bytes at all, and panics where it does not hold.

use std::collections::HashSet;
use std::fmt::Debug;

use crate::api::route::{self, Target};
use crate::limits;
use crate::oci::{
    Algorithm, ByteRange, ContentRange, Digest, Manifest, ManifestKind, MediaType, Name, Reference,
    Tag,
};

/// A property of one kind of input.
pub type Property = fn(&[u8]);

/// Every property under the name of its fuzz target and of its folder in the corpus.
pub const ALL: [(&str, Property); 7] = [
    ("names", names),
    ("digests", digests),
    ("references", references),
    ("ranges", ranges),
    ("content_ranges", content_ranges),
    ("manifests", manifests),
    ("paths", paths),
];

/// A text is taken for a name exactly where the specification's grammar says so; it is then kept as
/// it was, and can be a relative path that stays where it is.
pub fn names(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let parsed = text.parse::<Name>();
    let expected = text.len() <= Name::MAX_BYTES && text.split('/').all(is_path_component);
    assert_eq!(parsed.is_ok(), expected, "{text:?}");
    if let Ok(name) = parsed {
        assert_eq!(name.to_string(), text);
        assert_eq!(name.as_str(), text);
        stays_inside(text);
    }
}

/// A text is taken for a digest exactly where it is an algorithm's name and as many lower-case
/// hexadecimal digits as that yields; it is then kept as it was.
pub fn digests(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let parsed = text.parse::<Digest>();
    let digits = |hex: &str| hex.bytes().all(|b| b"0123456789abcdef".contains(&b));
    let expected = match text.split_at_checked(7) {
        Some(("sha256:", hex)) => hex.len() == 64 && digits(hex),
        Some(("sha512:", hex)) => hex.len() == 128 && digits(hex),
        _ => false,
    };
    assert_eq!(parsed.is_ok(), expected, "{text:?}");
    if let Ok(digest) = parsed {
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest.hex().len(), digest.algorithm().hex_digits());
        stays_inside(digest.hex());
    }
    // The other way round: whatever bytes a digest is of, its text is read as the same digest.
    for algorithm in Algorithm::ALL {
        let digest = algorithm.digest(input);
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}

/// A text is a tag, a digest or nothing, and never two of them; it is kept as it was.
pub fn references(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let is_tag = (1..=128).contains(&text.len())
        && text.bytes().take(1).all(|b| word(&b))
        && text.bytes().all(|b| word(&b) || b == b'.' || b == b'-');
    assert_eq!(text.parse::<Tag>().is_ok(), is_tag, "{text:?}");
    match text.parse::<Reference>() {
        Ok(Reference::Tag(tag)) => {
            assert!(is_tag && text.parse::<Digest>().is_err());
            assert_eq!(tag.to_string(), text);
            stays_inside(text);
        }
        Ok(Reference::Digest(digest)) => {
            assert!(!is_tag);
            assert_eq!(digest.to_string(), text);
        }
        Err(_) => assert!(!is_tag && text.parse::<Digest>().is_err(), "{text:?}"),
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse(), Ok(reference));
    }
}

/// A range lies inside every content that it is resolved against, and holds exactly the bytes that
/// it names and the content has.
pub fn ranges(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let Ok(range) = text.parse::<ByteRange>() else {
        return;
    };
    let (written, numbers) = match range {
        ByteRange::FromTo(first, last) => (format!("bytes={first}-{last}"), [first, last]),
        ByteRange::From(first) => (format!("bytes={first}-"), [first, 0]),
        ByteRange::Last(count) => (format!("bytes=-{count}"), [count, 0]),
    };
    assert_eq!(written.parse(), Ok(range), "{text:?}");
    let near = numbers
        .into_iter()
        .flat_map(|n| [n.saturating_sub(1), n, n.saturating_add(1)]);
    for size in near.chain([0, 1, 10, 1 << 32, u64::MAX - 1, u64::MAX]) {
        // With numbers that cannot overflow.
        let (first, end) = match range {
            ByteRange::FromTo(first, last) => (
                u128::from(first),
                u128::from(size).min(u128::from(last) + 1),
            ),
            ByteRange::From(first) => (u128::from(first), u128::from(size)),
            ByteRange::Last(count) => (u128::from(size - size.min(count)), u128::from(size)),
        };
        match range.resolve(size) {
            Some((offset, length)) => {
                assert!(length > 0 && offset < size && length <= size - offset);
                assert_eq!(u128::from(offset), first, "{text:?} of {size}");
                assert_eq!(u128::from(offset) + u128::from(length), end);
            }
            None => assert!(first >= end, "{text:?} of {size}"),
        }
    }
}

/// A text is taken for a chunk's range exactly where it is two numbers in order, in the form that
/// the specification fixes.
pub fn content_ranges(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let number = |digits: &str| {
        let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // Leading zeros say nothing; what is left fits into 20 digits or is too large.
        let digits = digits.trim_start_matches('0');
        (all && digits.len() <= 20)
            .then(|| digits.bytes().fold(0, |n, b| n * 10 + u128::from(b - b'0')))
            .filter(|number| *number <= u128::from(u64::MAX))
    };
    let expected = text
        .split_once('-')
        .and_then(|(first, last)| Some((number(first)?, number(last)?)))
        .filter(|(first, last)| first <= last);
    let parsed = text.parse::<ContentRange>().ok();
    let numbers = parsed.map(|range| (u128::from(range.first), u128::from(range.last)));
    assert_eq!(numbers, expected, "{text:?}");
    if let Some(range) = parsed {
        assert_eq!(format!("{}-{}", range.first, range.last).parse(), Ok(range));
        assert!(range.length() > 0 && range.length() - 1 <= range.last - range.first);
    }
}

/// The first line of the input is a `Content-Type`, the rest a manifest. One that is taken is an
/// image or an index and not both, is called the same by header and field, names each content once
/// and no more than the limit allows, and is read in the same way when it comes back under the type
/// that it is served as.
pub fn manifests(input: &[u8]) {
    let line = input.iter().position(|b| *b == b'\n').unwrap_or(0);
    let (header, body) = input.split_at(line);
    let header = str::from_utf8(header).ok().and_then(MediaType::parse);
    if let Some(kind) = &header {
        assert_eq!(MediaType::parse(kind.as_str()).as_ref(), Some(kind));
    }
    let Ok(manifest) = Manifest::parse(header.as_ref(), body) else {
        return;
    };
    let served = manifest.media_type.as_str();
    assert!(
        served.bytes().all(|b| b.is_ascii_graphic() && b != b';'),
        "{served:?} goes into a header"
    );
    let document = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    let has = |field: &str| !document[field].is_null();
    assert!(!(has("manifests") && (has("config") || has("layers") || has("blobs"))));
    let field = document["mediaType"].as_str().unwrap_or_default();
    assert!(field.is_empty() || field == served, "{field:?} as {served}");
    match manifest.kind {
        ManifestKind::Image => assert!(manifest.children.is_empty()),
        ManifestKind::Index => {
            assert!(manifest.blobs.is_empty() && manifest.foreign_blobs.is_empty());
        }
    }
    let children: Vec<_> = manifest.children.iter().map(|one| &one.digest).collect();
    let count = manifest.blobs.len() + manifest.foreign_blobs.len() + children.len();
    assert!(count <= limits::DESCRIPTORS_PER_MANIFEST);
    each_once(&children);
    each_once(&manifest.blobs.iter().collect::<Vec<_>>());
    each_once(&manifest.foreign_blobs.iter().collect::<Vec<_>>());

    let again = Manifest::parse(Some(&manifest.media_type), body);
    assert_eq!(debug(again.as_ref().ok()), debug(Some(&manifest)));
}

/// A path that names a resource is, decoded, the one way to write that resource down: escapes make
/// no separator, no `..` and nothing that the grammar of its parts does not admit.
pub fn paths(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let Ok(target) = route::parse(text) else {
        return;
    };
    let written = write_path(&target);
    assert_eq!(route::parse(&written).as_ref(), Ok(&target), "{text:?}");
    let separators = |path: &str| path.trim_end_matches('/').matches('/').count();
    assert_eq!(separators(text), separators(&written), "{text:?}");
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    assert_eq!(
        decoded.trim_end_matches('/'),
        written.trim_end_matches('/'),
        "{text:?}"
    );
    stays_inside(written.trim_matches('/'));
    if let Some(name) = target.repository() {
        names(name.as_str().as_bytes());
        assert_eq!(name.as_str().parse().as_ref(), Ok(name));
        assert!(name.as_str().len() <= Name::MAX_BYTES);
    }
}

fn write_path(target: &Target) -> String {
    match target {
        Target::Version => "/v2/".to_owned(),
        Target::Blob { name, digest } => format!("/v2/{name}/blobs/{digest}"),
        Target::Uploads { name } => format!("/v2/{name}/blobs/uploads/"),
        Target::Upload { name, upload } => format!("/v2/{name}/blobs/uploads/{upload}"),
        Target::Manifest { name, reference } => format!("/v2/{name}/manifests/{reference}"),
        Target::Tags { name } => format!("/v2/{name}/tags/list"),
        Target::Referrers { name, digest } => format!("/v2/{name}/referrers/{digest}"),
        Target::Catalog => "/v2/_catalog".to_owned(),
    }
}

/// Whether a text is `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, found out in another way than the parser
/// does: separators are taken away, the longest first, where they stand between two words.
fn is_path_component(text: &str) -> bool {
    let letters = text
        .bytes()
        .take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        .count();
    let (word, rest) = text.split_at(letters);
    if word.is_empty() || rest.is_empty() {
        return !word.is_empty();
    }
    let dashes = rest.bytes().take_while(|b| *b == b'-').count();
    let rest = match dashes {
        0 => rest
            .strip_prefix('.')
            .or_else(|| rest.strip_prefix("__"))
            .or_else(|| rest.strip_prefix('_')),
        dashes => rest.get(dashes..),
    };
    rest.is_some_and(is_path_component)
}

/// Joined to a folder, the text is something in it, whatever the system and however often it is
/// decoded.
fn stays_inside(text: &str) {
    let odd = |b: u8| !b.is_ascii_graphic() || b"\\%?*\"'<>|".contains(&b);
    assert!(!text.is_empty() && !text.bytes().any(odd), "{text:?}");
    let climbs = |segment: &str| matches!(segment, "" | "." | "..");
    assert!(!text.split('/').any(climbs), "{text:?}");
    let path = std::path::Path::new(text);
    assert!(
        path.components()
            .all(|c| matches!(c, std::path::Component::Normal(_))),
        "{text:?}"
    );
}

fn each_once(digests: &[&Digest]) {
    let different: HashSet<_> = digests.iter().collect();
    assert_eq!(different.len(), digests.len(), "{digests:?}");
}

fn debug(value: impl Debug) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn entries(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("{} is missing: {error}", folder.display()));
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn stems(folder: &Path) -> HashSet<String> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries(folder).into_iter().map(stem).collect()
    }

    /// What fuzzing has found interesting, and what is known to have gone wrong elsewhere.
    #[test]
    fn hold_of_the_whole_corpus() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let all: HashSet<_> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(stems(&fuzz.join("corpus")), all);
        assert_eq!(stems(&fuzz.join("fuzz_targets")), all);
        for (name, property) in ALL {
            let inputs = entries(&fuzz.join("corpus").join(name));
            assert!(inputs.len() >= 10, "the corpus of {name} is no corpus");
            for input in inputs {
                let bytes = fs::read(&input).unwrap();
                // The input's name goes with a failure.
                std::panic::catch_unwind(|| property(&bytes))
                    .unwrap_or_else(|_| panic!("{} breaks a property", input.display()));
            }
        }
    }
}
