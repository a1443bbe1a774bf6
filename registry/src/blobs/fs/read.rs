//! A blob's bytes, in large pieces.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::layout::Layout;
use super::{no_follow, spawn_blocking};
use crate::blobs::{Error, Location, Result};
use crate::limits;

/// The rest of a blob that is being read.
struct Reader {
    layout: Arc<Layout>,
    location: Location,
    /// Its position is at the next byte to read.
    file: File,
    left: u64,
}

/// Opens a blob and reads `length` bytes from `offset` on. Opening and the first read are one
/// blocking call, so that a small blob costs no more than that.
pub(super) async fn read(
    layout: Arc<Layout>,
    location: Location,
    size: u64,
    offset: u64,
    length: u64,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let (first, reader) = spawn_blocking(move || {
        let path = layout.blob(&location);
        let mut file = match no_follow().read(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing(location));
            }
            file => file.map_err(Error::io("open", &path))?,
        };
        let actual = file.metadata().map_err(Error::io("look at", &path))?.len();
        if actual != size {
            return Err(Error::Damaged {
                location,
                expected: size,
                actual,
            });
        }
        file.seek(SeekFrom::Start(offset))
            .map_err(Error::io("seek in", &path))?;
        Reader {
            layout,
            location,
            file,
            left: length,
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

impl Reader {
    /// The next piece.
    fn next(mut self) -> Result<(Bytes, Self)> {
        let length = self.left.min(limits::READ_BYTES as u64);
        let failed = |error| Error::io("read", &self.layout.blob(&self.location))(error);
        // Into spare capacity, which unlike a buffer of zeros costs nothing to make.
        let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or(limits::READ_BYTES));
        (&self.file)
            .take(length)
            .read_to_end(&mut piece)
            .map_err(failed)?;
        if piece.len() as u64 != length {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        self.left -= length;
        Ok((piece.into(), self))
    }
}
