//! A `wharf up` that runs beside the test, so that the test can stop it at a moment of its choice.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use wharf_tests::command;

use crate::world::{LONG, World, until};

/// A running `wharf up --output json`, in a process group of its own.
pub(crate) struct Up {
    child: Child,
    events: PathBuf,
    errors: PathBuf,
}

impl Up {
    pub(crate) fn start(world: &World) -> Result<Self> {
        let events = world.cluster.dir().join("up.events");
        let errors = world.cluster.dir().join("up.errors");
        let mut command = world.up()?;
        command
            .args(["--output", "json"])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(File::create(&events)?)
            .stderr(File::create(&errors)?);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", command::describe(&command)))?;
        Ok(Self {
            child,
            events,
            errors,
        })
    }

    /// Waits until it has begun a step, which is named by how it begins.
    pub(crate) fn reaches(&mut self, step: &str) -> Result<()> {
        let is_step = |event: &Value| event["name"].as_str().is_some_and(|n| n.starts_with(step));
        until(&format!("`wharf up` came to \"{step}\""), || {
            // Asked first: what ended has said everything.
            let ended = self.child.try_wait()?;
            if self.events()?.iter().any(is_step) {
                return Ok(true);
            }
            if let Some(status) = ended {
                bail!(
                    "`wharf up` ended ({status}) before \"{step}\":\n{}",
                    self.said()
                );
            }
            Ok(false)
        })
    }

    /// Waits until it has ended, well or not.
    pub(crate) fn ends(&mut self) -> Result<ExitStatus> {
        let status = command::wait_for(&mut self.child, LONG)?;
        status.with_context(|| format!("`wharf up` does not end:\n{}", self.said()))
    }

    /// Kills it alone, not what it has started, in the middle of what it does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::KILL)?;
        let status = self.ends()?;
        ensure!(
            status.signal() == Some(Signal::KILL.as_raw()),
            "it was to be killed and had ended ({status}):\n{}",
            self.said()
        );
        Ok(())
    }

    /// Sends a signal to it, as long as it lives, and to all that it has started.
    pub(crate) fn signal_all(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process_group(Pid::from_child(&self.child), signal)
            .context("nothing runs any more of what made the cluster")
    }

    /// Waits for its good end.
    pub(crate) fn succeeds(mut self) -> Result<Vec<Value>> {
        let status = self.ends()?;
        ensure!(status.success(), "{status}:\n{}", self.said());
        self.events()
    }

    /// Its events so far; half a line at the end is none yet.
    pub(crate) fn events(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&self.events)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
        whole.lines().map(parse).collect()
    }

    /// What it said to people.
    pub(crate) fn errors(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.errors)?)
    }

    fn said(&self) -> String {
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        command::tail(&(read(&self.events) + &read(&self.errors)), 30)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal_all(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
