//! What gets slower where there is more: each operation at three sizes, ten times apart. The slope of the line through the
//! logarithms is 0 where it does not matter how much there is, and 1 where an operation looks at all of it.

use std::path::Path;

use anyhow::{Context as _, Result};
use wharf_tests::command::say;
use wharf_tests::seed;

use crate::crowd;
use crate::loads::{self, Catalog, Load, Place, Referrers, Tags};
use crate::results::{Growth, GrowthPoint};
use crate::running::Running;
use crate::servers::{Peer, Variant};
use crate::statistics::{percentile, slope};
use crate::workload::Workload;

/// The most that an operation may grow by, and the most that memory may.
const OPERATION: f64 = 0.1;
const MEMORY: f64 = 0.2;
/// Operations that a latency is the median of. One client: it is the operation that is measured, and no queue.
const COUNT: usize = 3000;
/// Of those that wait for the disk.
const WRITES: usize = 500;

/// What is looked at again and again.
const FEW: u64 = 100;

/// The sizes: how much smaller than the largest they are.
const STEPS: [u64; 3] = [100, 10, 1];

/// What is known of one server at each size.
struct Curve {
    of: &'static str,
    known: Vec<Growth>,
}

/// A way to measure a curve up to some largest size.
type Measure = fn(&Peer, Scale, &Path) -> Result<Curve>;

/// How much there is in the end, and how long it is looked at.
#[derive(Clone, Copy)]
struct Scale {
    largest: u64,
    count: usize,
    writes: usize,
}

/// All that can grow. `quick` makes all of it smaller.
pub(crate) fn all(
    wharf: &Peer,
    quick: bool,
    only: &[String],
    scratch: &Path,
) -> Result<Vec<Growth>> {
    let curves: [(&str, Measure, u64); 4] = [
        ("tags", tags, 100_000),
        ("repositories", repositories, 100_000),
        ("referrers", referrers, 10_000),
        ("blobs", blobs, 1_000_000),
    ];
    let mut all = Vec::new();
    for (name, measure, largest) in curves {
        let scale = match quick {
            true => Scale {
                largest: (largest / 1000).max(100),
                count: 50,
                writes: 10,
            },
            false => Scale {
                largest,
                count: COUNT,
                writes: WRITES,
            },
        };
        if only.is_empty() || only.iter().any(|only| name.contains(only.as_str())) {
            all.extend(measure(wharf, scale, scratch)?.known);
        }
    }
    Ok(all)
}

fn tags(wharf: &Peer, scale: Scale, scratch: &Path) -> Result<Curve> {
    let server = wharf.start(scratch, Variant::Plain)?;
    let place = &server.place;
    let mut curve = Curve::new("tags of a repository");
    let mut tags = Tags::new(0)?;
    tags.prepare(place)?;
    for size in STEPS.map(|step| scale.largest / step) {
        tags.grow(place, size)?;
        curve.points_of(
            place,
            size,
            "manifest GET by tag",
            scale,
            |worker, number| tags.get(worker, number),
        )?;
        curve.latency(
            place,
            size,
            "page of 100 tags",
            scale.count,
            |worker, index| tags.operate(place, worker, index),
        )?;
        curve.latency(
            place,
            size,
            "manifest PUT by tag",
            scale.writes,
            |worker, index| tags.put(worker, size + index as u64),
        )?;
        curve.memory(place, size)?;
    }
    Ok(curve)
}

fn repositories(wharf: &Peer, scale: Scale, scratch: &Path) -> Result<Curve> {
    let server = wharf.start(scratch, Variant::Plain)?;
    let place = &server.place;
    let mut curve = Curve::new("repositories");
    let mut catalog = Catalog::new(0)?;
    catalog.prepare(place)?;
    for size in STEPS.map(|step| scale.largest / step) {
        catalog.grow(place, size)?;
        curve.points_of(place, size, "manifest HEAD", scale, |worker, number| {
            catalog.head(worker, number)
        })?;
        curve.latency(
            place,
            size,
            "page of 100 repositories",
            scale.count,
            |worker, index| catalog.operate(place, worker, index),
        )?;
        curve.memory(place, size)?;
    }
    Ok(curve)
}

