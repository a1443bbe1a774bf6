//! A log that cannot fill a disk: the newest file, and the one before it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of one file.
const MAX_BYTES: u64 = 1024 * 1024;

/// A log file, which is set aside as `FILE.1` when it is full.
#[derive(Debug, Clone)]
pub(super) struct Log(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Log {
    /// Goes on with a log, or begins it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = append(path).with_context(|| format!("opening the log {}", path.display()))?;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Self(Arc::new(Mutex::new(Inner {
            path: path.to_owned(),
            file,
            length,
        }))))
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.length >= MAX_BYTES {
            std::fs::rename(&inner.path, set_aside(&inner.path))?;
            inner.file = append(&inner.path)?;
            inner.length = 0;
        }
        inner.file.write_all(line)?;
        inner.length += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Where a full log goes.
pub(super) fn set_aside(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut log = Log::open(&path).unwrap();
        let line = vec![b'x'; 300_000];
        for _ in 0..9 {
            log.write_all(&line).unwrap();
        }
        let length = |path: &Path| std::fs::metadata(path).unwrap().len();
        // Four fill a file; of nine, the first four are gone.
        assert_eq!(
            (length(&path), length(&set_aside(&path))),
            (300_000, 1_200_000)
        );
        // Who goes on with it, goes on counting.
        Log::open(&path).unwrap().write_all(b"end\n").unwrap();
        assert_eq!(length(&path), 300_004);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
