//! What is measured unless told otherwise, and what is asked of it.

use serde::{Deserialize, Serialize};

use crate::servers::Variant;
use crate::workload::Workload;

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) workload: Workload,
    pub(crate) target: Target,
    pub(crate) variant: Variant,
    /// No other registry is asked: it would take too long to fill it.
    pub(crate) alone: bool,
}

/// What is asked of wharf in a row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Times as fast as distribution in the same run.
    pub(crate) ratio: Option<f64>,
    /// The row in which distribution is looked at for that, if it is not this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) than: Option<String>,
    /// Operations in a second.
    pub(crate) rate: Option<f64>,
    /// Seconds of processor time for a gigabyte, or microseconds for an operation.
    pub(crate) cpu: Option<f64>,
}

/// All rows: label, workload, ratio and processor time asked for.
const ROWS: [(&str, &str, f64, Option<f64>); 22] = [
    ("push 1 KiB, c=8", "push:1KiB:1000:8", 3.5, None),
    ("push 1 MiB, c=4", "push:1MiB:200:4", 2.3, None),
    (
        "push streamed 1 MiB, c=4",
        "push-streamed:1MiB:200:4",
        2.5,
        None,
    ),
    (
        "push streamed 100 MiB, c=2",
        "push-streamed:100MiB:8:2",
        1.45,
        Some(1.15),
    ),
    ("push 100 MiB, c=2", "push:100MiB:8:2", 1.4, Some(1.15)),
    (
        "push 40 MiB in 5 MiB chunks, c=2",
        "push-chunked:40MiB:8:2",
        1.7,
        None,
    ),
    (
        "the same 10 MiB from 16 at once",
        "push-same:10MiB:64:16",
        1.4,
        None,
    ),
    ("pull 1 MiB, c=4", "pull:1MiB:1000:4", 5.0, Some(0.3)),
    ("pull 100 MiB, c=2", "pull:100MiB:20:2", 2.3, Some(0.3)),
    (
        "pull 100 MiB in 8 ranges",
        "pull-ranges:100MiB:160:8",
        2.5,
        None,
    ),
    ("manifest PUT, c=8", "put-manifest:1:1000:8", 3.0, None),
    (
        "manifest GET by tag, 1,000 tags, c=8",
        "get-manifest:1000:20000:8",
        5.0,
        Some(35.0),
    ),
    (
        "manifest HEAD by tag, 1,000 tags, c=8",
        "head-manifest:1000:20000:8",
        5.0,
        Some(30.0),
    ),
    (
        "blob HEAD, 1,000 blobs, c=8",
        "head-blob:1000:20000:8",
        5.0,
        Some(30.0),
    ),
    ("GET /v2/, c=8", "version:0:50000:8", 1.0, None),
    ("GET /v2/ by wrk, c=8", "wrk:0:3:8", 3.8, None),
    ("tags, 100 among 1,000, c=4", "tags:1000:4000:4", 8.0, None),
    (
        "catalog, 100 among 2,000, c=4",
        "catalog:2000:1000:4",
        15.0,
        None,
    ),
    (
        "image push, 5 layers of 43 MiB, c=2",
        "image-push:5:16:2",
        1.0,
        None,
    ),
    (
        "image pull, 5 layers of 43 MiB, c=2",
        "image-pull:5:16:2",
        1.0,
        None,
    ),
    (
        "90 % pull, 10 % push 64 KiB, collecting, c=8",
        "mixed:64KiB:5000:8",
        1.0,
        None,
    ),
    (
        "manifest GET by tag, wharf logging requests, c=8",
        "get-manifest:1000:20000:8",
        1.0,
        None,
    ),
];

/// Lists that take too long to fill in distribution, and the row that their ratio is to: label, workload, ratio, row.
const LARGE: [(&str, &str, f64, &str); 2] = [
    (
        "tags, 100 among 100,000, c=4",
        "tags:100000:4000:4",
        8.0,
        "tags, 100 among 1,000, c=4",
    ),
    (
        "catalog, 100 among 100,000, c=4",
        "catalog:100000:4000:4",
        15.0,
        "catalog, 100 among 2,000, c=4",
    ),
];

/// What distribution does not know at all.
const REFERRERS: (&str, &str, f64) = (
    "referrers, 100 among 200, c=4",
    "referrers:200:4000:4",
    4000.0,
);

/// The rows of a whole run.
pub(crate) fn all() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (label, workload, ratio, cpu) in ROWS {
        let variant = match label {
            label if label.contains("collecting") => Variant::Collecting,
            label if label.contains("logging") => Variant::Logging,
            _ => Variant::Plain,
        };
        rows.push(Row {
            variant,
            target: Target {
                ratio: Some(ratio),
                cpu,
                ..Target::default()
            },
            ..Row::of(label, workload.parse()?)
        });
    }
    for (label, workload, ratio, than) in LARGE {
        rows.push(Row {
            target: Target {
                ratio: Some(ratio),
                than: Some(than.to_owned()),
                ..Target::default()
            },
            alone: true,
            ..Row::of(label, workload.parse()?)
        });
    }
    let (label, workload, rate) = REFERRERS;
    rows.push(Row {
        target: Target {
            rate: Some(rate),
            ..Target::default()
        },
        ..Row::of(label, workload.parse()?)
    });
    Ok(rows)
}

impl Row {
    /// A row in which nothing is asked for.
    pub(crate) fn of(label: &str, workload: Workload) -> Self {
        Self {
            label: label.to_owned(),
            workload,
            target: Target::default(),
            variant: Variant::Plain,
            alone: false,
        }
    }
}
