//! Bad places: what `wharf` says, and which exit code it leaves, where it cannot do what it is
//! told.

mod cluster;
mod engine;
mod existing;
mod port;
mod project;
mod provider;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wharf_tests::command::{self, Output};

/// Longer than any refusal takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The commands that need an engine.
const COMMANDS: [&str; 3] = ["up", "down", "status"];

/// Runs a command that must fail with this code and one sentence, and returns the sentence.
fn refused(command: &mut Command, code: i32) -> Result<String> {
    let output = command::finish(command, PATIENCE)?;
    let Output {
        status,
        stdout,
        stderr,
    } = &output;
    let sentences = stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .count();
    ensure!(
        status.code() == Some(code) && stdout.is_empty() && sentences == 1,
        "exit {code} and a sentence were expected: {output:?}"
    );
    stderr
        .lines()
        .last()
        .map(str::to_owned)
        .context("nothing was said")
}

/// Runs a command that must succeed.
fn said(command: &mut Command) -> Result<String> {
    command::output(command, PATIENCE)
}
