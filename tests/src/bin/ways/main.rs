//! Measures the ways to the registry, and the way to a registry.
//!
//! ```text
//! cargo bench-ways [--rounds N] [--pairs N] [--mib N] [ways|nodes|up|all]
//! ```
//!
//! On a kind cluster of two nodes, made for it: a blob is pulled and pushed straight to the registry's pod, through the published port,
//! through `wharf forward` and through `kubectl port-forward`, in turns ([`ways`]); a node pulls an image through its relay and straight
//! from the Service, in turns ([`nodes`]); and `wharf up` from nothing takes turns with kind and its documented local-registry script
//! ([`up`]). All figures are medians. Nothing else may run meanwhile. Needs root on Linux, with an engine on this machine: the way
//! straight to the pod is a route of this machine, and the processors' time is read from its table of processes.

mod cluster;
mod cpu;
mod nodes;
mod report;
mod up;
mod ways;

use anyhow::{Context, Result, bail, ensure};
use wharf_tests::bed::{Bed, Tool};

use cluster::World;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
struct Options {
    /// Turns of each way.
    rounds: usize,
    /// Turns of each way to a registry.
    pairs: usize,
    /// The blob's size, in MiB.
    mib: usize,
    ways: bool,
    nodes: bool,
    up: bool,
}

fn main() -> Result<()> {
    let options = Options::read(std::env::args().skip(1))?;
    ensure!(
        rustix::process::geteuid().is_root(),
        "a route to the registry's pod is needed: run it as root"
    );
    let bed = Bed::ensure_with(&[Tool::Kind, Tool::Kubectl, Tool::Distribution])?;
    if options.ways || options.nodes {
        let world = World::up(&bed)?;
        if options.ways {
            ways::measure(&world, options.rounds, options.mib)?;
        }
        if options.nodes {
            nodes::measure(&world, options.rounds)?;
        }
    }
    if options.up {
        up::measure(&bed, options.pairs)?;
    }
    Ok(())
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            rounds: 5,
            pairs: 3,
            mib: 256,
            ways: true,
            nodes: true,
            up: true,
        };
        while let Some(argument) = arguments.next() {
            let mut number = || -> Result<usize> {
                let number = arguments.next().context("a number is missing")?;
                let number: usize = number.parse()?;
                ensure!(number > 0, "{argument} is 1 at least");
                Ok(number)
            };
            match argument.as_str() {
                "--rounds" => options.rounds = number()?,
                "--pairs" => options.pairs = number()?,
                "--mib" => options.mib = number()?,
                "all" => {}
                part @ ("ways" | "nodes" | "up") => {
                    options.ways = part == "ways";
                    options.nodes = part == "nodes";
                    options.up = part == "up";
                }
                _ => bail!("bench-ways [--rounds N] [--pairs N] [--mib N] [ways|nodes|up|all]"),
            }
        }
        Ok(options)
    }
}
