//! Running other programs with a time limit: any of them may hang, and a test that hangs tells nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a command that must succeed and returns its standard output.
///
/// # Errors
/// It cannot be started, does not end within `limit` (it is killed then), or fails; the end of what it said is in the error.
pub fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let name = describe(command);
    let Output {
        status,
        stdout,
        stderr,
    } = finish(command, limit)?;
    if !status.success() {
        bail!(
            "`{name}` failed ({status}):\n{}",
            tail(&format!("{stdout}{stderr}"), 20)
        );
    }
    Ok(stdout)
}

/// Runs a command to its end, however it ends.
///
/// # Errors
/// It cannot be started or does not end within `limit`; it is killed then.
pub fn finish(command: &mut Command, limit: Duration) -> Result<Output> {
    // Files and not pipes: nobody has to read while waiting, and a grandchild that lives on (a daemon) holds nothing open.
    let mut stdout = tempfile::tempfile().context("no temporary file for a command's output")?;
    let mut stderr = tempfile::tempfile().context("no temporary file for a command's output")?;
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    let status = wait(command, limit)?;
    Ok(Output {
        status,
        stdout: contents(&mut stdout)?,
        stderr: contents(&mut stderr)?,
    })
}

/// Runs a command that must succeed with all that it says going to the file `log`.
///
/// # Errors
/// As for [`output`].
pub fn logged(command: &mut Command, limit: Duration, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let said = || tail(&std::fs::read_to_string(log).unwrap_or_default(), 20);
    let status = wait(command, limit).map_err(|error| error.context(said()))?;
    if !status.success() {
        bail!(
            "`{}` failed ({status}):\n{}\nThe whole output is in {}.",
            describe(command),
            said(),
            log.display()
        );
    }
    Ok(())
}

/// Starts a command and waits for its end.
///
/// # Errors
/// It cannot be started or does not end within `limit`; it is killed then.
pub fn wait(command: &mut Command, limit: Duration) -> Result<ExitStatus> {
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    match wait_for(&mut child, limit)? {
        Some(status) => Ok(status),
        None => {
            child
                .kill()
                .and_then(|()| child.wait())
                .with_context(|| format!("cannot end `{}`", describe(command)))?;
            bail!(
                "`{}` did not end within {} s and was killed",
                describe(command),
                limit.as_secs_f32()
            )
        }
    }
}

/// Waits for a running process; `None` when it still runs after `limit`.
///
/// # Errors
/// The system refuses to tell.
pub fn wait_for(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The command as a person would type it.
#[must_use]
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last `lines` lines of a text.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Says something to whoever watches, on standard error. That nobody listens is no error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn contents(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_killed() {
        let started = Instant::now();
        let error =
            output(Command::new("sleep").arg("60"), Duration::from_millis(100)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`sleep 60` did not end within 0.1 s"),
            "{error}"
        );
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failure_says_what_the_command_said_last() {
        let error = output(
            Command::new("sh").args(["-c", "seq 30; echo gone wrong >&2; exit 3"]),
            Duration::from_secs(10),
        )
        .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3")
                && text.ends_with("30\ngone wrong")
                && !text.contains("\n11\n"),
            "{text}"
        );
    }
}
