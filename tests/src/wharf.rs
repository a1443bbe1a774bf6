//! The program under test: the release binary, and a server of it on a directory of its own.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::command::{self, say};
use crate::talk::until;

/// A server under test answers within milliseconds; this is for a machine that builds something else at the same time.
const READY: Duration = Duration::from_secs(20);

/// The path of the release binary, built if need be, once in a process. Processes that build at the same time wait for each other:
/// Cargo sees to it. `WHARF_BIN` names a binary to test instead.
///
/// # Errors
/// It does not build; the compiler's words are in the error.
pub fn binary() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT
        .lock()
        .map_err(|_| anyhow::anyhow!("building wharf panicked in another thread"))?;
    if let Some(path) = built.as_ref() {
        return Ok(path.clone());
    }
    let path = match std::env::var_os("WHARF_BIN") {
        Some(path) => std::path::absolute(path).context("WHARF_BIN is no path")?,
        None => build()?,
    };
    *built = Some(path.clone());
    Ok(path)
}

/// Settings of whoever runs the tests (`WHARF_*`) are not those of the program under test.
pub fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WHARF_"))
    {
        command.env_remove(name);
    }
    command
}

/// A figure in KiB from what the system says of a process, such as `VmHWM`.
///
/// # Errors
/// It does not run, or there is no such figure.
pub fn kib(process: u32, what: &str) -> Result<u64> {
    let said = status(process, what)?;
    let figure = said
        .split(' ')
        .next()
        .and_then(|figure| figure.parse().ok());
    figure.with_context(|| format!("{what} is {said}"))
}

/// What the system says of a process under a name, such as `SigCgt`.
///
/// # Errors
/// It does not run, or there is no such name.
pub fn status(process: u32, what: &str) -> Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let said = status
        .lines()
        .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let said = said.with_context(|| format!("no {what} in {status}"))?;
    Ok(said.trim().to_owned())
}

/// Cargo, the one that runs us where one does.
#[must_use]
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn build() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    build_with(&mut command)
}

/// Builds the binary with a `cargo build` that says where and how, and returns its path.
///
/// # Errors
/// It does not build; the compiler's words are in the error.
pub fn build_with(command: &mut Command) -> Result<PathBuf> {
    command.args([
        "--package",
        "wharf",
        "--message-format",
        "json-render-diagnostics",
    ]);
    // Cargo tells where it put the binary: that depends on its target and its settings.
    let messages = command::output(command, Duration::from_secs(3600))?;
    let executable = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "wharf")
            .then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.context("cargo built wharf but did not say where")
}

/// A `wharf serve` of the tests' own, on a free port of 127.0.0.1 and a temporary data directory. Dropping it kills it; when that is
/// because the test panicked, its log is shown.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    addresses: Vec<SocketAddr>,
    /// What runs it, if it is not run as it is.
    wrapper: Vec<OsString>,
    arguments: Vec<OsString>,
    data: PathBuf,
    dir: TempDir,
}

impl Server {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// It ends at once or does not get ready; its log is in the error.
    pub fn start() -> Result<Self> {
        Self::start_with(std::iter::empty::<OsString>())
    }

