//! Folders that lead nowhere else.
//!
//! Whoever can write into the data directory could plant something under one of our names: a
//! symbolic link, a hard link to a file elsewhere, a pipe on which an `open` waits for ever. So
//! below the store's root, every step of a path is opened on its own and without following, and
//! what is opened must be what we would have made.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use crate::blobs::{Error, Result};

/// An open folder of the store.
pub(super) struct Folder {
    handle: OwnedFd,
    /// For messages, and for nothing else.
    path: PathBuf,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// Without `NONBLOCK`, opening a pipe would wait for its other end.
const PLAIN: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Reading writes nothing: the first read of a file would otherwise change its time of last access, and wait for the
/// file system's journal.
#[cfg(target_os = "linux")]
const READ: OFlags = PLAIN.union(OFlags::NOATIME);
#[cfg(not(target_os = "linux"))]
const READ: OFlags = PLAIN;

impl Folder {
    /// The store's root, wherever links may lead: which folder that is, is the user's to say.
    pub(super) fn root(path: &Path) -> Result<Self> {
        match rustix::fs::open(path, FOLDER, Mode::empty()) {
            Ok(handle) => Ok(Self {
                handle,
                path: path.to_owned(),
            }),
            Err(error) => Err(Error::io("open", path)(error.into())),
        }
    }

    /// A folder in this one.
    pub(super) fn open(&self, name: &str) -> Result<Self> {
        let flags = FOLDER | OFlags::NOFOLLOW;
        let handle = rustix::fs::openat(&self.handle, name, flags, Mode::empty())
            .map_err(|error| self.failed("open", name, error))?;
        Ok(Self {
            handle,
            path: self.path.join(name),
        })
    }

    /// As [`Folder::open`]; nothing where there is none.
    pub(super) fn find(&self, name: &str) -> Result<Option<Self>> {
        found(self.open(name))
    }

    /// Makes a folder in this one, which is not there yet.
    pub(super) fn make_new(&self, name: &str) -> Result<Self> {
        rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(0o777))
            .map_err(|error| self.failed("create", name, error))?;
        self.open(name)
    }

