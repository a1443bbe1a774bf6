//! From an upload's first byte to a blob on disk.

use std::fs::File;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::folder::found;
use super::layout::{self, Layout};
use super::{spawn_blocking, writeback};
use crate::blobs::{Error, Location, Result, UploadId, UploadWriter};
use crate::limits;
use crate::oci::{Algorithm, Digest, Hasher};

/// The growing file of one upload, with the hash of all that it holds.
pub(super) struct Writer {
    layout: Arc<Layout>,
    upload: UploadId,
    size: u64,
    /// Nothing while a blocking call has it, and for ever if that call failed or nobody waited for
    /// it.
    end: Option<End>,
}

/// What a blocking call takes with it.
struct End {
    file: File,
    hasher: Hasher,
    size: u64,
    /// Up to where the system was asked to write to the disk.
    begun: u64,
}

impl End {
    fn new(file: File, hasher: Hasher, size: u64) -> Self {
        Self {
            file,
            hasher,
            size,
            begun: size,
        }
    }

    /// Adds bytes behind the end.
    fn append(&mut self, frames: &[Bytes]) -> io::Result<()> {
        write_all(&mut self.file, frames)?;
        // Only after the write, so that neither ever covers bytes that are not there.
        self.size += frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
        let waiting = self.size - self.begun;
        if waiting >= limits::WRITEBACK_BYTES {
            // While the disk writes, the processor hashes.
            writeback::begin(&self.file, self.begun, waiting);
            self.begun = self.size;
        }
        for frame in frames {
            self.hasher.update(frame);
        }
        Ok(())
    }
}

impl Writer {
    /// Begins an upload. Nothing is synced: until the blob is committed, the client has no promise
    /// that power loss could break.
    pub(super) fn create(
        layout: Arc<Layout>,
        upload: UploadId,
        notes: &[u8],
        algorithm: Algorithm,
    ) -> Result<Self> {
        let file = layout.create_upload(&upload, notes)?;
        Ok(Self {
            layout,
            upload,
            size: 0,
            end: Some(End::new(file, algorithm.hasher(), 0)),
        })
    }

    /// Goes on at the end of what is stored. The hash is always taken anew from the bytes that are
    /// there: a saved hash state could outlive its bytes in a power cut, and a hole full of
    /// zeros would then get a matching digest.
    pub(super) fn resume(
        layout: Arc<Layout>,
        upload: UploadId,
        algorithm: Algorithm,
    ) -> Result<Self> {
        let mut file = layout.open_upload(&upload)?;
        let read = hash(&mut file, algorithm);
        let (hasher, size) = read.map_err(Error::io("read", &name(&upload)))?;
        Ok(Self {
            layout,
            upload,
            size,
            end: Some(End::new(file, hasher, size)),
        })
    }

    async fn with_end<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut End) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut end = self.end.take().ok_or(Error::Interrupted)?;
        let (end, value) = spawn_blocking(move || work(&mut end).map(|value| (end, value))).await?;
        self.end = Some(end);
        Ok(value)
    }
}

#[async_trait::async_trait]
impl UploadWriter for Writer {
    fn size(&self) -> u64 {
        self.size
    }

    async fn append(&mut self, frames: Vec<Bytes>) -> Result<()> {
        let path = name(&self.upload);
        self.size = self
            .with_end(move |end| {
                end.append(&frames).map_err(Error::io("write", &path))?;
                Ok(end.size)
            })
            .await?;
        Ok(())
    }

    async fn verify(&mut self, digest: &Digest) -> Result<()> {
        let hashed = self.end.as_ref().map(|end| end.hasher.algorithm());
        if hashed != Some(digest.algorithm()) {
            let (path, algorithm) = (name(&self.upload), digest.algorithm());
            self.with_end(move |end| {
                (end.hasher, _) =
                    hash(&mut end.file, algorithm).map_err(Error::io("read", &path))?;
                Ok(())
            })
            .await?;
        }
        let end = self.end.as_ref().ok_or(Error::Interrupted)?;
        let actual = end.hasher.clone().finish();
        if actual == *digest {
            Ok(())
        } else {
            Err(Error::DigestMismatch { actual })
        }
    }

