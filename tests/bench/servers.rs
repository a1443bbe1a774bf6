//! The registries that are measured, each started on a directory of its own.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command::{output, tail};
use wharf_tests::wharf;

use crate::loads::Place;
use crate::process::Process;
use crate::running::{self, READY, Running};

/// The version that the test bed builds.
pub(crate) const DISTRIBUTION: &str = "v3.1.2";

/// How often a registry is started on another port.
const TRIES: usize = 5;

/// A registry that can be measured.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Wharf(PathBuf),
    Distribution(PathBuf),
    /// It runs already, and keeps what it got.
    External(SocketAddr, Process),
}

/// How wharf is started for a row. All others are always started in the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Variant {
    /// With its defaults, and without a line of log for each request.
    #[default]
    Plain,
    /// With its defaults.
    Logging,
    /// With a grace of a second, so that garbage is collected while we look.
    Collecting,
}

impl Peer {
    pub(crate) fn wharf() -> Result<Self> {
        Ok(Self {
            name: "wharf".to_owned(),
            how: How::Wharf(wharf::binary()?),
        })
    }

    pub(crate) fn distribution() -> Result<Self> {
        let bed = Bed::ensure_tools(&[Tool::Distribution])?;
        Ok(Self {
            name: "distribution".to_owned(),
            how: How::Distribution(bed.node_program("registry")),
        })
    }

    /// The program, to see how large it is.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        match &self.how {
            How::Wharf(program) | How::Distribution(program) => Ok(program.clone()),
            How::External(_, process) => process.program(),
        }
    }

    /// Whether it is started for each measurement.
    pub(crate) fn is_ours(&self) -> bool {
        !matches!(self.how, How::External(..))
    }

    /// What it says of its version, in a word.
    pub(crate) fn version(&self) -> String {
        let version = |argument| {
            let mut command = Command::new(self.program()?);
            let said = output(command.arg(argument), READY)?;
            let words = said.split_ascii_whitespace();
            let word = words.last().map(ToOwned::to_owned);
            word.context("it says nothing")
        };
        match &self.how {
            How::Wharf(_) => version("--version").unwrap_or_default(),
            How::Distribution(_) => DISTRIBUTION.to_owned(),
            How::External(..) => String::new(),
        }
    }

    /// What it does before it answers a push with 201.
    pub(crate) fn durability(&self) -> &'static str {
        match &self.how {
            How::Wharf(_) => "file, folder and catalog are synced (its default)",
            How::Distribution(_) => "files are synced, a blob's folder is not (as it comes)",
            How::External(..) => "as it was started",
        }
    }

    /// Starts it on an empty directory in `scratch`.
    pub(crate) fn start(&self, scratch: &Path, variant: Variant) -> Result<Running> {
        if let How::External(address, process) = self.how {
            let place = Place {
                address,
                process,
                data: None,
                stores_once: false,
            };
            return Ok(Running {
                place,
                startup: Duration::ZERO,
                child: None,
                dir: None,
            });
        }
        let dir = tempfile::Builder::new()
            .prefix(&format!("bench-{}-", self.name))
            .tempdir_in(scratch)?;
        std::fs::create_dir(dir.path().join("data"))?;
        self.spawn(dir, variant)
    }

    /// Starts it on the directory of an earlier life, or on a new one.
    pub(crate) fn spawn(&self, dir: TempDir, variant: Variant) -> Result<Running> {
        let data = dir.path().join("data");
        let mut tries = 0;
        let (address, child, startup) = loop {
            // Free now; somebody else may take it before the registry does.
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let command = self.command(dir.path(), &data, address, variant)?;
            tries += 1;
            match self.attempt(command, address, dir.path()) {
                Ok((child, startup)) => break (address, child, startup),
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {}
            }
        };
        Ok(Running {
            place: Place {
                address,
                process: Process(child.id()),
                data: Some(data),
                stores_once: matches!(self.how, How::Wharf(_)),
            },
            startup,
            child: Some(child),
            dir: Some(dir),
        })
    }

    fn attempt(
        &self,
        mut command: Command,
        address: SocketAddr,
        dir: &Path,
    ) -> Result<(Child, Duration)> {
        let log = dir.join("log");
        let said = File::options().create(true).append(true).open(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        match running::wait(&mut child, address) {
            Ok(()) => Ok((child, started.elapsed())),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let what = format!("{} does not get ready: {}", self.name, tail(&said, 10));
                Err(error.context(what))
            }
        }
    }

    fn command(
        &self,
        dir: &Path,
        data: &Path,
        address: SocketAddr,
        variant: Variant,
    ) -> Result<Command> {
        Ok(match &self.how {
            How::Wharf(program) => {
                let mut command = Command::new(program);
                wharf::without_settings(&mut command);
                let listen = address.to_string();
                command
                    .args(["serve", "--listen", &listen, "--data"])
                    .arg(data);
                match variant {
                    Variant::Plain => command.env("WHARF_LOG_FILTER", "warn"),
                    Variant::Logging => &mut command,
                    Variant::Collecting => command
                        .env("WHARF_LOG_FILTER", "warn")
                        .args(["--gc-grace", "1s"]),
                };
                command
            }
            How::Distribution(program) => {
                let file = dir.join("config.yml");
                std::fs::write(&file, distribution_config(data, address))?;
                let mut command = Command::new(program);
                command.arg("serve").arg(file);
                // As its image has it; without it, it would send traces to somebody who is not there.
                command.env("OTEL_TRACES_EXPORTER", "none");
                command
            }
            How::External(..) => bail!("{} is not started by us", self.name),
        })
    }
}

/// Its example configuration, without a login and without logs, and with deletion.
fn distribution_config(data: &Path, address: SocketAddr) -> String {
    format!(
        "version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: {}
  tag:
    concurrencylimit: 8
  delete:
    enabled: true
http:
  addr: {address}
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
",
        data.display()
    )
}

/// `NAME=URL,PID`: a registry that runs already; `NAME=FILE`: another binary of wharf.
impl FromStr for Peer {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, what) = text.split_once('=').context("no NAME=")?;
        let simple = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        ensure!(
            !name.is_empty() && name.chars().all(simple),
            "{name:?} is no name: letters, digits, `-` and `.`"
        );
        let how = match what.strip_prefix("http://") {
            Some(rest) => {
                let (address, pid) = rest.split_once(',').context("no ,PID behind the URL")?;
                let address = address.trim_end_matches('/').to_socket_addrs()?.next();
                let process = Process(pid.parse().context("no PID")?);
                How::External(address.context("a URL without address")?, process)
            }
            None => {
                let program = std::path::absolute(what)?;
                ensure!(program.is_file(), "neither a URL nor a program: {what}");
                How::Wharf(program)
            }
        };
        Ok(Self {
            name: name.to_owned(),
            how,
        })
    }
}
