//! Tables in Markdown.

use std::fmt::Write as _;

use super::more;
use crate::results::{PeerResult, Results, Round, RowResult};
use crate::{REFERENCE, SUBJECT};

/// All tables of the results.
pub(crate) fn all(results: &Results) -> String {
    let mut parts = vec![more::machine(&results.machine)];
    if !results.rows.is_empty() {
        parts.push(rows(results));
    }
    if !results.footprints.is_empty() {
        parts.push(more::footprints(results));
    }
    if !results.growth.is_empty() {
        parts.push(more::growth(results));
    }
    parts.join("\n")
}

fn rows(results: &Results) -> String {
    let mut names: Vec<&str> = vec![REFERENCE];
    for row in &results.rows {
        for peer in &row.peers {
            if peer.name != SUBJECT && !names.contains(&peer.name.as_str()) {
                names.push(&peer.name);
            }
        }
    }
    names.push(SUBJECT);
    let mut text = String::from("| workload |");
    for name in &names {
        let _ = write!(text, " {name} |");
    }
    text += " ratio (target) | p50 / p99 / max ms | client's CPU | met |\n|---|";
    text += &"---|".repeat(names.len() + 4);
    text.push('\n');
    for row in &results.rows {
        let _ = write!(text, "| {} |", row.label);
        for name in &names {
            let peer = row.peers.iter().find(|peer| peer.name == *name);
            let _ = write!(
                text,
                " {} |",
                peer.map_or("–".to_owned(), |peer| cell(row, peer))
            );
        }
        let ratio = results.ratio(row);
        let ratio = ratio.map_or("–".to_owned(), |ratio| format!("**{ratio:.2}**"));
        let subject = row.peer(SUBJECT);
        let latency = subject.map_or("–".to_owned(), |peer| {
            let ms = |figure: fn(&Round) -> f64| peer.median(figure).map_or(String::new(), short);
            format!(
                "{} / {} / {}",
                ms(|round| round.p50_ms),
                ms(|round| round.p99_ms),
                ms(|round| round.max_ms)
            )
        });
        let client = subject
            .and_then(|peer| peer.median(|r| r.cpu(r.client_cpu_seconds, &row.workload)))
            .map_or("–".to_owned(), |cpu| cpu_text(row, cpu));
        let _ = writeln!(
            text,
            " {ratio}{} | {latency} | {client} | {} |",
            target(row),
            match results.is_met(row) {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "–",
            }
        );
    }
    text
}

/// A row in short, for whoever waits for the others.
pub(crate) fn line(row: &RowResult) -> String {
    let peers: Vec<_> = row
        .peers
        .iter()
        .map(|peer| format!("{} {}", peer.name, cell(row, peer)))
        .collect();
    format!("{}: {}{}", row.label, peers.join(" | "), target(row))
}

/// The median, its range, and the processor time.
fn cell(row: &RowResult, peer: &PeerResult) -> String {
    let rate = |round: &Round| round.rate(&row.workload);
    let Some(median) = peer.median(rate) else {
        return "none".to_owned();
    };
    let (least, greatest) = peer.range(rate);
    let unit = match row.workload.counts_bytes() {
        true => "MB/s",
        false => "per s",
    };
    let cpu = peer.median(|round| round.cpu(round.server_cpu_seconds, &row.workload));
    format!(
        "{} {unit} ({}–{}); {}",
        short(median),
        short(least),
        short(greatest),
        cpu.map_or(String::new(), |cpu| cpu_text(row, cpu))
    )
}

fn cpu_text(row: &RowResult, cpu: f64) -> String {
    match row.workload.counts_bytes() {
        true => format!("{cpu:.2} s/GB"),
        false if cpu >= 10_000.0 => format!("{:.0} ms", cpu / 1e3),
        false => format!("{cpu:.0} µs"),
    }
}

fn target(row: &RowResult) -> String {
    let mut asked = Vec::new();
    if let Some(ratio) = row.target.ratio {
        asked.push(format!("≥ {ratio}×"));
    }
    if let Some(rate) = row.target.rate {
        asked.push(format!("≥ {rate} per s"));
    }
    if let Some(cpu) = row.target.cpu {
        asked.push(match row.workload.counts_bytes() {
            true => format!("≤ {cpu} s/GB"),
            false => format!("≤ {cpu} µs"),
        });
    }
    match asked.is_empty() {
        true => String::new(),
        false => format!(" ({})", asked.join("; ")),
    }
}

/// Three digits that mean something.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
