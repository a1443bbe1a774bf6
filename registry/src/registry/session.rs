//! One upload session.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, watch};

use super::{Error, Result};
use crate::blobs::UploadWriter;
use crate::oci::{Algorithm, Name};

/// What the blob store keeps with an upload, so that it survives a restart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) repository: Name,
    pub(super) algorithm: Algorithm,
    /// In seconds since 1970.
    pub(super) started: i64,
}

/// An open upload. At most one request writes to it at a time, the newest: a client that comes back
/// after its connection broke must not wait for the old request to find that out.
pub(super) struct Session {
    pub(super) repository: Name,
    pub(super) algorithm: Algorithm,
    /// Counts the requests that wrote or want to write. Whoever finds that it has moved on gives
    /// way.
    epoch: watch::Sender<u64>,
    writer: Mutex<Tail>,
    /// When it was started, in seconds since 1970.
    pub(super) started: i64,
    /// When a request last began or got further.
    active: AtomicI64,
    /// Bytes stored, for those who only ask.
    size: AtomicU64,
    /// One of the places that open uploads have.
    _place: OwnedSemaphorePermit,
}

/// The session's writable end.
pub(super) enum Tail {
    /// Open, with a writer.
    Open(Box<dyn UploadWriter>),
    /// Open, but the writer was lost: to a restart, an error, or a request that was cut off.
    Dormant,
    /// Committed or cancelled.
    Closed,
}

/// The right to write to a session, until a newer request claims it.
pub(super) struct Claim<'a> {
    pub(super) tail: MutexGuard<'a, Tail>,
    pub(super) session: &'a Session,
    epoch: u64,
    changes: watch::Receiver<u64>,
}

impl Session {
    pub(super) fn new(
        notes: Notes,
        tail: Tail,
        size: u64,
        active: i64,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            repository: notes.repository,
            algorithm: notes.algorithm,
            epoch: watch::Sender::new(0),
            writer: Mutex::new(tail),
            started: notes.started,
            active: AtomicI64::new(active),
            size: AtomicU64::new(size),
            _place: place,
        }
    }

    /// Bytes stored so far.
    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Lets others see how much is stored.
    pub(super) fn publish_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// Notes that someone goes on with it.
    pub(super) fn touch(&self, now: i64) {
        self.active.store(now, Ordering::Release);
    }

    /// Closes it if nobody writes to it and nobody has gone on with it since `before`. Says whether it
    /// did.
    pub(super) fn close_if_idle(&self, before: i64) -> bool {
        let Ok(mut tail) = self.writer.try_lock() else {
            return false;
        };
        let idle = self.active.load(Ordering::Acquire) < before;
        if idle {
            *tail = Tail::Closed;
        }
        idle
    }

    /// Whether [`close_if_idle`](Self::close_if_idle) would close it.
    pub(super) fn is_idle(&self, before: i64) -> bool {
        self.active.load(Ordering::Acquire) < before && self.writer.try_lock().is_ok()
    }

    /// Fences off the request that writes now, and waits until it has let go.
    ///
    /// # Errors
    /// [`Error::Superseded`] where a still newer request came meanwhile.
    pub(super) async fn claim(&self) -> Result<Claim<'_>> {
        let mut epoch = 0;
        self.epoch.send_modify(|newest| {
            *newest += 1;
            epoch = *newest;
        });
        let changes = self.epoch.subscribe();
        let tail = self.writer.lock().await;
        let claim = Claim {
            tail,
            session: self,
            epoch,
            changes,
        };
        claim.check()?;
        Ok(claim)
    }
}

impl Claim<'_> {
    fn check(&self) -> Result<()> {
        if *self.changes.borrow() == self.epoch {
            Ok(())
        } else {
            Err(Error::Superseded)
        }
    }

    /// Waits for `future` unless a newer request claims the session.
    pub(super) async fn unless_superseded<T>(
        &mut self,
        future: impl Future<Output = T>,
    ) -> Result<T> {
        let epoch = self.epoch;
        tokio::select! {
            biased;
            _ = self.changes.wait_for(|newest| *newest != epoch) => Err(Error::Superseded),
            value = future => Ok(value),
        }
    }
}

impl Notes {
    /// In one line without blanks: it may become a file's name.
    pub(super) fn to_text(&self) -> String {
        let Self {
            repository,
            algorithm,
            started,
        } = self;
        format!("{algorithm},{started},{repository}")
    }

    /// What [`to_text`](Self::to_text) made, if it did.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.splitn(3, ',');
        Some(Self {
            algorithm: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
            repository: parts.next()?.parse().ok()?,
        })
    }
}
