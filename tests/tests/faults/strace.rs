//! Faults between a running server and its kernel.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wharf_tests::command;
use wharf_tests::talk::until;
use wharf_tests::wharf::Server;

/// A tracer that makes system calls of a server fail. Dropping it lets the server go on in peace.
pub(crate) struct Tracer {
    child: Child,
    log: PathBuf,
}

impl Tracer {
    /// Makes every thread's `nth` call of `syscall` fail with `fault`, such as `error=EIO` or
    /// `signal=KILL`.
    pub(crate) fn attach(server: &Server, syscall: &str, fault: &str, nth: u64) -> Result<Self> {
        let log = server.scratch().join("strace");
        let _ = std::fs::remove_file(&log);
        let said = std::fs::File::create(server.scratch().join("strace-said"))?;
        let child = Command::new("strace")
            .args(["--follow-forks", "--output"])
            .arg(&log)
            .args(["--trace", syscall, "--inject"])
            .arg(format!("{syscall}:{fault}:when={nth}"))
            .arg("--attach")
            .arg(server.id().context("the server does not run")?.to_string())
            .stdin(Stdio::null())
            .stderr(said)
            .spawn()
            .context("cannot run strace")?;
        let tracer = Self { child, log };
        until(Duration::from_secs(30), &true, || {
            let said = std::fs::read_to_string(server.scratch().join("strace-said"))?;
            Ok(said.contains("attached"))
        })?;
        Ok(tracer)
    }

    /// Lets the server go, and says how often a call was made to fail.
    pub(crate) fn detach(mut self) -> Result<usize> {
        self.end()?;
        let log = std::fs::read_to_string(&self.log)?;
        Ok(log.matches("(INJECTED)").count() + log.matches("+++ killed by SIGKILL").count().min(1))
    }

    fn end(&mut self) -> Result<()> {
        // On SIGTERM it detaches first.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let ended = command::wait_for(&mut self.child, Duration::from_secs(30))?;
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
