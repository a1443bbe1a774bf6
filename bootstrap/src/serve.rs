//! `wharf serve`: the registry as a server.

use std::io::{Write, stderr};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use wharf_registry::registry;
use wharf_registry::server::Server;

/// Run the registry
///
/// Serves images from a directory until it is stopped. SIGTERM and Ctrl-C let running transfers
/// finish.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on; port 0 takes a free one. May be given more than once
    #[arg(long, value_name = "ADDR:PORT", env = "WHARF_LISTEN", value_delimiter = ',', default_values = ["127.0.0.1:5000", "[::1]:5000"])]
    listen: Vec<SocketAddr>,

    /// Directory that holds the images; made if missing [default: ~/.local/share/wharf/registry]
    #[arg(long, value_name = "DIR", env = "WHARF_DATA")]
    data: Option<PathBuf>,

    /// File to write the addresses to, one a line, once requests are answered; removed at the end
    #[arg(long, value_name = "FILE", env = "WHARF_READY_FILE")]
    ready_file: Option<PathBuf>,

    /// Refuse to delete tags, manifests and blobs
    #[arg(long, env = "WHARF_NO_DELETE")]
    no_delete: bool,

    /// Take images that lack some of their blobs
    #[arg(long, env = "WHARF_ALLOW_MISSING_BLOBS")]
    allow_missing_blobs: bool,

    /// Seconds to wait for another server to leave the data directory
    #[arg(
        long,
        value_name = "SECONDS",
        env = "WHARF_LOCK_WAIT",
        default_value_t = 0
    )]
    lock_wait: u64,
}

/// Serves until a signal comes.
///
/// # Errors
/// Where the data directory or an address cannot be used.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let data = match args.data {
        Some(data) => data,
        None => default_data()?,
    };
    // Before anything is announced: a signal that comes now must already be heard.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(stop);

    let opening = registry::open(&data, Duration::from_secs(args.lock_wait));
    let (mut registry, _lock) = tokio::select! {
        opened = opening => opened?,
        () = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    if args.no_delete {
        registry = registry.without_deletes();
    }
    if args.allow_missing_blobs {
        registry = registry.with_sparse_images();
    }
    let server = Server::listen(&args.listen)?;
    announce(&server, &data)?;
    let ready = args
        .ready_file
        .map(|path| ReadyFile::write(path, &server))
        .transpose()?;

    server.run(Arc::new(registry), stop).await;
    drop(ready);
    Ok(ExitCode::SUCCESS)
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

fn default_data() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => std::env::home_dir()
            .context("there is no home directory; name the data directory with --data DIR")?
            .join(".local/share"),
    };
    Ok(base.join("wharf/registry"))
}
