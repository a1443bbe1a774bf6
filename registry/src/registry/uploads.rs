//! Uploads: from a first request to a blob in a repository.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::content::{Content, copy};
use super::session::{Claim, Notes, Session, Tail};
use super::{Access, Action, Error, Registry, Result};
use crate::blobs::{self, BlobStore, Location, UploadId, UploadWriter};
use crate::clock::seconds;
use crate::limits::Limits;
use crate::oci::{Algorithm, ContentRange, Digest, Name};
use crate::transfers::Transfers;

/// Bytes of a blob from which on it is worth to look whether the store has it before it is made safe.
/// Of a smaller one, the second copy costs less than that, and goes again.
const WORTH_A_LOOK: u64 = 64 << 10;

/// The open uploads, and the last finished ones that left no trace.
pub(super) struct Uploads {
    sessions: Mutex<HashMap<UploadId, Arc<Session>>>,
    finished: Mutex<Finished>,
    places: Arc<Semaphore>,
    /// Requests that bring bytes.
    running: Transfers,
    limits: Limits,
}

/// Uploads of blobs that were there already, the oldest forgotten first. Of all others the catalog
/// knows which blob they became.
#[derive(Default)]
struct Finished {
    blobs: HashMap<UploadId, (Name, Digest)>,
    order: VecDeque<UploadId>,
}

impl Uploads {
    /// Takes over what an earlier process left. Uploads without readable notes are of no use to
    /// anyone and go.
    pub(super) async fn load(store: &dyn BlobStore, limits: Limits) -> blobs::Result<Self> {
        let places = Arc::new(Semaphore::new(limits.open_uploads));
        let mut sessions = HashMap::new();
        for open in store.uploads().await? {
            match (
                Notes::parse(&open.notes),
                places.clone().try_acquire_owned(),
            ) {
                (Some(notes), Ok(place)) => {
                    let session =
                        Session::new(notes, Tail::Dormant, open.size, open.written_at, place);
                    sessions.insert(open.upload, Arc::new(session));
                }
                _ => {
                    // What somebody has put there must not keep the server from starting.
                    let upload = open.upload;
                    if let Err(error) = store.discard_upload(&upload).await {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, %upload, "an upload could not be cleared away");
                    }
                }
            }
        }
        Ok(Self {
            sessions: Mutex::new(sessions),
            finished: Mutex::default(),
            places,
            running: Transfers::default(),
            limits,
        })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finished(&self) -> MutexGuard<'_, Finished> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A repository's open upload. Another repository's is as unknown as one that never was.
    fn session(&self, name: &Name, upload: &UploadId) -> Result<Arc<Session>> {
        let session = self.sessions().get(upload).cloned();
        session
            .filter(|session| session.repository == *name)
            .ok_or_else(|| Error::UploadUnknown(upload.clone()))
    }

    /// Remembers an upload of a blob that was there already.
    fn remember(&self, name: &Name, upload: &UploadId, digest: &Digest) {
        let mut finished = self.finished();
        if finished.order.len() >= self.limits.remembered_uploads
            && let Some(oldest) = finished.order.pop_front()
        {
            finished.blobs.remove(&oldest);
        }
        finished.order.push_back(upload.clone());
        finished
            .blobs
            .insert(upload.clone(), (name.clone(), digest.clone()));
    }

    /// Whether an upload is open, in whatever repository.
    pub(super) fn is_open(&self, upload: &UploadId) -> bool {
        self.sessions().contains_key(upload)
    }

    /// The repositories of all open uploads, and when those were started.
    pub(super) fn starts(&self) -> Vec<(Name, i64)> {
        self.sessions()
            .values()
            .map(|session| (session.repository.clone(), session.started))
            .collect()
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit> {
        match tokio::time::timeout(
            self.limits.open_upload_wait,
            self.places.clone().acquire_owned(),
        )
        .await
        {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Error::TooManyUploads),
        }
    }
}

impl Registry {
    /// Opens an upload whose content will be hashed with `algorithm`.
    ///
    /// # Errors
    /// [`Error::TooManyUploads`]
    pub async fn start_upload(
        &self,
        access: &Access,
        name: &Name,
        algorithm: Algorithm,
    ) -> Result<UploadId> {
        access.check(Action::Push, name)?;
        if self.is_full() {
            return Err(Error::Full);
        }
        let place = self.uploads.place().await?;
        let upload = UploadId::random()?;
        let started = self.clock.now();
        let notes = Notes {
            repository: name.clone(),
            algorithm,
            started,
        };
        let text = notes.to_text();
        let created = self
            .blobs
            .create_upload(&upload, text.as_bytes(), algorithm)
            .await;
        let writer = self.heed(created.map_err(Error::from))?;
        let session = Session::new(notes, Tail::Open(writer), 0, started, place);
        self.note_push(name, started);
        self.uploads
            .sessions()
            .insert(upload.clone(), Arc::new(session));
        Ok(upload)
    }

