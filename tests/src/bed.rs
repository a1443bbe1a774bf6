//! The test bed: a Docker Engine, command-line tools and images, whatever the machine has of them already.
//!
//! Where Docker and an image registry answer, the bed uses them and adds little. On a bare Debian, as root, it installs and starts an
//! engine; where no image registry can be reached, it builds a kind node image and the examples' base images from Debian's packages
//! and Go modules, which takes 8 to 12 minutes once; minikube and node images for it, another 5 to 8, only where a test or the demo
//! asks for them. Everything made is kept in [`Bed::dir`], so that a new engine on a machine with
//! an old home directory is ready in seconds.
//!
//! | variable | meaning |
//! |---|---|
//! | `WHARF_BED` | the directory to keep things in; `~/.cache/wharf-test-bed` if unset |
//! | `WHARF_BED_NETWORK` | `online` or `offline`: whether an image registry can be reached, instead of finding out |
//! | `WHARF_BED_NODE_IMAGE` | a node image for kind to use, instead of its own or the bed's |
//! | `WHARF_BED_KEEP` | if set, tests leave their clusters for inspection |

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{self, say};

mod bridges;
mod cluster;
mod engine;
mod images;
mod minikube;
mod tools;

pub use cluster::{Cluster, Provider};
pub use minikube::NodeRuntime;
pub use tools::Tool;

/// A machine that is ready for whole-program tests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bed {
    dir: PathBuf,
    path: OsString,
    node_image: Option<String>,
    minikube_images: Option<minikube::MinikubeImages>,
    tools: Vec<Tool>,
}

/// Made once in a process; a test binary runs many tests at the same time.
static READY: Mutex<Option<Bed>> = Mutex::new(None);

impl Bed {
    /// Everything that tests use. Does what is missing, heals what a killed run left, and is quick when nothing is to be done.
    /// Test processes that run at the same time share one bed: the first prepares it and the others wait.
    ///
    /// # Errors
    /// Something is missing and cannot be had here; the error says what to do.
    pub fn ensure() -> Result<Self> {
        Self::ensure_with(&Tool::all())
    }

    /// As [`Bed::ensure`], with these tools only.
    ///
    /// # Errors
    /// Something is missing and cannot be had here; the error says what to do.
    pub fn ensure_with(tools: &[Tool]) -> Result<Self> {
        let mut ready = READY
            .lock()
            .map_err(|_| anyhow::anyhow!("preparing the test bed panicked in another thread"))?;
        if let Some(bed) = ready.as_ref()
            && tools.iter().all(|tool| bed.tools.contains(tool))
        {
            return Ok(bed.clone());
        }
        let bed = Self::prepare(tools)?;
        *ready = Some(bed.clone());
        Ok(bed)
    }

    /// These tools alone, for tests that need no engine and no images.
    ///
    /// # Errors
    /// One is missing and cannot be had here; the error says what to do.
    pub fn ensure_tools(tools: &[Tool]) -> Result<Self> {
        let bed = Self::unprepared(tools)?;
        let _lock = bed.lock()?;
        tools::ensure(&bed, tools)?;
        Ok(bed)
    }

