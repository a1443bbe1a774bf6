//! Running other programs.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

use crate::exit::Code;

/// Lines of a failed program's last words that are worth repeating.
const LAST_LINES: usize = 12;

/// Runs a program to its end and returns what it printed. It dies with us, unless we are killed. Either way `lock` stays
/// locked until it has ended, and everything that it has started: what kind began with `docker run` may outlive kind.
pub(crate) async fn run(
    program: &str,
    args: &[&str],
    lock: Option<File>,
) -> anyhow::Result<Vec<u8>> {
    run_with(program, args, &[], lock).await
}

/// The same, with these variables.
pub(crate) async fn run_with(
    program: &str,
    args: &[&str],
    variables: &[(&str, &OsStr)],
    lock: Option<File>,
) -> anyhow::Result<Vec<u8>> {
    if let Some(lock) = &lock {
        bequeath(lock).context("sharing the environment's lock")?;
    }
    let output = Command::new(program)
        .args(args)
        .envs(variables.iter().copied())
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
    // Some say on standard output why they failed.
    let said = match output.stderr.is_empty() {
        true => &output.stdout,
        false => &output.stderr,
    };
    let words = String::from_utf8_lossy(said);
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

/// Lets a file stay open in the programs that are started, and in those that they start.
#[cfg(unix)]
fn bequeath(file: &File) -> std::io::Result<()> {
    Ok(rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?)
}

/// Standard input is all that a program inherits here.
#[cfg(not(unix))]
fn bequeath(_file: &File) -> std::io::Result<()> {
    Ok(())
}

/// Whether a program is on PATH.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .any(|dir| dir.join(program).is_file() || dir.join(format!("{program}.exe")).is_file())
}

/// Fails with the way to get a program, unless it is on PATH.
pub(crate) fn require(program: &str, remedy: &str) -> anyhow::Result<()> {
    if has(program) {
        return Ok(());
    }
    Err(Code::Prerequisite.error(format!("{program} is not on PATH: {remedy}")))
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::TryLockError;

    use super::*;

    #[tokio::test]
    async fn a_lock_outlives_the_program_in_what_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let open = || File::create(directory.path().join("lock")).unwrap();
        let lock = open();
        lock.try_lock().unwrap();
        let script = "sleep 60 </dev/null >/dev/null 2>&1 & echo $!";
        let child = run("sh", &["-c", script], Some(lock)).await.unwrap();
        assert!(matches!(open().try_lock(), Err(TryLockError::WouldBlock)));
        run("kill", &[String::from_utf8_lossy(&child).trim()], None)
            .await
            .unwrap();
        // Its end closes the file, a moment after the signal.
        open().lock().unwrap();
    }
}
