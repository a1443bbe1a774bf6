//! `wharf serve`: the registry as a server.

use std::ffi::OsString;
use std::io::{Write, stderr};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;
use wharf_registry::limits::{self, Limits};
use wharf_registry::registry::{self, DirectoryLock, Registry, Settings};
use wharf_registry::server::{ListenError, Server};

use crate::cli::long_duration;
use crate::code;
use crate::docker::Docker;
use crate::exit::Code;
use crate::output::LogFormat;
use crate::store::refused;
use crate::{port, signals};

/// Serve a registry
///
/// Serves images from a directory until it is stopped. SIGTERM and Ctrl-C let running transfers
/// finish.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on; port 0 takes a free one. May be given more than once
    /// [default: 127.0.0.1:5000 and [::1]:5000]
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "WHARF_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<SocketAddr>,

    /// Directory that holds the images; made if missing [default: ~/.local/share/wharf/registry]
    #[arg(long, value_name = "DIR", env = "WHARF_DATA")]
    data: Option<PathBuf>,

    /// File to write the addresses to, one a line, once requests are answered; removed at the end
    #[arg(long, value_name = "FILE", env = "WHARF_READY_FILE")]
    ready_file: Option<PathBuf>,

    /// Host name to answer to, beside localhost and addresses. May be given more than once
    #[arg(
        long,
        value_name = "NAME",
        env = "WHARF_ALLOW_HOST",
        value_delimiter = ','
    )]
    allow_host: Vec<String>,

    /// Let `wharf forward` in through a cluster's API server: a connection that asks for it (`Upgrade:
    /// wharf-tunnel`) carries another. Not behind a proxy that keeps requests out
    #[arg(long, env = "WHARF_ACCEPT_TUNNELS")]
    accept_tunnels: bool,

    /// Refuse to delete tags, manifests and blobs
    #[arg(long, env = "WHARF_NO_DELETE")]
    no_delete: bool,

    /// Take images that lack some of their blobs
    #[arg(long, env = "WHARF_ALLOW_MISSING_BLOBS")]
    allow_missing_blobs: bool,

    /// How long a blob that no image needs is kept after it was last pushed, mounted or asked for
    #[arg(long, value_name = "DURATION", env = "WHARF_GC_GRACE", default_value = "1h", value_parser = long_duration)]
    gc_grace: Duration,

    /// How long an upload that was broken off can be gone on with
    #[arg(long, value_name = "DURATION", env = "WHARF_UPLOAD_EXPIRY", default_value = "24h", value_parser = long_duration)]
    upload_expiry: Duration,

    /// How often the catalog is copied, if it was changed; the two newest copies are kept
    #[arg(long, value_name = "DURATION", env = "WHARF_CATALOG_COPY_EVERY", default_value = "1h", value_parser = long_duration)]
    catalog_copy_every: Duration,

    /// Seconds to wait for another server to leave the data directory
    #[arg(
        long,
        value_name = "SECONDS",
        env = "WHARF_LOCK_WAIT",
        default_value_t = 0
    )]
    lock_wait: u64,

    /// Seconds after which a connection that sends nothing is closed, in the middle of a request and
    /// between two
    #[arg(
        long,
        value_name = "SECONDS",
        env = "WHARF_IDLE_TIMEOUT",
        default_value_t = limits::IDLE.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=86400)
    )]
    idle_timeout: u64,

    /// What the log's lines look like, one for each request
    #[arg(long, value_name = "FORMAT", env = "WHARF_LOG", default_value = "text")]
    pub(crate) log: LogFormat,

    /// Run a command, and serve for as long as it runs: on a free port, which WHARF_REGISTRY names
    /// (as 127.0.0.1:PORT), and in a temporary directory, unless told otherwise. Exits as the
    /// command does
    #[arg(long, requires = "command")]
    exec: bool,

    /// The command to run, with its arguments
    #[arg(last = true, requires = "exec", value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Serves until a signal comes, or until the command has ended.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    // A directory for the time of one command. It outlives all that is served from it.
    let temporary = match args.exec && args.data.is_none() {
        true => Some(tempfile::tempdir().context("could not make a temporary directory")?),
        false => None,
    };
    let data = match (&args.data, &temporary) {
        (Some(data), _) => data.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => default_data()?,
    };
    let stop = signals::stop();
    tokio::pin!(stop);
    let (registry, _lock) = tokio::select! {
        // First, so that a signal that comes now is heard.
        biased;
        () = &mut stop => return Ok(ExitCode::SUCCESS),
        opened = open(&args, &data) => opened?,
    };
    let server = listen(&args)
        .await?
        .with_host_names(args.allow_host)
        .with_tunnels(args.accept_tunnels)
        .with_control(&data)
        .with_context(|| format!("could not make the control socket in {}", data.display()))?;
    let registry = Arc::new(registry);
    if args.exec {
        let address = server.addresses().first().copied();
        let address = address.context("the server listens nowhere")?;
        return exec(&args.command, server, address, registry, stop).await;
    }
    announce(&server, &data)?;
    let ready = args
        .ready_file
        .map(|path| ReadyFile::write(path, &server))
        .transpose()?;
    let settled = tokio::spawn(code::forget_the_start());
    server.run(registry, stop).await;
    settled.abort();
    drop(ready);
    Ok(ExitCode::SUCCESS)
}

