//! Running other programs.

use std::fs::File;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

use crate::exit::Code;

/// Lines of a failed program's last words that are worth repeating.
const LAST_LINES: usize = 12;

/// Runs a program to its end and returns what it printed. It dies with us, unless we are killed: then it keeps `lock`,
/// its standard input, locked until it ends as well.
pub(crate) async fn run(
    program: &str,
    args: &[&str],
    lock: Option<File>,
) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(program)
        .args(args)
        .stdin(lock.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("running {program}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
    anyhow::bail!(
        "`{program} {}` failed ({}):\n  {last}",
        args.join(" "),
        output.status
    )
}

/// Fails with the way to get a program, unless it is on PATH.
pub(crate) fn require(program: &str, remedy: &str) -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path)
        .any(|dir| dir.join(program).is_file() || dir.join(format!("{program}.exe")).is_file())
    {
        return Ok(());
    }
    Err(Code::Prerequisite.error(format!("{program} is not on PATH: {remedy}")))
}
