//! What is said at the end: tables for people, in Markdown.

use std::io::Write;

/// The middle one; of an even number, the mean of the two.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The median, the least and the most.
pub(crate) fn spread(figures: &[f64], digits: usize) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!(
        "{:.digits$} ({least:.digits$}–{most:.digits$})",
        median(figures)
    )
}

/// A line of what was measured.
pub(crate) fn line(text: &str) {
    // A reader that has gone is no error.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A figure beside its target.
pub(crate) fn target(what: &str, figure: f64, wanted: &str, is_met: bool) {
    let met = if is_met { "met" } else { "**not met**" };
    line(&format!("- {what}: {figure:.2} (target {wanted}): {met}"));
}
