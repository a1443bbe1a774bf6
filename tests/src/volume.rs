//! File systems of the tests' own, in files: to be filled up, and to be cut off from power.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::command;

const LIMIT: Duration = Duration::from_secs(60);

/// A mounted file system in a file. Dropping it unmounts it.
#[derive(Debug)]
pub struct Volume {
    mount: PathBuf,
    /// Where the mount point is.
    _dir: TempDir,
}

impl Volume {
    /// Makes a file system of `bytes` in `image` with `mkfs`, a program and its arguments, and mounts
    /// it.
    ///
    /// # Errors
    /// The file cannot be made, or mounting is not allowed: this takes root.
    pub fn make(image: &Path, bytes: u64, mkfs: &[&str]) -> Result<Self> {
        File::create(image)?.set_len(bytes)?;
        let (program, arguments) = mkfs.split_first().context("no program")?;
        command::output(Command::new(program).args(arguments).arg(image), LIMIT)?;
        Self::mount(image)
    }

    /// Mounts the file system in `image`, and so replays its journal.
    ///
    /// # Errors
    /// It is none, or mounting is not allowed: this takes root.
    pub fn mount(image: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("wharf-volume-").tempdir()?;
        let mount = dir.path().join("mount");
        std::fs::create_dir(&mount)?;
        // Two copies of one XFS have the same id, and one of them may be mounted already.
        let options = match file_system(image)?.as_str() {
            "xfs" => "loop,nouuid",
            _ => "loop",
        };
        command::output(
            Command::new("mount")
                .args(["-o", options])
                .arg(image)
                .arg(&mount),
            LIMIT,
        )
        .context("a file system of the test's own takes root and loop devices")?;
        Ok(Self { mount, _dir: dir })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a process that still has a file open in it must not keep the mount point.
        let unmounted = Command::new("umount")
            .arg("--lazy")
            .arg(&self.mount)
            .status();
        if !unmounted.is_ok_and(|status| status.success()) {
            command::say(&format!("{} could not be unmounted", self.mount.display()));
        }
    }
}

/// Copies a file so that both share their blocks: in no time, and as of one moment.
///
/// # Errors
/// The file system cannot share blocks.
pub fn snapshot(image: &Path, copy: &Path) -> Result<()> {
    let mut cp = Command::new("cp");
    cp.arg("--reflink=always").arg(image).arg(copy);
    command::output(&mut cp, LIMIT)?;
    Ok(())
}

fn file_system(image: &Path) -> Result<String> {
    let mut blkid = Command::new("blkid");
    blkid
        .args(["--output", "value", "--match-tag", "TYPE"])
        .arg(image);
    Ok(command::output(&mut blkid, LIMIT)?.trim().to_owned())
}
