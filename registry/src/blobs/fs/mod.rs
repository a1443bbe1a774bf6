//! Blobs as files.

mod buffers;
mod files;
mod folder;
mod layout;
mod notes;
mod read;
mod sessions;
mod space;
mod write;
mod writeback;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::{
    BlobStore, Error, Location, Note, OpenUpload, Pieces, Result, Space, StoredFile, UploadId,
    UploadWriter,
};
use crate::oci::Algorithm;
use crate::transfers::Transfers;
use buffers::Buffers;
use layout::Layout;
use read::Wanted;

/// A [`BlobStore`] in a folder.
///
/// ```text
/// blobs/store-id                              what this store is called
/// blobs/generation                            the newest catalog that it was used with
/// blobs/<algorithm>.fan-out                   says that all of the algorithm's folders are there
/// blobs/<algorithm>/<2 hex>/<hex>.<upload>    a blob; the upload that it came with makes the name unique
/// uploads/<upload>.<notes>                    the bytes of an upload session so far, under the notes on it
/// uploads/<upload>/session, …/data            the same where the notes are too long for a name
/// quarantine/<time>/<hex>.<upload>            a file that the catalog did not name, on its way out
/// ballast                                     room for the catalog when the disk is full
/// ```
///
/// A file under `blobs/` that the catalog names is whole: it was renamed there after its digest was checked, and
/// it and its folder were synced before the catalog named it. One that the catalog does not name is an orphan
/// of a crash, of any content if that was a loss of power, and is never served. What is under `uploads/` may be cut off anywhere; its length is the offset at
/// which the upload goes on.
pub struct FsStore {
    layout: Arc<Layout>,
    /// Blobs that are being read.
    running: Transfers,
    buffers: Buffers,
}

impl FsStore {
    /// Opens the store in `root`, making it where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] where folders cannot be made or synced.
    pub fn open(root: &Path) -> Result<Self> {
        let layout = Arc::new(Layout::open(root)?);
        // Beside the start, which need not wait for it. Whoever comes first makes the folders, and
        // a commit waits for them; so an error here comes again where it can be told.
        let ahead = layout.clone();
        let _ = thread::Builder::new().spawn(move || ahead.ensure_fan_out(Algorithm::Sha256));
        Ok(Self {
            layout,
            running: Transfers::default(),
            buffers: Buffers::default(),
        })
    }

    /// Runs file I/O where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layout) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let layout = self.layout.clone();
        spawn_blocking(move || work(&layout)).await
    }
}

#[async_trait::async_trait]
impl BlobStore for FsStore {
    async fn note(&self, note: Note) -> Result<Option<String>> {
        self.blocking(move |layout| notes::read(layout, note)).await
    }

    async fn set_note(&self, note: Note, text: &str) -> Result<()> {
        let text = text.to_owned();
        self.blocking(move |layout| notes::write(layout, note, &text))
            .await
    }

    async fn create_upload(
        &self,
        upload: &UploadId,
        notes: &[u8],
        algorithm: Algorithm,
    ) -> Result<Box<dyn UploadWriter>> {
        let (upload, notes) = (upload.clone(), notes.to_vec());
        let layout = self.layout.clone();
        let writer =
            spawn_blocking(move || write::Writer::create(layout, upload, &notes, algorithm))
                .await?;
        Ok(Box::new(writer))
    }

    async fn uploads(&self) -> Result<Vec<OpenUpload>> {
        self.blocking(layout::Layout::uploads).await
    }

    async fn resume_upload(
        &self,
        upload: &UploadId,
        algorithm: Algorithm,
    ) -> Result<Box<dyn UploadWriter>> {
        let (layout, upload) = (self.layout.clone(), upload.clone());
        let writer =
            spawn_blocking(move || write::Writer::resume(layout, upload, algorithm)).await?;
        Ok(Box::new(writer))
    }

    async fn discard_upload(&self, upload: &UploadId) -> Result<()> {
        if !self.layout.sessions().has(upload) {
            // As it is with nearly every upload that became a blob.
            return Ok(());
        }
        let upload = upload.clone();
        self.blocking(move |layout| layout.remove_upload(&upload))
            .await
    }

    async fn read(
        &self,
        location: &Location,
        size: u64,
        offset: u64,
        length: u64,
        pieces: Pieces,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let wanted = Wanted {
            location: location.clone(),
            size,
            offset,
            length,
            pieces,
        };
        let transfer = self.running.begin();
        read::read(self.layout.clone(), transfer, self.buffers.clone(), wanted).await
    }

    async fn committed(&self, location: &Location) -> Result<Option<u64>> {
        let location = location.clone();
        self.blocking(move |layout| write::committed(layout, &location))
            .await
    }

    async fn delete(&self, locations: Vec<Location>) -> Result<()> {
        self.blocking(move |layout| {
            // All of them, whatever becomes of one.
            let mut result = Ok(());
            for location in locations {
                let name = layout::file_name(&location);
                let folder = layout.blob_folder(&location);
                result = result.and(folder.and_then(|folder| folder.remove(&name)));
            }
            result
        })
        .await
    }

    async fn list(&self, part: usize) -> Result<Option<Vec<StoredFile>>> {
        self.blocking(move |layout| files::list(layout, part)).await
    }

    async fn quarantine(&self, location: &Location, now: i64) -> Result<()> {
        let location = location.clone();
        self.blocking(move |layout| files::quarantine(layout, &location, now))
            .await
    }

    async fn quarantined(&self) -> Result<Vec<StoredFile>> {
        self.blocking(files::quarantined).await
    }

    async fn restore(&self, location: &Location) -> Result<()> {
        let location = location.clone();
        self.blocking(move |layout| files::restore(layout, &location))
            .await
    }

    async fn expel(&self, before: i64) -> Result<()> {
        self.blocking(move |layout| files::expel(layout, before))
            .await
    }

    async fn space(&self) -> Result<Space> {
        self.blocking(space::space).await
    }

    async fn keep_ballast(&self, bytes: u64) -> Result<()> {
        self.blocking(move |layout| space::keep_ballast(layout, bytes))
            .await
    }
}

/// Runs file I/O where it may block. A panic in there is a bug, and fails the request instead of
/// the server.
async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| {
            Err(Error::Io {
                action: "finish work on",
                what: "the blob store".to_owned(),
                source: io::Error::other(panic),
            })
        })
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let what = path.display().to_string();
        move |source| Self::Io {
            action,
            what,
            source,
        }
    }
}
