//! `wharf serve` as a program: its flags, its messages, how it begins and how it ends.

mod binary;
mod directory;
mod end;
mod exec;
mod listen;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use wharf_tests::command::{self, Output};
use wharf_tests::content::sha256;
use wharf_tests::http::{Answer, Body, Connection, Request};
use wharf_tests::wharf;

/// Longer than any start or end takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// `wharf serve` with nothing but what the test gives it.
fn wharf_serve() -> Result<Command> {
    let mut command = Command::new(wharf::binary()?);
    command.arg("serve").env_clear();
    Ok(command)
}

/// Runs a server that is expected not to stay; that of one that stays all the same, the test is
/// told by its time limit.
fn fails(command: &mut Command) -> Result<Output> {
    let output = command::finish(command, PATIENCE)?;
    ensure!(
        !output.status.success() && output.stdout.is_empty() && !output.stderr.is_empty(),
        "{}:\n{}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    Ok(output)
}

/// A server that is started by hand, with a folder for its files. Killed when dropped.
struct Started {
    child: Child,
    folder: TempDir,
}

impl Started {
    /// Starts it; `arrange` gives it its flags, and learns the folder.
    fn new(arrange: impl FnOnce(&mut Command, &Path)) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = wharf_serve()?;
        arrange(&mut command, folder.path());
        let log = File::create(folder.path().join("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn()?;
        Ok(Self { child, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for the ready file, and says what is in it.
    fn ready(&mut self) -> Result<Vec<SocketAddr>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = std::fs::read_to_string(self.path("ready")) {
                ensure!(text.ends_with('\n'), "half a ready file: {text:?}");
                return text
                    .lines()
                    .map(|line| line.parse().with_context(|| format!("no address: {line}")))
                    .collect();
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status}):\n{}", self.log());
            }
            ensure!(Instant::now() < deadline, "not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Waits for its orderly end.
    fn ends_well(&mut self) -> Result<()> {
        let status = command::wait_for(&mut self.child, PATIENCE)?;
        let status = status.with_context(|| format!("it does not end:\n{}", self.log()))?;
        ensure!(status.success(), "{status}:\n{}", self.log());
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Asks one thing on a connection of its own.
fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    Ok(Connection::open(address)?.send(Request::new("GET", path))?)
}

/// Pushes a blob in one request and returns where it is.
fn push(address: SocketAddr, bytes: &[u8]) -> Result<String> {
    let digest = sha256(bytes);
    let post = Request::new("POST", format!("/v2/a/blobs/uploads/?digest={digest}"));
    let answer = Connection::open(address)?.send(post.body(Body::Sized(bytes)))?;
    ensure!(answer.status == 201, "{answer:?}");
    Ok(answer.location()?.to_owned())
}