    /// Makes a folder in this one where there is none.
    pub(super) fn make(&self, name: &str) -> Result<()> {
        match rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(self.failed("create", name, error)),
        }
    }

    /// A new file, for reading and writing.
    pub(super) fn create(&self, name: &str) -> Result<File> {
        let flags = PLAIN | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.open_file(name, flags, "create")
    }

    /// A file that is ours to write, made where there is none. Nobody else may have a name for it:
    /// what is written would go there as well.
    pub(super) fn write(&self, name: &str) -> Result<File> {
        let file = self.open_file(name, PLAIN | OFlags::RDWR | OFlags::CREATE, "open")?;
        let links = file.metadata().map(|metadata| metadata.nlink());
        match links.map_err(Error::io("look at", &self.path.join(name)))? {
            1 => Ok(file),
            _ => Err(self.foreign(name)),
        }
    }

    /// A file for reading.
    pub(super) fn read(&self, name: &str) -> Result<File> {
        match self.open_file(name, READ, "open") {
            // Only the file's owner may leave no trace in it.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                self.open_file(name, PLAIN | OFlags::RDONLY, "open")
            }
            opened => opened,
        }
    }

    /// A file for reading at the end of a path, if that takes no disk: if the kernel remembers the
    /// path, and it leads nowhere else. Nothing is said of what is not found so.
    #[cfg(target_os = "linux")]
    pub(super) fn read_remembered(&self, path: &str) -> Option<(File, Metadata)> {
        use rustix::fs::ResolveFlags;

        let resolve = ResolveFlags::CACHED | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(&self.handle, path, READ, Mode::empty(), resolve);
        let file = File::from(opened.ok()?);
        let metadata = file.metadata().ok()?;
        metadata.is_file().then_some((file, metadata))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn read_remembered(&self, _path: &str) -> Option<(File, Metadata)> {
        None
    }

    fn open_file(&self, name: &str, flags: OFlags, action: &'static str) -> Result<File> {
        let mode = Mode::from_raw_mode(0o666);
        let file = match rustix::fs::openat(&self.handle, name, flags, mode) {
            Ok(handle) => File::from(handle),
            // A link, a folder, a device without a driver.
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::ISDIR | rustix::io::Errno::NXIO) => {
                return Err(self.foreign(name));
            }
            Err(error) => return Err(self.failed(action, name, error)),
        };
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(file),
            Ok(_) => Err(self.foreign(name)),
            Err(error) => Err(Error::io("look at", &self.path.join(name))(error)),
        }
    }

    /// The size of a file; nothing where there is none.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>> {
        let Some(stat) = self.look(name)? else {
            return Ok(None);
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
            _ => Err(self.foreign(name)),
        }
    }

    /// The size of a file, and when it was last written to; nothing where there is no file.
    pub(super) fn file(&self, name: &str) -> Result<Option<(u64, i64)>> {
        let stat = self.look(name)?;
        let file =
            stat.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        #[expect(
            clippy::useless_conversion,
            reason = "their types differ between systems"
        )]
        Ok(file.map(|stat| {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            (size, i64::try_from(stat.st_mtime).unwrap_or(i64::MAX))
        }))
    }

    /// Whether something is called so.
    pub(super) fn has(&self, name: &str) -> Result<bool> {
        Ok(self.look(name)?.is_some())
    }

    /// Moves a file, which has to be the one that `open` is: its name may have been given to another
    /// meanwhile.
    pub(super) fn rename(&self, name: &str, open: &File, to: &Self, new: &str) -> Result<()> {
        let failed = Error::io("look at", &self.path.join(name));
        let ours: Metadata = open.metadata().map_err(failed)?;
        let same = |stat: &Stat| {
            #[expect(
                clippy::unnecessary_cast,
                reason = "their types differ between systems"
            )]
            let named = (stat.st_dev as u64, stat.st_ino as u64);
            named == (ours.dev(), ours.ino())
        };
        if !self.look(name)?.as_ref().is_some_and(same) {
            return Err(self.foreign(name));
        }
        self.relocate(name, to, new)
    }

    /// Moves what is called so, whatever it is.
    pub(super) fn relocate(&self, name: &str, to: &Self, new: &str) -> Result<()> {
        rustix::fs::renameat(&self.handle, name, &to.handle, new)
            .map_err(|error| self.failed("rename", name, error))
    }

    /// Removes a file, if there is one.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes a folder in this one, if there is one. It has to be empty.
    pub(super) fn remove_folder(&self, name: &str) -> Result<()> {
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &str, flags: AtFlags) -> Result<()> {
        match rustix::fs::unlinkat(&self.handle, name, flags) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("remove", name, error)),
        }
    }

    /// What is in the folder.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let failed = |error: rustix::io::Errno| Error::io("list", &self.path)(error.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // What is not ours may have any name.
            let name = entry.file_name().to_str();
            names.extend(
                name.ok()
                    .filter(|name| !matches!(*name, "." | ".."))
                    .map(str::to_owned),
            );
        }
        Ok(names)
    }

    /// Makes the folder's entries survive power loss.
    pub(super) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.handle).map_err(|error| Error::io("sync", &self.path)(error.into()))
    }

    fn look(&self, name: &str) -> Result<Option<Stat>> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("look at", name, error)),
        }
    }

    fn failed(&self, action: &'static str, name: &str, error: rustix::io::Errno) -> Error {
        Error::io(action, &self.path.join(name))(error.into())
    }

    fn foreign(&self, name: &str) -> Error {
        let source = io::Error::new(ErrorKind::InvalidInput, "it is not a file of this store");
        Error::io("use", &self.path.join(name))(source)
    }
}

/// A result that says that nothing is there as such.
pub(super) fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
