//! A blob's bytes, in large pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use rustix::io::{Errno, pread};
#[cfg(target_os = "linux")]
use rustix::io::{ReadWriteFlags, preadv2};

use super::buffers::{Buffer, Buffers};
use super::layout::{self, Layout};
use super::spawn_blocking;
use super::write::hash;
use crate::blobs::{Error, Location, Pieces, Result, window};
use crate::limits;
use crate::transfers::Transfer;

/// The rest of a blob that is being read.
struct Reader {
    location: Location,
    file: Arc<File>,
    /// Of the next byte to read.
    offset: u64,
    left: u64,
    pieces: Pieces,
    /// Whether a piece has been read.
    begun: bool,
    transfer: Transfer,
    buffers: Buffers,
}

/// What [`read`] is asked for.
pub(super) struct Wanted {
    pub(super) location: Location,
    /// Bytes of the whole blob.
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) pieces: Pieces,
}

/// Opens a blob and reads some of it. What the system has in memory is taken at once. For all else,
/// opening and the first read are one blocking call, so that a small blob costs no more than that.
pub(super) async fn read(
    layout: Arc<Layout>,
    transfer: Transfer,
    buffers: Buffers,
    wanted: Wanted,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let (first, reader) = match open_remembered(&layout, &wanted) {
        Some(file) => next(Reader::new(wanted, file, transfer, buffers)).await?,
        None => {
            spawn_blocking(move || {
                let file = open(&layout, &wanted.location, wanted.size)?;
                Reader::new(wanted, file, transfer, buffers).next()
            })
            .await?
        }
    };
    let rest = stream::unfold(Some(reader), |reader| async move {
        let reader = reader.filter(|reader| reader.left > 0)?;
        Some(match next(reader).await {
            Ok((piece, reader)) => (Ok(piece), Some(reader)),
            // An error ends the stream, and with it the answer: the client sees that it was cut
            // short.
            Err(error) => (Err(error), None),
        })
    });
    Ok(stream::once(async { Ok(first) }).chain(rest).boxed())
}

/// The next piece of a blob.
async fn next(mut reader: Reader) -> Result<(Bytes, Reader)> {
    match reader.next_lent().or_else(|| reader.next_remembered()) {
        Some(piece) => Ok((piece, reader)),
        None => spawn_blocking(move || reader.next()).await,
    }
}

/// A blob's file, if the system has it in memory and nothing about it asks for a second look.
fn open_remembered(layout: &Layout, wanted: &Wanted) -> Option<File> {
    let path = layout::file_path(&wanted.location);
    let (file, metadata) = layout.root().read_remembered(&path)?;
    (metadata.len() == wanted.size && metadata.nlink() == 1).then_some(file)
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
    fn new(wanted: Wanted, file: File, transfer: Transfer, buffers: Buffers) -> Self {
        Self {
            location: wanted.location,
            file: Arc::new(file),
            offset: wanted.offset,
            left: wanted.length,
            pieces: wanted.pieces,
            begun: false,
            transfer,
            buffers,
        }
    }

    /// Room for the next piece.
    fn room(&self) -> Buffer {
        let most = self.transfer.bytes(limits::READ_BYTES);
        let size = usize::try_from(self.left).unwrap_or(usize::MAX);
        // A whole one for nearly a whole one: those are used again.
        self.buffers.take(match size > most / 2 {
            true => most,
            false => size,
        })
    }

    /// The next piece, where the system has it in memory. The first one is not lent: it goes out together with
    /// the answer's head.
    fn next_lent(&mut self) -> Option<Bytes> {
        if !self.begun || self.pieces == Pieces::Copied {
            return None;
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX);
        let length = length.min(limits::LENT_BYTES);
        if length < limits::LEAST_LENT_BYTES {
            return None;
        }
        let piece = window::lend(&self.file, self.offset, length)?;
        self.advance(length);
        Some(piece)
    }

    /// Whether only the beginning need be copied.
    #[cfg(target_os = "linux")]
    fn lends_the_rest(&self) -> bool {
        let worth_it = 4 * limits::LEAST_LENT_BYTES as u64;
        !self.begun && self.pieces == Pieces::Lent && self.left >= worth_it
    }

    /// Goes on behind a piece.
    fn advance(&mut self, piece: usize) {
        self.begun = true;
        self.offset += piece as u64;
        self.left -= piece as u64;
    }

    /// The next piece, as far as the system has it in memory.
    #[cfg(target_os = "linux")]
    fn next_remembered(&mut self) -> Option<Bytes> {
        let mut buffer = match self.lends_the_rest() {
            true => self.buffers.take(limits::LEAST_LENT_BYTES),
            false => self.room(),
        };
        let room = part(buffer.room(), self.left);
        let pieces = &mut [io::IoSliceMut::new(room)];
        let now = ReadWriteFlags::NOWAIT;
        let read = preadv2(&*self.file, pieces, self.offset, now).ok()?;
        // Anything strange is left to a second look.
        (read > 0).then(|| {
            self.advance(read);
            buffer.freeze(read)
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn next_remembered(&mut self) -> Option<Bytes> {
        None
    }

    /// The next piece.
    fn next(mut self) -> Result<(Bytes, Self)> {
        let mut buffer = self.room();
        let room = part(buffer.room(), self.left);
        let mut filled = 0;
        while filled < room.len() {
            match pread(
                &*self.file,
                &mut room[filled..],
                self.offset + filled as u64,
            ) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    filled += read;
                    Ok(())
                }
                Err(Errno::INTR) => Ok(()),
                Err(error) => Err(error.into()),
            }
            .map_err(failed("read", &self.location))?;
        }
        self.advance(filled);
        Ok((buffer.freeze(filled), self))
    }
}

/// As much of some room as `left` bytes need.
fn part(room: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).map_or(room.len(), |left| left.min(room.len()));
    &mut room[..length]
}
