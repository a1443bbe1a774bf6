//! Orders of the operator, who is whoever owns the data directory: a socket in there, one line of JSON
//! in each direction.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::limits;
use crate::oci::Digest;
use crate::registry::{Collection, Registry, Scrub, Sweep, Why};

/// What can be ordered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Collect garbage now.
    Collect {
        /// Only say what would go.
        dry_run: bool,
        /// Take orphaned files, however many they are.
        orphans: bool,
    },
    /// Read all blobs again.
    Scrub,
    /// Say what keeps a blob.
    Why {
        /// The blob.
        digest: String,
    },
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// Of [`Order::Collect`].
    Collected {
        /// What nothing needs.
        collection: Collection,
        /// What nothing names.
        sweep: Sweep,
    },
    /// Of [`Order::Scrub`].
    Scrubbed(Scrub),
    /// Of [`Order::Why`]; nothing where there is no such blob.
    Kept(Option<Why>),
    /// The order failed.
    Failed(String),
}

/// Why an order could not be given.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No server has the directory.
    #[error("no server runs on {}", .0.display())]
    NotRunning(PathBuf),
    /// The connection to it broke.
    #[error("the server on {path} does not answer", path = path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Order {
    /// Follows the order. What fails is in the report.
    pub async fn follow(self, registry: &Registry) -> Report {
        let followed = async {
            Ok(match self {
                Self::Collect { dry_run, orphans } => Report::Collected {
                    collection: registry.collect_garbage(dry_run).await?,
                    sweep: registry.sweep_orphans(orphans, dry_run).await?,
                },
                Self::Scrub => Report::Scrubbed(registry.scrub().await?),
                Self::Why { digest } => match digest.parse::<Digest>() {
                    Ok(digest) => Report::Kept(registry.why(&digest).await?),
                    Err(error) => Report::Failed(error.to_string()),
                },
            })
        };
        followed
            .await
            .unwrap_or_else(|error: crate::registry::Error| Report::Failed(error.chain()))
    }
}

/// Gives an order to the server of a data directory, and waits until it was followed.
///
/// # Errors
/// [`ControlError`]
pub async fn give_order(directory: &Path, order: &Order) -> Result<Report, ControlError> {
    let failed = |source| ControlError::Io {
        path: directory.to_owned(),
        source,
    };
    let connected = async { UnixStream::connect(Socket::of(directory)?.path()).await };
    let stream = match connected.await {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Err(ControlError::NotRunning(directory.to_owned()));
        }
        stream => stream.map_err(failed)?,
    };
    let exchange = async {
        let mut stream = BufReader::new(stream);
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        stream.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        Ok(serde_json::from_str(&answer)?)
    };
    exchange.await.map_err(failed)
}

/// The socket, which goes with the server.
pub(super) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let folder = directory.join(FOLDER);
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?,
        }
        let path = folder.join(SOCKET);
        // The directory's lock is ours, so whoever made it has ended.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self {
            listener: UnixListener::bind(Socket::of(directory)?.path())?,
            path,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Follows orders for as long as it is polled.
pub(super) async fn answer(listener: Listener, registry: Arc<Registry>) {
    loop {
        match listener.listener.accept().await {
            Ok((stream, _)) => {
                let registry = registry.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &registry).await {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "an order was cut off"
                        );
                    }
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn serve(stream: UnixStream, registry: &Registry) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream)
        .take(limits::ORDER_BYTES)
        .read_line(&mut line)
        .await?;
    let report = match serde_json::from_str::<Order>(&line) {
        Ok(order) => order.follow(registry).await,
        Err(error) => Report::Failed(format!("this is no order: {error}")),
    };
    let mut answer = serde_json::to_string(&report)?;
    answer.push('\n');
    stream.write_all(answer.as_bytes()).await
}

const FOLDER: &str = "control";
const SOCKET: &str = "wharf.sock";

/// The socket's path, by way of an open folder: sockets have short names, and data directories may have
/// long ones.
struct Socket {
    folder: fs::File,
}

impl Socket {
    fn of(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: fs::File::open(directory.join(FOLDER))?,
        })
    }

    fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!(
            "/proc/self/fd/{}/{SOCKET}",
            self.folder.as_raw_fd()
        ))
    }
}
