//! A containerd for the time of a test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wharf_tests::command::{say, tail};

use crate::PATIENCE;
use crate::world::World;

/// A containerd of the test's own.
pub(super) struct Daemon {
    child: Child,
    pub(super) root: PathBuf,
    pub(super) socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    pub(super) fn start(world: &World, program: &Path, settings: &str) -> Result<Self> {
        let (root, socket) = (world.scratch("root"), world.scratch("containerd.sock"));
        let (log, file) = (
            world.scratch("containerd.log"),
            world.scratch("containerd.toml"),
        );
        // What is for Kubernetes, or mounts where files will do.
        let disabled = [
            "io.containerd.grpc.v1.cri",
            "io.containerd.cri.v1.images",
            "io.containerd.cri.v1.runtime",
            "io.containerd.internal.v1.opt",
            "io.containerd.snapshotter.v1.overlayfs",
        ];
        let state = world.scratch("state");
        // Keys before tables.
        let (version, tables) = settings.split_once('\n').unwrap_or((settings, ""));
        let text = format!(
            "{version}\nroot = {root:?}\nstate = {state:?}\ndisabled_plugins = {disabled:?}\n\
             [grpc]\naddress = {socket:?}\n[ttrpc]\naddress = \"{}.ttrpc\"\n{tables}",
            socket.display()
        );
        std::fs::write(&file, text)?;
        let output = File::create(&log)?;
        // It goes when this thread does, in whatever way, and so do the mounts that it makes to unpack.
        let mut command = Command::new("unshare");
        command.args(["--mount", "setpriv", "--pdeathsig", "KILL"]);
        command.arg(program).arg("--config").arg(&file);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut child = command.spawn().context("cannot start containerd")?;
        let started = Instant::now();
        while !socket.exists() {
            let ended = child.try_wait()?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                let _ = child.kill();
                bail!(
                    "containerd does not start: {}",
                    tail(&std::fs::read_to_string(&log)?, 20)
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            child,
            root,
            socket,
            log,
        })
    }

    pub(super) fn said(&self) -> String {
        tail(&std::fs::read_to_string(&self.log).unwrap_or_default(), 20)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            say(&format!("containerd could not be killed: {error}"));
        }
    }
}