    /// As [`Server::start`], with more arguments for `wharf serve`.
    ///
    /// # Errors
    /// It ends at once or does not get ready; its log is in the error.
    pub fn start_with(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Self> {
        Self::start_on(None, arguments)
    }

    /// As [`Server::start_with`], on a data directory that the test made.
    ///
    /// # Errors
    /// It ends at once or does not get ready; its log is in the error.
    pub fn start_on(
        data: Option<&Path>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self> {
        Self::start_as(std::iter::empty::<OsString>(), data, arguments)
    }

    /// As [`Server::start_with`], run by another program (`prlimit --nofile=64`), which becomes it.
    ///
    /// # Errors
    /// It ends at once or does not get ready; its log is in the error.
    pub fn start_within(
        wrapper: impl IntoIterator<Item = impl Into<OsString>>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self> {
        Self::start_as(wrapper, None, arguments)
    }

    fn start_as(
        wrapper: impl IntoIterator<Item = impl Into<OsString>>,
        data: Option<&Path>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("wharf-test-")
            .tempdir()
            .context("no temporary directory")?;
        let arguments = arguments.into_iter().map(Into::into).collect();
        let mut server = Self {
            child: None,
            addresses: Vec::new(),
            wrapper: wrapper.into_iter().map(Into::into).collect(),
            arguments,
            data: data.map_or_else(|| dir.path().join("data"), Path::to_owned),
            dir,
        };
        server.spawn("127.0.0.1:0")?;
        Ok(server)
    }

    /// As [`Server::restart`], on other data.
    ///
    /// # Errors
    /// As [`Server::restart`].
    pub fn restart_on(&mut self, data: &Path) -> Result<Duration> {
        self.data = data.to_owned();
        self.restart()
    }

    /// Starts it again on the same data and the same address, after [`kill`](Self::kill) or
    /// [`terminate`](Self::terminate). Returns how long it took until it was ready.
    ///
    /// # Errors
    /// It still runs, ends at once or does not get ready; its log is in the error.
    pub fn restart(&mut self) -> Result<Duration> {
        if self.child.is_some() {
            bail!("the server still runs");
        }
        let address = self.address().to_string();
        self.spawn(&address)
    }

    fn spawn(&mut self, listen: &str) -> Result<Duration> {
        let ready = self.dir.path().join("ready");
        if ready.exists() {
            std::fs::remove_file(&ready)?;
        }
        // One log for all lives: a failure after a restart often has its cause before.
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut words = self.wrapper.clone();
        words.extend([binary()?.into(), "serve".into()]);
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["--listen", listen])
            .arg("--data")
            .arg(self.data())
            .arg("--ready-file")
            .arg(&ready);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        without_settings(&mut command);
        let started = Instant::now();
        let child = self.child.insert(
            command
                .spawn()
                .with_context(|| format!("cannot start `{}`", command::describe(&command)))?,
        );
        loop {
            if let Some(addresses) = read_ready(&ready) {
                self.addresses = addresses;
                return Ok(started.elapsed());
            }
            let ended = child.try_wait()?;
            if ended.is_some() || started.elapsed() > READY {
                let how = ended.map_or_else(
                    || "did not get ready".to_owned(),
                    |status| format!("ended at once ({status})"),
                );
                bail!("wharf serve {how}. Its log:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Other arguments for its next life.
    pub fn set_arguments(&mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) {
        self.arguments = arguments.into_iter().map(Into::into).collect();
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Never: a server is made only once it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses, if it was told to listen on more than one.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The URL of a path, which begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// An image's name in this registry, such as docker, crane and skopeo take it.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address())
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// A directory for the test's own files, beside the data, that goes with it.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// A figure in KiB from what the system says of its process, such as `VmHWM`.
    ///
    /// # Errors
    /// It does not run, or there is no such figure.
    pub fn kib(&self, what: &str) -> Result<u64> {
        kib(self.id().context("the server does not run")?, what)
    }

    /// What it has logged so far, in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Ends it with SIGKILL, in the middle of whatever it does.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Stops it with SIGSTOP: from then on it says nothing any more.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(rustix::process::Signal::STOP)?;
        // A busy machine takes its time to stop them all, and they would go on to answer meanwhile.
        until(Duration::from_secs(60), &true, || self.is_frozen())
    }

    /// Whether none of its threads runs (proc(5)).
    fn is_frozen(&self) -> Result<bool> {
        let id = self.id().context("wharf serve does not run")?;
        for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
            // One that ends just now was running just now.
            let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else {
                return Ok(false);
            };
            let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
            if !state.is_some_and(|state| state.starts_with('T')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(rustix::process::Signal::CONT)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let child = self.child.as_ref().context("wharf serve does not run")?;
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal)
            .with_context(|| format!("cannot send {signal:?} to wharf"))
    }

    /// Asks it to end with SIGTERM and waits; `None` if it was not running.
    ///
    /// # Errors
    /// It does not end within `limit`; it is killed then.
    pub fn terminate(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let Some(mut child) = self.child.take() else {
            return Ok(None);
        };
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .context("cannot send SIGTERM to wharf")?;
        let Some(status) = command::wait_for(&mut child, limit)? else {
            child.kill()?;
            child.wait()?;
            bail!(
                "wharf serve did not end within {} s of SIGTERM. Its log:\n{}",
                limit.as_secs_f32(),
                self.log()
            );
        };
        Ok(Some(status))
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            say(&format!("wharf serve could not be killed: {error:#}"));
        }
        if std::thread::panicking() {
            say(&format!(
                "---- the log of wharf serve at {:?}:\n{}----",
                self.addresses,
                self.log()
            ));
        }
    }
}

/// The addresses in the ready file; `None` while it is missing or half written.
fn read_ready(file: &Path) -> Option<Vec<SocketAddr>> {
    let text = std::fs::read_to_string(file).ok()?;
    if !text.ends_with('\n') {
        return None;
    }
    let addresses: Vec<_> = text
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    (!addresses.is_empty()).then_some(addresses)
}
