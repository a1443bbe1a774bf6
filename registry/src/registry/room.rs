//! What happens when the disk gets full: a mode, and no crash.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::Registry;
use crate::blobs::{self, Space};
use crate::limits;

/// Whether there is room for new uploads.
#[derive(Default)]
pub(super) struct Room {
    short: AtomicBool,
    /// Rung when a write found the disk full.
    alarm: Notify,
}

impl Room {
    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Acquire)
    }

    /// A write found the disk full.
    pub(super) fn ran_out(&self) {
        self.alarm.notify_one();
    }

    /// Waits until a write finds the disk full, or until it is time to look again anyway.
    pub(super) async fn wait(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.alarm.notified()).await;
    }
}

impl Registry {
    /// Whether new uploads are refused because the disk is full.
    pub fn is_full(&self) -> bool {
        self.room.is_short()
    }

    /// Looks how much room is left, and begins or ends the mode of a full disk.
    ///
    /// # Errors
    /// Where the disk cannot be asked.
    pub(super) async fn look_at_room(&self) -> blobs::Result<()> {
        let space = self.blobs.space().await?;
        let (short, was_short) = (space.is_short(), self.room.is_short());
        if short && !was_short {
            self.room.short.store(true, Ordering::Release);
            // Room for the catalog, so that it can write down what is deleted.
            self.blobs.keep_ballast(0).await?;
            tracing::warn!(
                free_bytes = space.free,
                free_files = space.free_files,
                "the disk is full: new uploads are refused"
            );
        } else if was_short && space.has_recovered() {
            self.room.short.store(false, Ordering::Release);
            tracing::info!(
                free_bytes = space.free,
                "the disk has room again: uploads are taken"
            );
        }
        if !self.room.is_short() {
            self.blobs.keep_ballast(space.ballast()).await?;
        }
        Ok(())
    }
}

impl Space {
    /// What has to be free for new uploads to be taken.
    fn reserve(&self) -> u64 {
        (self.total / 64).min(limits::RESERVE_BYTES)
    }

    /// What is kept back for the catalog.
    fn ballast(&self) -> u64 {
        (self.total / 128).min(limits::BALLAST_BYTES)
    }

    fn is_short(&self) -> bool {
        self.free < self.reserve()
            || self
                .free_files
                .is_some_and(|files| files < limits::RESERVE_FILES)
    }

    /// Whether there is so much room that the mode does not begin again at once.
    fn has_recovered(&self) -> bool {
        self.free >= 2 * self.reserve() + self.ballast()
            && self
                .free_files
                .is_none_or(|files| files >= 2 * limits::RESERVE_FILES)
    }
}
