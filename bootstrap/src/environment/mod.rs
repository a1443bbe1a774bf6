//! What the host remembers of an environment: an intent before a cluster is made, a record after.
//!
//! The file is `$XDG_STATE_HOME/wharf/clusters/NAME.json`, replaced as a whole, so that a killed program leaves the
//! old or the new one. Without it, the next `wharf up` could not tell its own half-made cluster from somebody else's.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::cluster::{ClusterName, Node, Provider};
use crate::exit::Code;
use crate::output;
use crate::storage::Storage;

/// How far the engine's clock may be behind the host's.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// An environment, as the host remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Record {
    /// The cluster's name.
    pub(crate) name: ClusterName,
    /// What makes it.
    #[serde(default)]
    pub(crate) provider: Provider,
    /// How far it is.
    pub(crate) stage: Stage,
    /// The port of localhost.
    pub(crate) port: u16,
    /// Nodes, the control plane included.
    pub(crate) nodes: u16,
    /// What keeps the images.
    #[serde(default)]
    pub(crate) storage: Storage,
    /// The directory that keeps them, if one does; of a cluster that wharf made, every node has it.
    #[serde(default)]
    pub(crate) data: PathBuf,
    /// The context that leads to the cluster, where its provider does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    /// The node that has the images, where one alone does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// wharf's own image, where it was named and not brought to the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    /// The node image, if not the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kubernetes_image: Option<String>,
    /// What the provider's own program is told besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) arguments: Vec<String>,
}

/// How far an environment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Stage {
    /// A cluster is being made, or was when the program died.
    Intended {
        /// Seconds since 1970; no node of this cluster is older.
        since: i64,
    },
    /// wharf made the cluster whose first node has this id.
    #[serde(rename_all = "camelCase")]
    Created {
        /// The id of the control plane's node.
        first_node: String,
    },
    /// Somebody else made the cluster whose first node has this id, and wharf put its registry into it.
    #[serde(rename_all = "camelCase")]
    Adopted {
        /// The id of the control plane's node.
        first_node: String,
    },
    /// A whole cluster is being deleted, or was when the program died.
    Deleting {
        /// Seconds since 1970; no node of this cluster is older.
        since: i64,
    },
    /// The cluster was deleted; the images are still there.
    Deleted {
        /// Where it was not even whole: since when it was to be made. The engine may still come with nodes of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unfinished_since: Option<i64>,
    },
}

impl Record {
    /// Whether these nodes are the cluster that this record is about, whole.
    pub(crate) fn is_of(&self, nodes: &[Node]) -> bool {
        let (Stage::Created { first_node } | Stage::Adopted { first_node }) = &self.stage else {
            return false;
        };
        nodes.iter().any(|node| node.id == *first_node)
    }

    /// Whether there is, as far as is known, a cluster, or what is left of one that was not finished.
    pub(crate) fn is_of_something(&self) -> bool {
        !matches!(
            self.stage,
            Stage::Deleted {
                unfinished_since: None
            }
        )
    }

    /// Whether somebody else made the cluster.
    pub(crate) fn is_adopted(&self) -> bool {
        matches!(self.stage, Stage::Adopted { .. })
    }

    /// Since when a cluster was to be made that was never finished: the engine may still come with nodes of it.
    pub(crate) fn unfinished_since(&self) -> Option<i64> {
        match self.stage {
            Stage::Intended { since } => Some(since),
            Stage::Created { .. } | Stage::Adopted { .. } | Stage::Deleting { .. } => None,
            Stage::Deleted { unfinished_since } => unfinished_since,
        }
    }

    /// Whether these nodes are what an unfinished making or deletion of ours left: no older than its record says, with
    /// its data directory.
    pub(crate) fn left_half_made(&self, nodes: &[Node]) -> bool {
        let (Stage::Intended { since }
        | Stage::Deleting { since }
        | Stage::Deleted {
            unfinished_since: Some(since),
        }) = self.stage
        else {
            return false;
        };
        // Where Docker runs in a virtual machine, it has a clock of its own and may put a prefix before the host's paths.
        let data = self.data.strip_prefix("/").unwrap_or(&self.data);
        let is_ours = |node: &Node| {
            node.created >= since - CLOCK_SKEW_SECONDS
                && node.data.as_ref().is_some_and(|d| d.ends_with(data))
        };
        !nodes.is_empty() && nodes.iter().all(is_ours)
    }
}

/// A file to lock, made where there is none.
pub(crate) fn lock_file(path: &Path) -> anyhow::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

/// Whether an open file is the one that is found by this path.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: &std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (here, there) = (file.metadata(), std::fs::metadata(path));
    matches!((here, there), (Ok(here), Ok(there)) if identity(&here) == identity(&there))
}

/// Whether an open file is the one that is found by this path.
#[cfg(not(unix))]
pub(crate) fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

fn lock_path(directory: &Path, name: &ClusterName) -> PathBuf {
    directory.join(format!("{name}.lock"))
}

/// The files of one environment on this host, held by one program at a time.
#[derive(Debug)]
pub(crate) struct Home {
    directory: PathBuf,
    name: ClusterName,
    lock: File,
}