    /// What a crash leaves after each step:
    ///
    /// 1. write the data: an open upload.
    /// 2. rename it to the blob's name: the upload or the blob's file. The name comes behind the data in the journals of
    ///    ext4 and XFS, so the file is whole; of others nobody knows, and it may be of any content. The catalog does
    ///    not know it, so it is not served, and a sweep of orphans takes it. (Where the upload's notes have a file of their own,
    ///    a closing request that is repeated finds it by the upload's id, and hashes it.)
    /// 3. sync the file: its bytes are right, under this name or none.
    /// 4. sync the blob's folder: the blob's file, whole.
    ///
    /// In this order one commit of the file system's journal makes all of it safe; a rename behind the first sync would
    /// need another.
    ///
    /// The caller's transaction makes it a blob.
    ///
    /// A failed sync is never tried again on the same file: the kernel may have dropped the pages
    /// and call the second one a success.
    async fn commit(mut self: Box<Self>, digest: &Digest) -> Result<Location> {
        let End { file, hasher, .. } = self.end.take().ok_or(Error::Interrupted)?;
        debug_assert_eq!(
            hasher.algorithm(),
            digest.algorithm(),
            "commit comes after verify"
        );
        let location = Location {
            digest: digest.clone(),
            upload: self.upload.clone(),
        };
        let layout = self.layout.clone();
        spawn_blocking(move || {
            layout.ensure_fan_out(location.digest.algorithm())?;
            let written = writeback::finish(&file);
            written.map_err(Error::io("write", &name(&location.upload)))?;
            let folder = layout.blob_folder(&location)?;
            let blob = layout::file_name(&location);
            layout.move_upload(&location.upload, &file, &folder, &blob)?;
            let synced = file
                .sync_data()
                .map_err(Error::io("sync", Path::new(&blob)));
            if let Err(error) = synced.and_then(|()| folder.sync()) {
                // Nothing names it. Where that fails as well, it is an orphan.
                let _ = folder.remove(&blob);
                return Err(error);
            }
            Ok(location)
        })
        .await
    }
}

/// The size of a blob's file that a process which has ended may have left behind, made safe; nothing where there
/// is none, or where its bytes were lost with the power.
pub(super) fn committed(layout: &Layout, location: &Location) -> Result<Option<u64>> {
    let name = layout::file_name(location);
    let Some(folder) = found(layout.blob_folder(location))? else {
        return Ok(None);
    };
    let Some(mut file) = found(folder.read(&name))? else {
        return Ok(None);
    };
    let hashed = hash(&mut file, location.digest.algorithm());
    let (hasher, size) = hashed.map_err(Error::io("read", Path::new(&name)))?;
    if hasher.finish() != location.digest {
        return Ok(None);
    }
    file.sync_data()
        .map_err(Error::io("sync", Path::new(&name)))?;
    folder.sync()?;
    Ok(Some(size))
}

/// An upload's file, for messages.
fn name(upload: &UploadId) -> PathBuf {
    ["uploads", upload.as_str()].iter().collect()
}

/// Writes all frames with as few system calls as the kernel lets us, without copying them together
/// first.
fn write_all(file: &mut File, frames: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = frames
        .iter()
        .filter(|frame| !frame.is_empty())
        .map(|frame| IoSlice::new(frame))
        .collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Hashes the whole file and leaves its position at the end.
pub(super) fn hash(file: &mut File, algorithm: Algorithm) -> io::Result<(Hasher, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hasher, mut size) = (algorithm.hasher(), 0);
    let mut buffer = vec![0; limits::WRITE_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hasher, size)),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
