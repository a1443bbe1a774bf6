//! The matrix as people read it, in `registry/doc/clients.md`.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wharf_tests::command::say;

use super::{Cell, VERBS};

const HEAD: &str = "# Clients

What each client does with the registry: `✔` was seen to work, with its effect and not its word alone,
and `–` was seen to be beyond the client, for the reason below. `tests/tests/clients` fills every cell,
and fails when this table says otherwise.

An index holds images for two platforms; an artifact names an image as its subject; a copy by mount
sends no layer. Clients of other releases may differ.
";
const TITLE: &str = "\n## What clients cannot\n";
const DOES: &str = "✔";
const CANNOT: &str = "–";

/// All cells of one client.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name and release.
    pub(super) client: String,
    does: Vec<bool>,
    /// Lines with what it cannot, and why.
    notes: Vec<String>,
}

impl Column {
    pub(super) fn new(client: String) -> Self {
        Self {
            client,
            does: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, verb: &str, cell: &Cell) {
        self.does.push(matches!(cell, Cell::Does));
        let Cell::Cannot(reason) = cell else { return };
        // One line for all verbs that a reason is for.
        let end = format!(": {reason}");
        match self.notes.iter_mut().find(|note| note.ends_with(&end)) {
            Some(note) => note.insert_str(note.len() - end.len(), &format!(", {verb}")),
            None => self.notes.push(format!("- {}, {verb}{end}", self.client)),
        }
    }
}

/// Shows the matrix and compares it with the committed table. Of clients that are not here in the
/// table's release, the table is right.
pub(super) fn compare(measured: &[Option<Column>]) -> Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = tests.with_file_name("registry").join("doc/clients.md");
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    let known = parse(&committed);
    let mut columns = Vec::new();
    for (index, measured) in measured.iter().enumerate() {
        let known = known.get(index);
        match (measured, known) {
            (Some(here), Some(known)) if here.client != known.client => {
                say(&format!(
                    "the table has {}, and here is {}: not compared",
                    known.client, here.client
                ));
                columns.push(known.clone());
            }
            (here, known) => columns.extend(here.as_ref().or(known).cloned()),
        }
    }
    let seen = render(&columns);
    let all: Vec<_> = measured.iter().flatten().cloned().collect();
    say(&render(&all));
    if seen == committed {
        return Ok(());
    }
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients.md");
    std::fs::write(&new, seen).with_context(|| format!("cannot write {}", new.display()))?;
    bail!(
        "{} does not say what was seen. If what was seen is right: cp {} {}",
        file.display(),
        new.display(),
        file.display()
    )
}

fn render(columns: &[Column]) -> String {
    let clients: Vec<_> = columns
        .iter()
        .map(|column| column.client.as_str())
        .collect();
    let mut text = format!("{HEAD}\n| | {} |\n", clients.join(" | "));
    let _ = writeln!(text, "|---|{}", ":-:|".repeat(columns.len()));
    for (index, (verb, _)) in VERBS.iter().enumerate() {
        let cells = columns.iter().map(|column| match column.does.get(index) {
            Some(true) => DOES,
            Some(false) => CANNOT,
            None => "?",
        });
        let cells: Vec<_> = cells.collect();
        let _ = writeln!(text, "| {verb} | {} |", cells.join(" | "));
    }
    text += TITLE;
    for note in columns.iter().flat_map(|column| &column.notes) {
        let _ = writeln!(text, "{note}");
    }
    text
}

fn parse(text: &str) -> Vec<Column> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let mut rows = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).skip(1));
    let mut columns: Vec<_> = rows
        .next()
        .into_iter()
        .flatten()
        .map(|client| Column::new(client.to_owned()))
        .collect();
    for row in rows.skip(1) {
        for (column, cell) in columns.iter_mut().zip(row) {
            column.does.push(cell == DOES);
        }
    }
    for column in &mut columns {
        let start = format!("- {}, ", column.client);
        let notes = text.lines().filter(|line| line.starts_with(&start));
        column.notes = notes.map(str::to_owned).collect();
    }
    columns
}
