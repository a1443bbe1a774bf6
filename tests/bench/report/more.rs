//! The tables beside that of the workloads.

use std::fmt::Write as _;

use super::table::short;
use crate::results::{Footprint, Machine, Results};
use crate::statistics::median;
use crate::{REFERENCE, SUBJECT};

/// What is asked of wharf's memory, in MB.
const IDLE: f64 = 12.0;
const PEAK: f64 = 60.0;

/// Where it was measured.
pub(crate) fn machine(machine: &Machine) -> String {
    format!(
        "{}: {} cores of {}, {:.0} GB of memory, Linux {}, data on {}.\n",
        machine.date,
        machine.cores,
        machine.processor,
        machine.memory_bytes as f64 / 1e9,
        machine.kernel,
        machine.file_system
    )
}

/// What the registries take.
pub(crate) fn footprints(results: &Results) -> String {
    let mut all: Vec<&Footprint> = results.footprints.iter().collect();
    // As in the other table: the one that it is compared with first, wharf last.
    all.sort_by_key(|one| (one.name == SUBJECT, one.name != REFERENCE));
    let mut text = String::from("| |");
    for one in &all {
        let _ = write!(text, " {} {} |", one.name, one.version);
    }
    text += " target |\n|---|";
    text += &"---|".repeat(all.len() + 1);
    text.push('\n');
    let mut line = |what: &str, target: &str, cell: &dyn Fn(&Footprint) -> Option<String>| {
        let _ = write!(text, "| {what} |");
        for one in &all {
            let _ = write!(text, " {} |", cell(one).unwrap_or_else(|| "–".to_owned()));
        }
        let _ = writeln!(text, " {target} |");
    };
    let mb = |bytes: f64| format!("{} MB", short(bytes / 1e6));
    line("201 means", "", &|one| Some(one.durability.clone()));
    line("idle memory", &format!("≤ {IDLE} MB"), &|one| {
        let values: Vec<_> = one
            .idle_rss_bytes
            .iter()
            .map(|bytes| *bytes as f64)
            .collect();
        (!values.is_empty()).then(|| mb(median(&values)))
    });
    line("most memory in any row", &format!("≤ {PEAK} MB"), &|one| {
        Some(mb(results.peak(&one.name)? as f64))
    });
    line("start to first answer", "", &|one| {
        let values = &one.startup_ms;
        (!values.is_empty()).then(|| format!("{} ms", short(median(values))))
    });
    line("binary", "", &|one| Some(mb(one.binary_bytes as f64)));
    line("syncs for an image of one layer", "", &|one| {
        one.syncs_per_image.map(short)
    });
    text
}

/// How operations get slower.
pub(crate) fn growth(results: &Results) -> String {
    let mut text =
        String::from("| | at three sizes | slope | at most | met |\n|---|---|---|---|---|\n");
    for growth in &results.growth {
        let points: Vec<_> = growth
            .points
            .iter()
            .map(|point| format!("{}: {}", point.size, short(point.value)))
            .collect();
        let slope = growth
            .slope
            .map_or("–".to_owned(), |slope| format!("{slope:.2}"));
        let most = growth.most.map_or("–".to_owned(), |most| format!("{most}"));
        let met = match (growth.slope, growth.most) {
            (Some(slope), Some(most)) if slope <= most => "yes",
            (Some(_), Some(_)) => "**no**",
            _ => "–",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {slope} | {most} | {met} |",
            growth.label,
            points.join(", ")
        );
    }
    text
}
