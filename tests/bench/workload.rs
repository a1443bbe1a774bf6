//! What is measured, in one word: `kind:size:count:concurrency`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    /// Bytes of a blob, or how many of its things there are: tags, repositories, referrers, layers.
    pub(crate) size: u64,
    /// Operations that are timed.
    pub(crate) count: usize,
    /// Clients, each with a connection of its own, that do the next operation as soon as their last is done.
    pub(crate) clients: usize,
}

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Version,
    Wrk,
    Push,
    PushStreamed,
    PushChunked,
    PushSame,
    Pull,
    PullRanges,
    HeadBlob,
    HeadManifest,
    GetManifest,
    PutManifest,
    Tags,
    Catalog,
    Referrers,
    ImagePush,
    ImagePull,
    Mixed,
}

/// The kinds, as they are written, and what one operation of each is.
pub(crate) const KINDS: [(Kind, &str, &str); 18] = [
    (Kind::Version, "version", "GET /v2/"),
    (Kind::Wrk, "wrk", "the same by wrk, for COUNT seconds"),
    (
        Kind::Push,
        "push",
        "a blob of SIZE: POST, then PUT with the whole body",
    ),
    (
        Kind::PushStreamed,
        "push-streamed",
        "the same as docker does it: POST, one PATCH in chunks of unknown length, empty PUT",
    ),
    (
        Kind::PushChunked,
        "push-chunked",
        "the same with PATCHes of 5 MiB",
    ),
    (
        Kind::PushSame,
        "push-same",
        "the same blob from all clients at once, COUNT times in all",
    ),
    (Kind::Pull, "pull", "GET of one of COUNT blobs of SIZE"),
    (
        Kind::PullRanges,
        "pull-ranges",
        "GET of one part of a blob of SIZE, which all clients pull together",
    ),
    (Kind::HeadBlob, "head-blob", "HEAD of one of SIZE blobs"),
    (
        Kind::HeadManifest,
        "head-manifest",
        "HEAD of one of SIZE tags",
    ),
    (Kind::GetManifest, "get-manifest", "GET of one of SIZE tags"),
    (
        Kind::PutManifest,
        "put-manifest",
        "PUT of a manifest of SIZE layers under a tag of its own",
    ),
    (
        Kind::Tags,
        "tags",
        "100 tags from anywhere in a list of SIZE",
    ),
    (
        Kind::Catalog,
        "catalog",
        "100 repositories from anywhere in a list of SIZE",
    ),
    (
        Kind::Referrers,
        "referrers",
        "the referrers of a subject that has SIZE, 100 at most",
    ),
    (
        Kind::ImagePush,
        "image-push",
        "an image of SIZE layers with docker's requests",
    ),
    (Kind::ImagePull, "image-pull", "the same, pulled"),
    (
        Kind::Mixed,
        "mixed",
        "nine pulls of a blob of SIZE to one push, while garbage is collected",
    ),
];

impl Kind {
    fn name(self) -> &'static str {
        let row = KINDS.iter().find(|(kind, ..)| *kind == self);
        row.map_or("", |(_, name, _)| name)
    }

    /// Whether servers are as before when it is done, so that further rounds may find what the first found.
    pub(crate) fn only_reads(self) -> bool {
        matches!(
            self,
            Self::Version
                | Self::Wrk
                | Self::Pull
                | Self::PullRanges
                | Self::HeadBlob
                | Self::HeadManifest
                | Self::GetManifest
                | Self::Tags
                | Self::Catalog
                | Self::Referrers
                | Self::ImagePull
        )
    }

    /// Whether its figure is bytes in a second, and not operations.
    pub(crate) fn counts_bytes(self) -> bool {
        matches!(
            self,
            Self::Push
                | Self::PushStreamed
                | Self::PushChunked
                | Self::PushSame
                | Self::Pull
                | Self::PullRanges
        )
    }

    /// Whether its size is one of blobs.
    fn has_bytes(self) -> bool {
        self.counts_bytes() || self == Self::Mixed
    }
}

impl Workload {
    /// Whether bytes are what it is about: a blob of a kibibyte is a request more than bytes.
    pub(crate) fn counts_bytes(&self) -> bool {
        self.kind.counts_bytes() && self.size >= 64 << 10
    }

    /// The same in short: to see that all works, not to learn how fast.
    pub(crate) fn quick(mut self) -> Self {
        self.count = (self.count / 50).max(self.clients);
        self.size = match self.kind.has_bytes() {
            true => self.size.min(6 << 20),
            false if self.kind == Kind::ImagePush || self.kind == Kind::ImagePull => self.size,
            false => (self.size / 10).min(200),
        };
        self
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.kind.name();
        let (number, unit) = match self.size {
            size if !self.kind.has_bytes() || size == 0 => (size, ""),
            size if size % (1 << 20) == 0 => (size >> 20, "MiB"),
            size if size % (1 << 10) == 0 => (size >> 10, "KiB"),
            size => (size, ""),
        };
        write!(
            formatter,
            "{name}:{number}{unit}:{}:{}",
            self.count, self.clients
        )
    }
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<_> = text.split(':').collect();
        let &[name, size, count, clients] = parts.as_slice() else {
            anyhow::bail!("{text:?} is no kind:size:count:concurrency");
        };
        let kind = KINDS.iter().find(|(_, other, _)| *other == name);
        let (kind, ..) = *kind.with_context(|| format!("no kind of workload: {name:?}"))?;
        let (digits, shift) = match size {
            size if size.ends_with("MiB") => (&size[..size.len() - 3], 20),
            size if size.ends_with("KiB") => (&size[..size.len() - 3], 10),
            size => (size, 0),
        };
        let number = |text: &str| -> Result<u64> {
            text.parse()
                .with_context(|| format!("{text:?} in {name} is no number"))
        };
        let workload = Self {
            kind,
            size: number(digits)? << shift,
            count: number(count)?.try_into()?,
            clients: number(clients)?.try_into()?,
        };
        ensure!(
            workload.count > 0 && (1..=256).contains(&workload.clients),
            "{text}: at least one operation, and 1 to 256 clients"
        );
        ensure!(
            !kind.has_bytes() || workload.size >= 64,
            "{text}: blobs have 64 bytes at least, or they would not be distinct"
        );
        Ok(workload)
    }
}

impl TryFrom<String> for Workload {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Workload> for String {
    fn from(workload: Workload) -> Self {
        workload.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_read_as_it_is_written() {
        for text in [
            "push:1KiB:500:8",
            "push-streamed:100MiB:8:2",
            "tags:1000:2000:4",
            "version:0:20000:8",
            "push:65:1:1",
        ] {
            let workload: Workload = text.parse().unwrap();
            assert_eq!(workload.to_string(), text);
        }
        let workload: Workload = "push-chunked:40MiB:8:2".parse().unwrap();
        assert_eq!(
            (workload.size, workload.count, workload.clients),
            (40 << 20, 8, 2)
        );
    }

    #[test]
    fn what_is_no_workload_is_refused() {
        for text in [
            "",
            "push",
            "push:1:1",
            "shove:1KiB:1:1",
            "push:1GiB:1:1",
            "push:1KiB:0:1",
            "push:1KiB:1:0",
            "push:1:1:1",
            "push:1KiB:-1:1",
            "push:1KiB:1:1:1",
        ] {
            assert!(text.parse::<Workload>().is_err(), "{text}");
        }
    }
}
