//! What came out, as it is written to a file and read again.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::crowd::Lap;
use crate::rows::Target;
use crate::statistics::{median, percentile, range};
use crate::workload::Workload;
use crate::{REFERENCE, SUBJECT};

/// All that is known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<RowResult>,
    pub(crate) footprints: Vec<Footprint>,
    pub(crate) growth: Vec<Growth>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) date: String,
}

/// One workload.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RowResult {
    pub(crate) label: String,
    pub(crate) workload: Workload,
    pub(crate) target: Target,
    pub(crate) peers: Vec<PeerResult>,
}

/// What one registry did in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PeerResult {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Round>,
    /// Why there are no rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// One round of one registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) seconds: f64,
    pub(crate) operations: usize,
    pub(crate) bytes: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) server_cpu_seconds: f64,
    pub(crate) client_cpu_seconds: f64,
    pub(crate) peak_rss_bytes: u64,
}

/// What a registry takes, whatever it does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Footprint {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What it does before it answers a push with 201.
    pub(crate) durability: String,
    pub(crate) binary_bytes: u64,
    pub(crate) idle_rss_bytes: Vec<u64>,
    pub(crate) startup_ms: Vec<f64>,
    /// Calls that wait for the disk, for an image of one layer; [`None`] where nobody counted.
    pub(crate) syncs_per_image: Option<f64>,
}

/// How an operation gets slower where there is more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) label: String,
    pub(crate) points: Vec<GrowthPoint>,
    /// That of the line through the logarithms.
    pub(crate) slope: Option<f64>,
    /// The most that is taken for none; [`None`] where it may grow.
    pub(crate) most: Option<f64>,
}

/// One size.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct GrowthPoint {
    pub(crate) size: u64,
    pub(crate) value: f64,
}

impl Round {
    pub(crate) fn new(lap: &Lap, peak_rss_bytes: u64) -> Self {
        let ms = |percent| percentile(&lap.latencies, percent).as_secs_f64() * 1e3;
        Self {
            seconds: lap.took.as_secs_f64(),
            operations: lap.operations,
            bytes: lap.bytes,
            p50_ms: ms(50),
            p99_ms: ms(99),
            max_ms: ms(100),
            server_cpu_seconds: lap.server_cpu.as_secs_f64(),
            client_cpu_seconds: lap.client_cpu.as_secs_f64(),
            peak_rss_bytes,
        }
    }

    /// Megabytes (of a million) or operations in a second.
    pub(crate) fn rate(&self, workload: &Workload) -> f64 {
        match workload.counts_bytes() {
            true => self.bytes as f64 / 1e6 / self.seconds,
            false => self.operations as f64 / self.seconds,
        }
    }

    /// Seconds of processor time for a gigabyte, or microseconds for an operation.
    pub(crate) fn cpu(&self, seconds: f64, workload: &Workload) -> f64 {
        match workload.counts_bytes() {
            true => seconds / (self.bytes as f64 / 1e9),
            false => seconds * 1e6 / self.operations as f64,
        }
    }
}

impl PeerResult {
    /// The median of a figure over the rounds.
    pub(crate) fn median(&self, figure: impl Fn(&Round) -> f64) -> Option<f64> {
        let values = self.values(figure);
        (!values.is_empty()).then(|| median(&values))
    }

    /// Its least and its greatest.
    pub(crate) fn range(&self, figure: impl Fn(&Round) -> f64) -> (f64, f64) {
        range(&self.values(figure))
    }

    fn values(&self, figure: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.rounds.iter().map(figure).collect()
    }
}

impl RowResult {
    pub(crate) fn peer(&self, name: &str) -> Option<&PeerResult> {
        self.peers
            .iter()
            .find(|peer| peer.name == name && !peer.rounds.is_empty())
    }

    pub(crate) fn rate(&self, name: &str) -> Option<f64> {
        self.peer(name)?.median(|round| round.rate(&self.workload))
    }

    pub(crate) fn cpu(&self, name: &str) -> Option<f64> {
        self.peer(name)?
            .median(|round| round.cpu(round.server_cpu_seconds, &self.workload))
    }
}

impl Results {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} has no results", file.display()))
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// How many times as fast as the registry that it is compared with wharf is: in the same row, unless its target says
    /// otherwise.
    pub(crate) fn ratio(&self, row: &RowResult) -> Option<f64> {
        let other = match &row.target.than {
            Some(label) => self.rows.iter().find(|other| other.label == *label)?,
            None => row,
        };
        Some(row.rate(SUBJECT)? / other.rate(REFERENCE)?)
    }

    /// Whether all that was asked for in a row is so; nothing where that is not known.
    pub(crate) fn is_met(&self, row: &RowResult) -> Option<bool> {
        let Target {
            ratio, rate, cpu, ..
        } = &row.target;
        let mut met = Vec::new();
        if let Some(ratio) = ratio {
            met.push(self.ratio(row)? >= *ratio);
        }
        if let Some(rate) = rate {
            met.push(row.rate(SUBJECT)? >= *rate);
        }
        if let Some(cpu) = cpu {
            met.push(row.cpu(SUBJECT)? <= *cpu);
        }
        (!met.is_empty()).then(|| met.iter().all(|met| *met))
    }

    /// The most memory that a registry had in any row.
    pub(crate) fn peak(&self, name: &str) -> Option<u64> {
        let peers = self.rows.iter().filter_map(|row| row.peer(name));
        let rounds = peers.flat_map(|peer| &peer.rounds);
        rounds.map(|round| round.peak_rss_bytes).max()
    }

    /// Takes what a run found, in place of what was known of the same rows: a long run can be made in pieces.
    pub(crate) fn take(&mut self, new: Self) {
        self.machine = new.machine;
        replace(&mut self.rows, new.rows, |row| &row.label);
        replace(&mut self.footprints, new.footprints, |one| &one.name);
        replace(&mut self.growth, new.growth, |one| &one.label);
    }
}

fn replace<T>(known: &mut Vec<T>, new: Vec<T>, name: impl Fn(&T) -> &String) {
    for item in new {
        match known.iter_mut().find(|other| name(other) == name(&item)) {
            Some(other) => *other = item,
            None => known.push(item),
        }
    }
}
