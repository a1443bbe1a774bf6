//! What was typed.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::servers::Peer;
use crate::workload::{KINDS, Workload};

/// What to do.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) only: Vec<String>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) peers: Vec<Peer>,
    pub(crate) alone: bool,
    pub(crate) dir: PathBuf,
    pub(crate) json: Option<PathBuf>,
    pub(crate) chart: Option<PathBuf>,
    pub(crate) footprint: bool,
    pub(crate) growth: bool,
    pub(crate) report: bool,
    pub(crate) help: bool,
}

/// How it is used.
pub(crate) fn usage() -> String {
    let mut text = String::from(
        "\
Measures wharf and other registries side by side.

Usage: cargo bench-peers [OPTION]...

      --only TEXT        rows whose label or workload has TEXT in it; may be given more than once
      --workload SPEC    kind:size:count:concurrency, in place of the rows; may be given more than once
      --rounds N         rounds of each row [default: 5]
      --quick            one short round: to see that all works, not to learn how fast
      --peer NAME=URL,PID   another registry, which runs at URL as process PID; may be given more than once
      --peer NAME=FILE   another binary of wharf, to compare with
      --alone            without distribution
      --dir DIR          where the data goes: a directory on the disk that is to be measured [default: the temporary one]
      --json FILE        adds the results to FILE, in place of earlier ones of the same rows
      --chart FILE       draws the ratios, as SVG
      --footprint        measures no rows, but memory, start-up, size, and syncs for an image
      --growth           measures no rows, but what gets slower with more tags, repositories, referrers and blobs (wharf alone;
                         --only takes these words)
      --report           measures nothing: prints and draws what is in the file of --json

Kinds of workloads:
",
    );
    for (_, name, what) in KINDS {
        text += &format!("      {name:<14} {what}\n");
    }
    text
}

impl Options {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments.into_iter();
        let mut options = Self {
            only: Vec::new(),
            workloads: Vec::new(),
            rounds: 5,
            quick: false,
            peers: Vec::new(),
            alone: false,
            dir: std::env::temp_dir(),
            json: None,
            chart: None,
            footprint: false,
            growth: false,
            report: false,
            help: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.with_context(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--only" => options.only.push(value()?),
                "--workload" => options.workloads.push(value()?.parse()?),
                "--rounds" => options.rounds = value()?.parse().context("--rounds")?,
                "--quick" => options.quick = true,
                "--peer" => options.peers.push(value()?.parse().context("--peer")?),
                "--alone" => options.alone = true,
                "--dir" => options.dir = value()?.into(),
                "--json" => options.json = Some(value()?.into()),
                "--chart" => options.chart = Some(value()?.into()),
                "--footprint" => options.footprint = true,
                "--growth" => options.growth = true,
                "--report" => options.report = true,
                "-h" | "--help" => options.help = true,
                other => bail!("unknown argument {other:?}"),
            }
        }
        Ok(options)
    }
}
