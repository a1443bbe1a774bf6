//! Moving committed pages from the journal into the database, beside the writing.
//!
//! SQLite does this within a commit now and then, which then takes several times as long as others.
//! Here a thread of its own does it. While commits go on, it never gets to the journal's very end, so that the
//! journal grows; from a certain length on, the writer moves the last few pages itself, and the journal begins anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rusqlite::Connection;

use super::super::{Error, Result};
use crate::limits;

/// A handle to the thread, which ends with it.
pub(super) struct Checkpointer {
    /// Pages in the journal, as of the last commit.
    pages: Arc<AtomicUsize>,
    /// Set when pages could not be moved.
    failed: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    /// Takes the moving over from `writer`, whose database is at `path`. Sets `failed` where moving fails.
    pub(super) fn start(
        writer: &mut Connection,
        path: &Path,
        failed: Arc<AtomicBool>,
    ) -> Result<Self> {
        let pages = Arc::new(AtomicUsize::new(0));
        // This also replaces SQLite's own checkpoints.
        writer.wal_hook(Some({
            let pages = pages.clone();
            move |_: &mut rusqlite::hooks::Wal, count: i32| {
                pages.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            }
        }))?;
        let connection = super::open_writer(path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new()
            .name("catalog-checkpoint".to_owned())
            .spawn({
                let (stop, failed) = (stop.clone(), failed.clone());
                move || {
                    while !stop.load(Ordering::Acquire) {
                        thread::park();
                        checkpoint(&connection, &failed);
                    }
                }
            })
            .map_err(|error| {
                Error::Database(rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
            })?;
        Ok(Self {
            pages,
            failed,
            stop,
            thread: Some(thread),
        })
    }

    /// Looks at the journal after a commit, on the connection that made it.
    pub(super) fn look(&self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages >= limits::JOURNAL_PAGES {
            checkpoint(writer, &self.failed);
        } else if pages >= limits::CHECKPOINT_PAGES
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Moves as many pages as can be moved without waiting for anyone. Another one that is at it is no error.
fn checkpoint(connection: &Connection, failed: &AtomicBool) {
    let done = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|mut statement| statement.query_row([], |_| Ok(())));
    match done {
        Ok(()) => {}
        Err(error) if super::writer::is_harmless(&error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the catalog's journal could not be moved into it"
            );
        }
        Err(error) => {
            // What was not moved is in the journal still. But nobody knows any more what is on disk.
            failed.store(true, Ordering::Release);
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the catalog's journal could not be moved into it: no more is written"
            );
        }
    }
}