    /// How many bytes of an open upload are stored.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`]
    pub fn upload_size(&self, access: &Access, name: &Name, upload: &UploadId) -> Result<u64> {
        access.check(Action::Push, name)?;
        Ok(self.session(name, upload)?.size())
    }

    /// Adds a body to an open upload, as it arrives, and returns the upload's size. With a `range`
    /// the chunk has to begin where the upload ends. What arrives before an error stays, and
    /// the upload goes on behind it.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::ChunkOutOfOrder`], [`Error::ChunkSize`],
    /// [`Error::Superseded`], [`Error::Content`].
    pub async fn append(
        &self,
        access: &Access,
        name: &Name,
        upload: &UploadId,
        range: Option<ContentRange>,
        body: Content<'_>,
    ) -> Result<u64> {
        access.check(Action::Push, name)?;
        let session = self.session(name, upload)?;
        let mut claim = session.claim().await?;
        self.heed(
            self.append_to(&session, &mut claim, upload, range, body)
                .await,
        )
    }

    /// Adds the last body to an open upload, compares the whole with `digest` and makes it a blob
    /// of the repository. When this returns, the blob survives anything. Asked again for an
    /// upload that it finished, it says so again.
    ///
    /// # Errors
    /// As [`Registry::append`]. [`Error::DigestMismatch`] and failures to store ends the upload:
    /// nothing that could be added would make it right.
    pub async fn finish_upload(
        &self,
        access: &Access,
        name: &Name,
        upload: &UploadId,
        range: Option<ContentRange>,
        digest: &Digest,
        body: Content<'_>,
    ) -> Result<()> {
        access.check(Action::Push, name)?;
        let session = match self.session(name, upload) {
            Ok(session) => session,
            Err(unknown) => {
                return if self.has_finished(name, upload, digest).await? {
                    Ok(())
                } else {
                    Err(unknown)
                };
            }
        };
        let mut claim = session.claim().await?;
        if matches!(*claim.tail, Tail::Closed) && self.has_finished(name, upload, digest).await? {
            return Ok(());
        }
        let location = Location {
            digest: digest.clone(),
            upload: upload.clone(),
        };
        // An earlier process may have ended between the blob's commit and the catalog's.
        if matches!(*claim.tail, Tail::Dormant)
            && let Some(size) = self.blobs.committed(&location).await?
        {
            self.enter(name, &location, size).await?;
            *claim.tail = Tail::Closed;
            self.uploads.sessions().remove(upload);
            return Ok(());
        }
        self.heed(
            self.append_to(&session, &mut claim, upload, range, body)
                .await,
        )?;
        // The upload is whole. Whatever happens now, it is over.
        let Tail::Open(writer) = std::mem::replace(&mut *claim.tail, Tail::Dormant) else {
            return Err(Error::UploadUnknown(upload.clone()));
        };
        let committed = self.heed(self.commit(name, upload, digest, writer).await);
        *claim.tail = Tail::Closed;
        match &committed {
            Ok(()) => {
                self.uploads.sessions().remove(upload);
            }
            // Also after a failed sync: the kernel may have dropped what it could not write and
            // call a second sync a success.
            Err(_) => self.discard(upload).await?,
        }
        committed
    }

    /// Ends an upload and drops its bytes.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`]
    pub async fn cancel_upload(
        &self,
        access: &Access,
        name: &Name,
        upload: &UploadId,
    ) -> Result<()> {
        access.check(Action::Push, name)?;
        let session = self.session(name, upload)?;
        let mut claim = session.claim().await?;
        if matches!(
            std::mem::replace(&mut *claim.tail, Tail::Closed),
            Tail::Closed
        ) {
            return Err(Error::UploadUnknown(upload.clone()));
        }
        self.discard(upload).await
    }

    /// Gives the repository a blob that is in the store already: one that `from` has, or any that
    /// the caller may read without `from`. Says whether there is one; where there is none, the
    /// client uploads it.
    ///
    /// # Errors
    /// [`Error::Denied`] for the target; a source that may not be read is one that has no such
    /// blob.
    pub async fn mount(
        &self,
        access: &Access,
        name: &Name,
        digest: &Digest,
        from: Option<&Name>,
    ) -> Result<bool> {
        access.check(Action::Push, name)?;
        if from.is_some_and(|from| !access.may(Action::Pull, from)) {
            return Ok(false);
        }
        Ok(self.catalog.mount(name, digest, from).await?)
    }

