//! A tracer between a process and its kernel.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::command;
use crate::talk::until;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running strace. Dropping it lets the process go on in peace.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    log: PathBuf,
}

impl Tracer {
    /// Attaches it to all threads of a process, those that are still to come included. `arguments` say what it does there; its
    /// files go into `scratch`.
    ///
    /// # Errors
    /// There is no strace, or it may not attach.
    pub fn attach<S: AsRef<OsStr>>(
        process: u32,
        scratch: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let (log, said) = (scratch.join("strace"), scratch.join("strace-said"));
        let _ = std::fs::remove_file(&log);
        let child = Command::new("strace")
            .args(["--follow-forks", "--output"])
            .arg(&log)
            .args(arguments)
            .args(["--attach", &process.to_string()])
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&said)?)
            .spawn()
            .context("cannot run strace")?;
        let tracer = Self { child, log };
        until(PATIENCE, &true, || {
            Ok(std::fs::read_to_string(&said)?.contains("attached"))
        })?;
        Ok(tracer)
    }

    /// Lets the process go, and returns what was written down.
    ///
    /// # Errors
    /// It does not let it go.
    pub fn detach(mut self) -> Result<String> {
        self.end()?;
        Ok(std::fs::read_to_string(&self.log)?)
    }

    fn end(&mut self) -> Result<()> {
        // On SIGTERM it detaches first.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let ended = command::wait_for(&mut self.child, PATIENCE)?;
        ensure!(ended.is_some(), "strace does not end");
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if self.end().is_err() {
            let _ = self.child.kill();
        }
    }
}
