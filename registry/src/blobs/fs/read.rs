//! A blob's bytes, in large pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use super::layout::{self, Layout};
use super::spawn_blocking;
use super::write::hash;
use crate::blobs::{Error, Location, Result};
use crate::limits;
use crate::transfers::Transfer;

/// The rest of a blob that is being read.
struct Reader {
    location: Location,
    file: File,
    /// Of the next byte to read.
    offset: u64,
    left: u64,
    transfer: Transfer,
}

/// Opens a blob and reads `length` bytes from `offset` on. Opening and the first read are one
/// blocking call, so that a small blob costs no more than that.
pub(super) async fn read(
    layout: Arc<Layout>,
    transfer: Transfer,
    location: Location,
    size: u64,
    offset: u64,
    length: u64,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let (first, reader) = spawn_blocking(move || {
        Reader {
            file: open(&layout, &location, size)?,
            location,
            offset,
            left: length,
            transfer,
        }
        .next()
    })
    .await?;
    let rest = stream::unfold(Some(reader), |reader| async move {
        let reader = reader.filter(|reader| reader.left > 0)?;
        Some(match spawn_blocking(move || reader.next()).await {
            Ok((piece, reader)) => (Ok(piece), Some(reader)),
            // An error ends the stream, and with it the answer: the client sees that it was cut
            // short.
            Err(error) => (Err(error), None),
        })
    });
    Ok(stream::once(async { Ok(first) }).chain(rest).boxed())
}

/// Opens a blob that is what the catalog says.
fn open(layout: &Layout, location: &Location, size: u64) -> Result<File> {
    let damaged = |reason: String| Error::Damaged {
        location: location.clone(),
        reason,
    };
    let opened = layout
        .blob_folder(location)
        .and_then(|folder| folder.read(&layout::file_name(location)));
    let mut file = opened.map_err(|error| match error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Error::Missing(location.clone())
        }
        Error::Io { source, .. } if is_foreign(&source) => damaged(source.to_string()),
        error => error,
    })?;
    let metadata = file.metadata().map_err(failed("look at", location))?;
    let actual = metadata.len();
    if actual != size {
        return Err(damaged(format!("has {actual} bytes instead of {size}")));
    }
    // A file with another name somewhere may be another's file. Those who make copies of the data
    // with hard links have the right content, though.
    if metadata.nlink() > 1 {
        let (hasher, _) =
            hash(&mut file, location.digest.algorithm()).map_err(failed("read", location))?;
        if hasher.finish() != location.digest {
            return Err(damaged("is another file's second name".to_owned()));
        }
    }
    Ok(file)
}

/// Whether an error says that there is something else under the file's name.
fn is_foreign(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput
    )
}

fn failed(action: &'static str, location: &Location) -> impl FnOnce(io::Error) -> Error + use<> {
    Error::io(action, Path::new(&layout::file_name(location)))
}

impl Reader {
    /// The next piece.
    fn next(mut self) -> Result<(Bytes, Self)> {
        let length = self
            .left
            .min(self.transfer.bytes(limits::READ_BYTES) as u64);
        let size = usize::try_from(length).unwrap_or(limits::READ_BYTES);
        // Into spare capacity, which unlike a buffer of zeros costs nothing to make.
        let mut piece = Vec::with_capacity(size);
        while piece.len() < size {
            let at = self.offset + piece.len() as u64;
            match pread(&self.file, spare_capacity(&mut piece), at) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error != Errno::INTR => Err(error.into()),
                _ => Ok(()),
            }
            .map_err(failed("read", &self.location))?;
        }
        // It may have room for more than was asked for.
        piece.truncate(size);
        self.offset += length;
        self.left -= length;
        Ok((piece.into(), self))
    }
}