    /// Closes uploads that nobody has gone on with for long, or only counts them.
    pub(super) async fn expire_uploads(&self, dry_run: bool) -> Result<usize> {
        let before = self.clock.now() - seconds(self.upload_expiry());
        let sessions: Vec<_> = self
            .uploads
            .sessions()
            .iter()
            .map(|(upload, session)| (upload.clone(), session.clone()))
            .collect();
        let mut expired = 0;
        for (upload, session) in sessions {
            if dry_run {
                expired += usize::from(session.is_idle(before));
            } else if session.close_if_idle(before) {
                self.discard(&upload).await?;
                expired += 1;
            }
        }
        Ok(expired)
    }

    /// A repository's open upload, which someone goes on with.
    fn session(&self, name: &Name, upload: &UploadId) -> Result<Arc<Session>> {
        let session = self.uploads.session(name, upload)?;
        session.touch(self.clock.now());
        self.note_push(name, session.started);
        Ok(session)
    }

    fn note_push(&self, name: &Name, started: i64) {
        let grace = seconds(self.settings.grace);
        self.pushes.note(name, started, self.clock.now(), grace);
    }

    async fn append_to(
        &self,
        session: &Session,
        claim: &mut Claim<'_>,
        upload: &UploadId,
        range: Option<ContentRange>,
        body: Content<'_>,
    ) -> Result<u64> {
        let mut writer = match std::mem::replace(&mut *claim.tail, Tail::Dormant) {
            Tail::Open(writer) => writer,
            Tail::Dormant => self.blobs.resume_upload(upload, session.algorithm).await?,
            Tail::Closed => {
                *claim.tail = Tail::Closed;
                return Err(Error::UploadUnknown(upload.clone()));
            }
        };
        let offset = writer.size();
        session.publish_size(offset);
        let result = match range {
            Some(range) if range.first != offset => Err(Error::ChunkOutOfOrder {
                first: range.first,
                offset,
                upload: upload.clone(),
            }),
            _ => {
                copy(
                    claim,
                    writer.as_mut(),
                    &self.uploads.running.begin(),
                    body,
                    range.map(ContentRange::length),
                )
                .await
            }
        };
        let size = writer.size();
        session.publish_size(size);
        session.touch(self.clock.now());
        // After a failed write the file has to be looked at anew.
        if !matches!(result, Err(Error::Blobs(_))) {
            *claim.tail = Tail::Open(writer);
        }
        result.map(|()| size)
    }

    /// Makes an upload's content a blob of the repository: checked, then on disk, then in the
    /// catalog.
    async fn commit(
        &self,
        name: &Name,
        upload: &UploadId,
        digest: &Digest,
        mut writer: Box<dyn UploadWriter>,
    ) -> Result<()> {
        writer.verify(digest).await.map_err(|error| match error {
            blobs::Error::DigestMismatch { actual } => Error::DigestMismatch {
                expected: digest.clone(),
                actual,
            },
            other => Error::Blobs(other),
        })?;
        // The bytes are here already: no need to make another copy of them safe. (If they went away
        // this moment, ours is committed.)
        if writer.size() >= WORTH_A_LOOK
            && self.catalog.has_blob(digest).await?
            && self.catalog.mount(name, digest, None).await?
        {
            drop(writer);
            self.uploads.remember(name, upload, digest);
            return Ok(self.blobs.discard_upload(upload).await?);
        }
        let size = writer.size();
        let location = writer.commit(digest).await?;
        self.enter(name, &location, size).await
    }

    /// Tells the catalog of a blob that is on disk, and clears up behind it.
    async fn enter(&self, name: &Name, location: &Location, size: u64) -> Result<()> {
        let Location { digest, upload } = location;
        let superfluous = self.catalog.add_blob(name, digest, size, upload).await?;
        if superfluous.contains(location) {
            self.uploads.remember(name, upload, digest);
        }
        self.remove(superfluous).await;
        Ok(self.blobs.discard_upload(upload).await?)
    }

    async fn discard(&self, upload: &UploadId) -> Result<()> {
        self.uploads.sessions().remove(upload);
        Ok(self.blobs.discard_upload(upload).await?)
    }

    /// Whether this upload became this blob; so that a client whose answer was lost may ask again,
    /// even of the next process.
    async fn has_finished(&self, name: &Name, upload: &UploadId, digest: &Digest) -> Result<bool> {
        if self
            .uploads
            .finished()
            .blobs
            .get(upload)
            .is_some_and(|(repository, blob)| repository == name && blob == digest)
        {
            return Ok(true);
        }
        Ok(self
            .catalog
            .blob(name, digest)
            .await?
            .is_some_and(|blob| blob.location.upload == *upload))
    }
}