fn referrers(wharf: &Peer, scale: Scale, scratch: &Path) -> Result<Curve> {
    let server = wharf.start(scratch, Variant::Plain)?;
    let place = &server.place;
    let mut curve = Curve::new("referrers of a subject");
    let mut referrers = Referrers::new(0)?;
    referrers.prepare(place)?;
    let mut before = 0;
    for size in STEPS.map(|step| scale.largest / step) {
        referrers.grow(place, size)?;
        curve.latency(
            place,
            size,
            "page of 100 referrers",
            scale.count,
            |worker, index| referrers.operate(place, worker, index),
        )?;
        // What is added here counts for the next size.
        let writes = scale.writes.min(usize::try_from(size - before)?);
        curve.latency(place, size, "referrer PUT", writes, |worker, _| {
            referrers.put(worker)
        })?;
        before = size;
        curve.memory(place, size)?;
    }
    Ok(curve)
}

/// Rows without files, among which are some blobs that are there.
fn blobs(wharf: &Peer, scale: Scale, scratch: &Path) -> Result<Curve> {
    let mut server: Option<Running> = None;
    let mut curve = Curve::new("blobs");
    let mut before = 0;
    for size in STEPS.map(|step| scale.largest / step) {
        let running = match server.take() {
            Some(running) => running,
            None => wharf.start(scratch, Variant::Plain)?,
        };
        let running = running.again(wharf, |data| seed::blob_rows(data, before, size))?;
        before = size;
        let place = &running.place;
        curve.point(
            size,
            "start, ms",
            running.startup.as_secs_f64() * 1e3,
            f64::NAN,
        );
        let heads: Workload = "head-blob:1000:1:1".parse()?;
        for (label, workload, count) in [
            ("blob HEAD", heads, scale.count),
            (
                "blob push",
                format!("push:1KiB:{}:1", scale.writes).parse()?,
                scale.writes,
            ),
        ] {
            let load = loads::load(workload)?;
            load.prepare(place)?;
            curve.latency(place, size, label, count, |worker, index| {
                load.operate(place, worker, index)
            })?;
        }
        curve.memory(place, size)?;
        server = Some(running);
    }
    Ok(curve)
}

impl Curve {
    fn new(of: &'static str) -> Self {
        let known = Vec::new();
        Self { of, known }
    }

    /// Looks at one after the other, and at few again and again: a server remembers what was asked for of late, and how much of
    /// all that is must not look like growth.
    fn points_of(
        &mut self,
        place: &Place,
        size: u64,
        label: &str,
        scale: Scale,
        operation: impl Fn(&mut crowd::Worker, u64) -> Result<u64> + Sync,
    ) -> Result<()> {
        let once = scale.largest / STEPS[0];
        let label_once = format!("{label}, each once");
        self.latency(
            place,
            size,
            &label_once,
            usize::try_from(once)?,
            |worker, index| operation(worker, index as u64 * (size / once)),
        )?;
        let label_again = format!("{label}, few again and again");
        self.latency(place, size, &label_again, scale.count, |worker, index| {
            operation(worker, index as u64 % FEW.min(size))
        })
    }

    fn latency(
        &mut self,
        place: &Place,
        size: u64,
        label: &str,
        count: usize,
        operation: impl Fn(&mut crowd::Worker, usize) -> Result<u64> + Sync,
    ) -> Result<()> {
        let lap = crowd::run(place.address, place.process, 1, count, operation)
            .with_context(|| format!("{label} at {size}"))?;
        let median = percentile(&lap.latencies, 50).as_secs_f64() * 1e6;
        self.point(size, &format!("{label}, µs"), median, OPERATION);
        Ok(())
    }

    fn memory(&mut self, place: &Place, size: u64) -> Result<()> {
        let resident = place.process.resident()? as f64 / 1e6;
        self.point(size, "resident memory, MB", resident, MEMORY);
        Ok(())
    }

    fn point(&mut self, size: u64, label: &str, value: f64, most: f64) {
        say(&format!("{size} {}: {label} {value:.1}", self.of));
        let label = format!("{}: {label}", self.of);
        let point = GrowthPoint { size, value };
        match self.known.iter_mut().find(|growth| growth.label == label) {
            Some(growth) => {
                growth.points.push(point);
                let points: Vec<_> = growth
                    .points
                    .iter()
                    .map(|p| (p.size as f64, p.value))
                    .collect();
                growth.slope = Some(slope(&points));
            }
            None => self.known.push(Growth {
                label,
                points: vec![point],
                slope: None,
                most: most.is_finite().then_some(most),
            }),
        }
    }
}
