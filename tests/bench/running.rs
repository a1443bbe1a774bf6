//! A registry while it runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use wharf_tests::command::wait_for;

use crate::loads::Place;
use crate::servers::{Peer, Variant};

/// How long a registry may take to answer, and to end.
pub(crate) const READY: Duration = Duration::from_secs(60);

/// A registry that runs. Dropping it ends it, and takes its data away.
pub(crate) struct Running {
    pub(crate) place: Place,
    /// From its start to its first answer.
    pub(crate) startup: Duration,
    pub(crate) child: Option<Child>,
    pub(crate) dir: Option<TempDir>,
}

impl Running {
    /// Ends it in an orderly way, and starts it again on the same data, with which something is done in between.
    pub(crate) fn again(
        mut self,
        peer: &Peer,
        between: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let (child, dir) = (self.child.take(), self.dir.take());
        let mut child = child.context("it is not ours")?;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let ended = wait_for(&mut child, READY)?;
        ensure!(ended.is_some(), "{} does not end", peer.name);
        let dir = dir.context("it has no directory")?;
        between(&dir.path().join("data"))?;
        peer.spawn(dir, Variant::Plain)
    }
}

/// Waits for a registry's first answer.
pub(crate) fn wait(child: &mut Child, address: SocketAddr) -> Result<()> {
    let request = format!("GET /v2/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let deadline = Instant::now() + READY;
    loop {
        let answered = TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer)?;
            Ok(answer == *b"HTTP/1.1 200")
        });
        if let Some(status) = child.try_wait()? {
            bail!("it ended at once ({status})");
        }
        if answered.unwrap_or(false) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it does not answer");
        std::thread::sleep(Duration::from_micros(200));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