impl Home {
    /// Takes hold of an environment's files, once nobody else has them: another wharf, or a program that a killed wharf
    /// has started and that still makes or deletes the cluster.
    pub(crate) async fn hold(name: &ClusterName, wait: Duration) -> anyhow::Result<Self> {
        Self::hold_in(state_directory()?, name, wait).await
    }

    async fn hold_in(
        directory: PathBuf,
        name: &ClusterName,
        wait: Duration,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let path = lock_path(&directory, name);
        let mut lock = lock_file(&path)?;
        let end = Instant::now() + wait;
        let mut is_told = false;
        loop {
            match lock.try_lock() {
                // Its last holder has removed the file since it was opened: it locks nobody out.
                Ok(()) if !is_at(&lock, &path) => lock = lock_file(&path)?,
                Ok(()) => {
                    return Ok(Self {
                        directory,
                        name: name.clone(),
                        lock,
                    });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    if !is_told {
                        output::note(&format!(
                            "Another program works on cluster {name}: waiting until it is done."
                        ));
                        is_told = true;
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Code::Conflict.error(format!(
                        "another wharf or kind still works on cluster {name}: wait until it is done"
                    )));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("locking {}", path.display()));
                }
            }
        }
    }

    /// The lock, for a program that must not be overtaken even if this one dies.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        self.lock
            .try_clone()
            .context("sharing the environment's lock")
    }

    /// Where the provider's configuration of the cluster is written.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join(format!("{}.kind.json", self.name))
    }

    fn record(&self) -> PathBuf {
        self.directory.join(format!("{}.json", self.name))
    }

    /// What is remembered.
    pub(crate) fn read(&self) -> anyhow::Result<Option<Record>> {
        read(&self.record())
    }

    /// Remembers. Durable when it returns.
    pub(crate) fn write(&self, record: &Record) -> anyhow::Result<()> {
        let path = self.record();
        let write = || -> std::io::Result<()> {
            let next = path.with_extension("json.new");
            let mut file = File::create(&next)?;
            serde_json::to_writer_pretty(&mut file, record)?;
            file.write_all(b"\n")?;
            // The content before the name: a power cut between leaves the old record, or none.
            file.sync_all()?;
            std::fs::rename(&next, &path)?;
            if cfg!(unix) {
                File::open(&self.directory)?.sync_all()?;
            }
            Ok(())
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// Forgets.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        for path in [self.record(), self.config()] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("deleting {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Home {
    /// Where nothing is remembered, nothing is left. The lock is still held then, and who waits for it notices that it means nothing.
    /// Programs that make or delete a cluster, and may live on, are started only when there is a record.
    fn drop(&mut self) {
        if !self.record().exists() {
            // What stays is a file that means nothing.
            let _ = std::fs::remove_file(lock_path(&self.directory, &self.name));
        }
    }
}

/// What is remembered of an environment, by who only looks.
pub(crate) fn recall(name: &ClusterName) -> anyhow::Result<Option<Record>> {
    read(&state_directory()?.join(format!("{name}.json")))
}

/// What is remembered of all environments.
pub(crate) fn recall_all() -> anyhow::Result<Vec<Record>> {
    let mut paths = files_in(&state_directory()?)?;
    paths.retain(|path| is_record(path));
    paths.sort();
    // One that is damaged is for who asks about it by its name.
    Ok(paths
        .iter()
        .filter_map(|path| read(path).ok().flatten())
        .collect())
}

/// What is in a directory, in any order; nothing where there is none.
pub(crate) fn files_in(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => Ok(entries
            .with_context(|| format!("reading {}", directory.display()))?
            .flatten()
            .map(|entry| entry.path())
            .collect()),
    }
}

/// Whether a file is called as a record is: NAME.json, where a name has no dot.
fn is_record(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_suffix(".json"))
        .is_some_and(|name| name.parse::<ClusterName>().is_ok())
}

/// Where an environment's images are, unless the user says otherwise.
pub(crate) fn default_data(name: &ClusterName) -> anyhow::Result<PathBuf> {
    Ok(base("XDG_DATA_HOME", ".local/share")?
        .join("wharf/clusters")
        .join(name.as_str()))
}

/// Now, as a [`Stage`] has it.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn read(path: &Path) -> anyhow::Result<Option<Record>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
            format!(
                "{} is damaged: delete it if no cluster needs it",
                path.display()
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn state_directory() -> anyhow::Result<PathBuf> {
    Ok(base("XDG_STATE_HOME", ".local/state")?.join("wharf/clusters"))
}

/// Where the forwards that run are described.
pub(crate) fn forwards_directory() -> anyhow::Result<PathBuf> {
    Ok(base("XDG_STATE_HOME", ".local/state")?.join("wharf/forwards"))
}

fn base(variable: &str, below_home: &str) -> anyhow::Result<PathBuf> {
    // The standard says that a relative path is to be ignored.
    let set = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    set.or_else(|| {
        std::env::home_dir()
            .filter(|home| home.is_absolute())
            .map(|home| home.join(below_home))
    })
    .ok_or_else(|| {
        Code::Prerequisite.error(format!(
            "this user has no home directory: set HOME or {variable}"
        ))
    })
}

#[cfg(test)]
mod tests;
