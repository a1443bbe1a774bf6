//! The distribution specification, statement by statement: which test holds each. What is asked of
//! clients alone is left out.

mod delete;
mod general;
mod manifest;
mod pull;
mod referrers;
mod tags;
mod upload;

use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The state of the specification that the statements are taken from.
const SPECIFICATION: &str = "https://github.com/opencontainers/distribution-spec/blob/967efdc079b91785ad18c77cc4f8991a47feefbf/spec.md";

/// What a registry must or should do.
struct Statement {
    /// What it is called here.
    id: &'static str,
    /// Its own words, in the order of the specification.
    words: &'static str,
    /// The tests that fail where it does not hold: suite, module, function.
    tests: &'static [&'static str],
    /// What this registry does where the statement leaves it open, or does not fit.
    note: &'static str,
}

const PARTS: [(&str, &[Statement]); 7] = [
    ("Pull", pull::ALL),
    ("Push: blobs", upload::ALL),
    ("Push: manifests", manifest::ALL),
    ("Content discovery: tags", tags::ALL),
    ("Content discovery: referrers", referrers::ALL),
    ("Content management", delete::ALL),
    ("Everywhere", general::ALL),
];

/// The table as people read it.
fn render() -> Result<String> {
    let mut text = format!(
        "# The specification, statement by statement\n\n\
         What the [distribution specification]({SPECIFICATION}) asks of registries, and the test that holds it\n\
         (suite, module, function; in `tests/tests`). Rendered from `tests/tests/protocol/statements`.\n"
    );
    for (title, statements) in PARTS {
        write!(
            text,
            "\n## {title}\n| id | statement | held by |\n|---|---|---|\n"
        )?;
        for Statement {
            id,
            words,
            tests,
            note,
        } in statements
        {
            let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
            let note = match *note {
                "" => String::new(),
                note => format!("<br>*Here:* {note}"),
            };
            let words = format!("{words}{note}").replace('|', "\\|");
            let words = words.replace("](#", &format!("]({SPECIFICATION}#"));
            writeln!(text, "| {id} | {words} | {} |", tests.join("<br>"))?;
        }
    }
    Ok(text)
}

/// Whether a suite has such a test, and runs it.
fn exists(test: &str) -> Result<bool> {
    let mut names = test.split("::");
    let mut name = || {
        names
            .next()
            .with_context(|| format!("{test} names no test"))
    };
    let (suite, module, function) = (name()?, name()?, name()?);
    let file = format!("tests/{suite}/{module}.rs");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    let text = fs::read_to_string(path).with_context(|| format!("{test}: no {file}"))?;
    Ok(text.contains(&format!("\n#[test]\nfn {function}(")))
}

#[test]
fn each_names_tests_that_are_there() -> Result<()> {
    let mut ids = HashSet::new();
    for statement in PARTS.iter().flat_map(|(_, statements)| *statements) {
        let id = statement.id;
        ensure!(ids.insert(id), "two statements are called {id}");
        ensure!(!statement.tests.is_empty(), "nothing holds {id}");
        for test in statement.tests {
            ensure!(exists(test)?, "{id}: there is no test {test}");
        }
    }
    Ok(())
}

#[test]
fn the_document_says_the_same() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../registry/doc/statements.md");
    let rendered = render()?;
    if std::env::var_os("UPDATE_STATEMENTS").is_some() {
        fs::write(&path, &rendered)?;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = rendered
        .lines()
        .zip(written.lines().chain(std::iter::repeat("")))
        .find(|(rendered, written)| rendered != written);
    ensure!(
        written == rendered,
        "registry/doc/statements.md is not what the table says, first at {differs:?}; \
         write it anew with UPDATE_STATEMENTS=1"
    );
    Ok(())
}
