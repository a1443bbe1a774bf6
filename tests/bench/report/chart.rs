//! One picture: how many times as fast as the reference, for each row.

use std::fmt::Write as _;

use crate::results::{Results, RowResult};
use crate::{REFERENCE, SUBJECT};

const WIDTH: f64 = 860.0;
/// Where bars begin: labels are left of it.
const LEFT: f64 = 330.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 54.0;
const LINE: f64 = 24.0;
const BAR: f64 = 14.0;
/// Ratios that have a line of their own, on a scale of logarithms.
const GRID: [f64; 8] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// The picture, as SVG; it stands on white, whatever is around it.
pub(crate) fn svg(results: &Results) -> String {
    let rows: Vec<(&RowResult, f64)> = results
        .rows
        .iter()
        .filter_map(|row| Some((row, results.ratio(row)?)))
        .collect();
    let targets = rows.iter().filter_map(|(row, _)| row.target.ratio);
    let greatest = rows
        .iter()
        .map(|(_, ratio)| *ratio)
        .chain(targets)
        .fold(2.0, f64::max);
    let least = rows.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::min);
    let (from, to) = ((least * 0.9).ln(), (greatest * 1.1).ln());
    let x = |ratio: f64| LEFT + (ratio.ln() - from) / (to - from) * (WIDTH - LEFT - RIGHT);
    let height = TOP + rows.len() as f64 * LINE + 12.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="12" y="20" font-size="14" font-weight="bold">Throughput of {SUBJECT}, {REFERENCE} = 1 (scale of logarithms; black mark: target)</text>
"##
    );
    let bottom = height - 8.0;
    for ratio in GRID.into_iter().filter(|ratio| *ratio <= greatest * 1.1) {
        let (x, colour) = (x(ratio), if ratio > 1.0 { "#ddd" } else { "#666" });
        let _ = writeln!(
            svg,
            r##"<line x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="{colour}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="#555">{ratio}×</text>"##,
            TOP - 6.0,
            TOP - 10.0
        );
    }
    for (line, (row, ratio)) in rows.iter().enumerate() {
        let y = TOP + line as f64 * LINE;
        let (one, end) = (x(1.0), x(*ratio));
        let (start, width) = (one.min(end), (end - one).abs().max(1.0));
        let colour = match row.target.ratio {
            Some(target) if *ratio < target => "#c8553d",
            _ => "#2a78b8",
        };
        let middle = y + BAR / 2.0 + 4.0;
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{middle:.1}" text-anchor="end">{}</text><rect x="{start:.1}" y="{y:.1}" width="{width:.1}" height="{BAR}" fill="{colour}"/><text x="{:.1}" y="{middle:.1}">{ratio:.1}</text>"#,
            LEFT - 10.0,
            escape(&row.label),
            one.max(end) + 5.0
        );
        if let Some(target) = row.target.ratio {
            let x = x(target);
            let _ = writeln!(
                svg,
                r##"<line x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{:.1}" stroke="#000" stroke-width="2"/>"##,
                y - 2.0,
                y + BAR + 2.0
            );
        }
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