    fn unprepared(tools: &[Tool]) -> Result<Self> {
        let dir = directory()?;
        // The true path, without symbolic links: it is compared with what wharf and the engine say of their mounts.
        let dir = std::fs::create_dir_all(dir.join("locks"))
            .and_then(|()| dir.canonicalize())
            .with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            path: path_with(&dir.join("bin"))?,
            dir,
            node_image: None,
            minikube_images: None,
            tools: tools.to_vec(),
        })
    }

    fn lock(&self) -> Result<File> {
        let path = self.dir.join("locks/bed");
        lock(&path, "another process prepares the test bed")
    }

    fn prepare(tools: &[Tool]) -> Result<Self> {
        let mut bed = Self::unprepared(tools)?;
        let _lock = bed.lock()?;
        engine::ensure(&bed)?;
        cluster::remove_abandoned(&bed)?;
        engine::heal_network(&bed)?;
        bridges::remove_orphans(&bed)?;
        tools::ensure(&bed, tools)?;
        bed.node_image = images::ensure(&bed)?;
        if tools.contains(&Tool::Minikube) {
            bed.minikube_images = images::minikube_nodes(&bed)?;
        }
        Ok(bed)
    }

    /// Restarts the engine, with all containers that are in it, if the bed itself started it: who has an engine of their own has other
    /// things in it. Says whether it did.
    ///
    /// # Errors
    /// It does not end, or does not come again.
    pub fn restart_engine(&self) -> Result<bool> {
        let _lock = self.lock()?;
        engine::restart(self)
    }

    /// A command in the bed's environment: all of its tools are on `PATH`, after those of the machine.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        // Looked up here: where `Command` looks for a program that is given a changed PATH differs between systems.
        let found = std::env::split_paths(&self.path)
            .map(|dir| dir.join(program))
            .find(|file| tools::executable(file));
        let mut command = Command::new(found.unwrap_or_else(|| program.into()));
        command.env("PATH", &self.path);
        command
    }

    /// A program that the bed built for cluster nodes, or to compare with. None of them is on `PATH`, lest it stands in for one of the machine's.
    #[must_use]
    pub fn node_program(&self, name: &str) -> PathBuf {
        self.dir.join("node-bin").join(name)
    }

    /// A command line as a person has to type it, in a shell that may lack the tools that only the bed has.
    #[must_use]
    pub fn by_hand(&self, line: &str) -> String {
        if self.tools.iter().all(|tool| tools::on_path(tool.name())) {
            return line.to_owned();
        }
        format!("PATH=$PATH:{} {line}", self.dir.join("bin").display())
    }

    /// The node image that kind is to use (`wharf up --kubernetes-image`); `None` where kind's own can be pulled.
    #[must_use]
    pub fn node_image(&self) -> Option<&str> {
        self.node_image.as_deref()
    }

    /// The value of `PATH` with which all tools are found.
    #[must_use]
    pub fn path(&self) -> &std::ffi::OsStr {
        &self.path
    }

    /// Where the bed keeps what it made, and logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs one of the scripts beside this crate. They tell their own steps.
    fn script(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bed").join(name);
        let mut command = Command::new("bash");
        command
            .arg(script)
            .args(arguments)
            .env("WHARF_BED", &self.dir);
        // Standard output belongs to whoever called the tests.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::io::stderr());
        let status = command::wait(&mut command, Duration::from_secs(3600))?;
        if !status.success() {
            let log = self.dir.join("log").join(name).with_extension("log");
            let said = command::tail(&std::fs::read_to_string(&log).unwrap_or_default(), 20);
            bail!(
                "the test bed's {name} failed:\n{said}\nThe whole output is in {}.",
                log.display()
            );
        }
        Ok(())
    }

    /// Runs a docker command that must succeed.
    fn docker(&self, arguments: &[&str], limit: Duration) -> Result<String> {
        command::output(self.command("docker").args(arguments), limit)
    }
}

/// Runs one step that is worth telling: a line with its duration when it is over.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let done = work().with_context(|| format!("test bed: {what}"))?;
    say(&format!(
        "bed: {what}: {:.0} s",
        started.elapsed().as_secs_f32()
    ));
    Ok(done)
}

/// An exclusive lock on a file, held until the file is dropped; also when the process is killed, so it never goes stale.
fn lock(path: &Path, holder: &str) -> Result<File> {
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say(&format!("bed: {holder}; waiting for it"));
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}

fn open_lock(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn directory() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("WHARF_BED") {
        return std::path::absolute(dir).context("WHARF_BED is no path");
    }
    let home = std::env::home_dir()
        .context("no home directory for the test bed's cache: set HOME or WHARF_BED")?;
    Ok(home.join(".cache/wharf-test-bed"))
}

fn path_with(bin: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&path).chain([bin.to_path_buf()]);
    std::env::join_paths(all)
        .context("the bed's directory cannot be on PATH: set WHARF_BED to one without `:`")
}

/// Whether packages can be installed here: a Debian or a relative of it, as root.
fn root_debian() -> bool {
    Path::new("/etc/debian_version").exists() && rustix::process::geteuid().is_root()
}