async fn open(args: &ServeArgs, data: &Path) -> anyhow::Result<(Registry, DirectoryLock)> {
    let settings = Settings {
        deletes: !args.no_delete,
        sparse_images: args.allow_missing_blobs,
        grace: args.gc_grace,
        upload_expiry: args.upload_expiry,
        copy_every: args.catalog_copy_every,
        limits: Limits {
            idle: Duration::from_secs(args.idle_timeout),
            ..Limits::default()
        },
        ..Settings::default()
    };
    registry::open(data, Duration::from_secs(args.lock_wait), settings)
        .await
        .map_err(refused)
}

async fn listen(args: &ServeArgs) -> anyhow::Result<Server> {
    let addresses = match args.listen.as_slice() {
        [] if args.exec => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        [] => [
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ]
        .map(|loopback| SocketAddr::new(loopback, 5000))
        .to_vec(),
        given => given.to_vec(),
    };
    match Server::listen(&addresses) {
        Ok(server) => Ok(server),
        Err(ListenError::InUse(address)) => {
            let docker = Docker::connect().await.ok();
            let owner = port::owner(address.port(), docker.as_ref()).await;
            Err(Code::Conflict.error(format!(
                "{address} is taken {owner}: stop it, or choose another port with --listen"
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// Serves while a command runs, and returns its exit code.
async fn exec(
    command: &[OsString],
    server: Server,
    address: SocketAddr,
    registry: Arc<Registry>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command to run")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("WHARF_REGISTRY", address.to_string())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("could not run {}", program.display()))?;
    let (end, ended) = tokio::sync::oneshot::channel();
    let wait = async move {
        let status = tokio::select! {
            status = child.wait() => status,
            () = stop => {
                // Ctrl-C has reached the command as well; SIGTERM came to us alone.
                child.start_kill()?;
                child.wait().await
            }
        };
        let _ = end.send(());
        status
    };
    let served = server.run(registry, async {
        let _ = ended.await;
    });
    let (status, ()) = tokio::join!(wait, served);
    Ok(exit_code(status?))
}

/// A command's exit code as a shell gives it: 128 and the signal's number where one ended it.
fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None;
    let code = status.code().or(signal.map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Says where the server listens, where its data is, and how to push to it.
fn announce(server: &Server, data: &Path) -> anyhow::Result<()> {
    let addresses = server.addresses();
    let on: Vec<_> = addresses
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    let mut text = format!(
        "wharf {} serves {}\ndata in {}\n",
        env!("CARGO_PKG_VERSION"),
        on.join(" and "),
        data.display()
    );
    if let Some(address) = addresses.first() {
        // A name on loopback is one that every client takes without TLS.
        let host = if is_here(address.ip()) {
            "localhost".to_owned()
        } else {
            address.ip().to_string()
        };
        text += &format!(
            "push with: docker tag IMAGE {host}:{port}/IMAGE && docker push {host}:{port}/IMAGE\n",
            port = address.port()
        );
    }
    Ok(stderr().lock().write_all(text.as_bytes())?)
}

fn is_here(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

/// Tells scripts that the server answers, for as long as it does.
struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    fn write(path: PathBuf, server: &Server) -> anyhow::Result<Self> {
        let lines: String = server
            .addresses()
            .iter()
            .map(|address| format!("{address}\n"))
            .collect();
        // Whole or not at all: who waits for the file reads it at once.
        let new = path.with_extension("new");
        std::fs::write(&new, lines)
            .and_then(|()| std::fs::rename(&new, &path))
            .with_context(|| format!("could not write the ready file {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where a registry's data is unless told otherwise.
///
/// # Errors
/// There is no home directory.
pub(crate) fn default_data() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => std::env::home_dir()
            .context("there is no home directory; name the data directory with --data DIR")?
            .join(".local/share"),
    };
    Ok(base.join("wharf/registry"))
}
