//! What the host knows of the forwards that run: a file for each, which its process replaces as a whole.
//!
//! The process holds a lock as long as it lives. A record whose lock nobody holds is one that was killed.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use wharf_registry::oci::Digest;

use super::log;
use super::way::Traffic;
use crate::environment::{self, is_at};
use crate::exit::Code;
use crate::kube::Target;

/// A forward, as its process describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// The context of the kubeconfig.
    pub(super) context: String,
    /// `service wharf-system/registry`.
    pub(super) target: String,
    /// Its ports.
    pub(super) ports: Vec<Listening>,
    /// Whether who asks for it in HTTP is answered by wharf's registry.
    pub(super) is_registry: bool,
    /// The process.
    pub(super) pid: u32,
    /// Since when, in seconds since 1970.
    pub(super) since: i64,
    /// Where its log is, if not on somebody's terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<PathBuf>,
    /// What went through it.
    #[serde(flatten)]
    pub(super) traffic: Traffic,
}

/// A port of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listening {
    /// Its number.
    pub(super) port: u16,
    /// On 127.0.0.1 and, where there is one, on [::1].
    pub(super) addresses: Vec<SocketAddr>,
    /// The port of the target.
    pub(super) to: String,
}

/// The place of a forward's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    stem: PathBuf,
}

/// The right to forward to one target of one context, held by one process at a time.
#[derive(Debug)]
pub(super) struct Entry {
    files: Files,
    lock: File,
}

impl Files {
    /// Those of a target.
    pub(super) fn of(context: &str, target: &Target) -> anyhow::Result<Self> {
        let directory = environment::forwards_directory()?;
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        // Contexts are called anything; the target is there for people to read.
        let hash = Digest::sha256(format!("{context}\0{target}").as_bytes());
        let name: String = target.name.chars().take(64).collect();
        Ok(Self {
            stem: directory.join(format!("{name}-{}", &hash.hex()[..12])),
        })
    }

    /// Those of all forwards.
    pub(super) fn all() -> anyhow::Result<Vec<Self>> {
        let mut all: Vec<Self> = environment::files_in(&environment::forwards_directory()?)?
            .into_iter()
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .map(|path| Self {
                stem: path.with_extension(""),
            })
            .collect();
        all.sort_by(|a, b| a.stem.cmp(&b.stem));
        Ok(all)
    }

    /// Where the log of a forward in the background is.
    pub(super) fn log(&self) -> PathBuf {
        self.with("log")
    }

    /// What the process says, or said before it was killed.
    pub(super) fn read(&self) -> Option<Record> {
        serde_json::from_slice(&std::fs::read(self.with("json")).ok()?).ok()
    }

    /// Whether they are of a forward into this context's cluster.
    pub(super) fn are_of(&self, context: &str) -> bool {
        self.read().is_some_and(|record| record.context == context)
    }

    /// Takes hold of them, unless a living process has them.
    pub(super) fn hold(&self) -> anyhow::Result<Option<Entry>> {
        let path = self.with("lock");
        loop {
            let lock = environment::lock_file(&path)?;
            match lock.try_lock() {
                // Its last holder may have removed the file since it was opened; then it locks nobody out.
                Ok(()) if !is_at(&lock, &path) => {}
                Ok(()) => {
                    return Ok(Some(Entry {
                        files: self.clone(),
                        lock,
                    }));
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("locking {}", path.display()));
                }
            }
        }
    }

    fn with(&self, extension: &str) -> PathBuf {
        let mut path = self.stem.clone().into_os_string();
        path.push(".");
        path.push(extension);
        path.into()
    }
}

impl Entry {
    /// Takes hold of a target's files for a process that is to forward to it.
    pub(super) fn take(context: &str, target: &Target) -> anyhow::Result<Self> {
        Files::of(context, target)?.hold()?.ok_or_else(|| {
            Code::Conflict.error(format!(
                "{target} is forwarded already: `wharf forward status` says where, `wharf forward stop` ends it"
            ))
        })
    }

    /// Describes it anew.
    pub(super) fn write(&self, record: &Record) -> anyhow::Result<()> {
        let path = self.files.with("json");
        let write = || -> std::io::Result<()> {
            let next = self.files.with("json.new");
            std::fs::write(&next, serde_json::to_vec_pretty(record)?)?;
            std::fs::rename(&next, &path)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// Whether others can still find it.
    pub(super) fn is_known(&self) -> bool {
        is_at(&self.lock, &self.files.with("lock"))
    }

    /// Removes all files. The lock goes last, and is still held then.
    pub(super) fn forget(self) {
        if !self.is_known() {
            // They may be another's by now.
            return;
        }
        let log = self.files.log();
        for path in [
            self.files.with("json"),
            self.files.with("json.new"),
            log::set_aside(&log),
            log,
            self.files.with("lock"),
        ] {
            // What was never made cannot be removed; what stays is a file that means nothing.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_a_target_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files {
            stem: directory.path().join("app.v1-0123"),
        };
        let entry = files.hold().unwrap().unwrap();
        assert!(files.hold().unwrap().is_none());
        let record = Record {
            context: "kind-dev".into(),
            target: "service default/app.v1".into(),
            ports: vec![Listening {
                port: 8080,
                addresses: vec!["127.0.0.1:8080".parse().unwrap()],
                to: "80".into(),
            }],
            is_registry: false,
            pid: 7,
            since: 1,
            log: None,
            traffic: Traffic::default(),
        };
        entry.write(&record).unwrap();
        assert_eq!(files.read(), Some(record));
        // Who had opened the lock before it was removed must not take it for the one that counts.
        let stale = File::open(files.with("lock")).unwrap();
        assert!(entry.is_known());
        entry.forget();
        assert!(!is_at(&stale, &files.with("lock")));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(files.hold().unwrap().is_some());
    }
}
