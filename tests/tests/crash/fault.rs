//! What ends the server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::volume::{self, Volume};
use wharf_tests::wharf::Server;

/// Something that ends the server from one moment to the next.
pub(crate) trait Fault {
    /// The data directory to begin with, if the fault needs one of its own.
    fn data(&self) -> Option<PathBuf>;

    /// Whether bytes of open uploads that the server acknowledged are there after it.
    fn keeps_open_uploads(&self) -> bool;

    /// How long the server lives at most between two of these: long enough that most pushes get somewhere, so
    /// short that none gets far.
    fn life(&self) -> Duration;

    /// Strikes, and starts the server again.
    fn strike(&mut self, server: &mut Server) -> Result<()>;
}

/// SIGKILL: the process ends, and what it wrote is there.
pub(crate) struct Kill;

impl Fault for Kill {
    fn data(&self) -> Option<PathBuf> {
        None
    }

    fn keeps_open_uploads(&self) -> bool {
        true
    }

    fn life(&self) -> Duration {
        Duration::from_millis(200)
    }

    fn strike(&mut self, server: &mut Server) -> Result<()> {
        server.kill()?;
        server.restart()?;
        Ok(())
    }
}

/// A loss of power: what the kernel had not written is gone.
///
/// The data is in a file system in a file, which is in an XFS that can copy files in no time. A copy
/// that is made while the file system is in use has all that reached the disk, and nothing of what was in memory: the disk
/// as a loss of power leaves it. Mounting the copy replays the journal, as a boot does.
pub(crate) struct PowerLoss {
    /// What the server runs on.
    data: Option<Volume>,
    image: PathBuf,
    cuts: usize,
    /// Dropped last: the others are in it.
    outer: Volume,
    _dir: TempDir,
}

/// Room for all that the writers push, several times over; the files are sparse.
const BYTES: u64 = 4 << 30;

impl PowerLoss {
    /// A file system that `mkfs` makes, with power on.
    pub(crate) fn new(mkfs: &[&str]) -> Result<Self> {
        Bed::ensure_tools(&[Tool::Xfs])?;
        let dir = tempfile::Builder::new().prefix("wharf-power-").tempdir()?;
        let outer = Volume::make(
            &dir.path().join("outer"),
            4 * BYTES,
            &["mkfs.xfs", "-q", "-m", "reflink=1"],
        )?;
        let image = outer.path().join("disk-0");
        let data = Volume::make(&image, BYTES, mkfs)?;
        Ok(Self {
            data: Some(data),
            image,
            cuts: 0,
            outer,
            _dir: dir,
        })
    }

    fn sync(&self) -> Result<()> {
        let data = self.data.as_ref().context("no file system is mounted")?;
        rustix::fs::syncfs(std::fs::File::open(data.path())?)?;
        Ok(())
    }

    fn folder(volume: &Volume) -> PathBuf {
        volume.path().join("data")
    }
}

impl Fault for PowerLoss {
    fn data(&self) -> Option<PathBuf> {
        self.data.as_ref().map(Self::folder)
    }

    fn keeps_open_uploads(&self) -> bool {
        false
    }

    fn life(&self) -> Duration {
        Duration::from_millis(600)
    }

    fn strike(&mut self, server: &mut Server) -> Result<()> {
        self.cuts += 1;
        // The kernel writes what it has in memory whenever it likes. Once it likes to shortly before, once in
        // the very moment, so that parts of open uploads are on the disk, and once not at all.
        let likes = self.cuts % 3;
        if likes == 1 {
            self.sync()?;
        }
        // What it acknowledged it has acknowledged; from here on it says nothing more.
        server.freeze()?;
        if likes == 2 {
            self.sync()?;
        }
        let copy = self.outer.path().join(format!("disk-{}", self.cuts));
        volume::snapshot(&self.image, &copy)?;
        server.kill()?;
        self.data = None;
        std::fs::remove_file(&self.image)?;
        let volume = Volume::mount(&copy)?;
        ensure!(
            is_store(&Self::folder(&volume)),
            "the store is not on the copy"
        );
        server.restart_on(&Self::folder(&volume))?;
        self.data = Some(volume);
        self.image = copy;
        Ok(())
    }
}

fn is_store(data: &Path) -> bool {
    data.join("catalog.db").exists()
}
