//! The one thread that writes to the database.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::super::{Error, Result};
use super::cache::{Kept, Stale};
use super::checkpoint::Checkpointer;
use crate::limits;

/// A handle to the thread. It ends, and the database is closed, when the handle is dropped.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    /// Set for good once a commit failed in a way that leaves open what is on disk.
    read_only: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    kept: Arc<Kept>,
    thread: Option<thread::JoinHandle<()>>,
}

/// A transaction's body. It runs within the batch's transaction, or learns why there is none, and
/// returns what is to be done once it is known whether the batch was committed.
type Job = Box<dyn FnOnce(Result<&Connection>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

impl Writer {
    /// A writer on a connection to the database at `path`, of which `kept` is kept in memory.
    pub(super) fn start(mut connection: Connection, path: &Path, kept: Arc<Kept>) -> Result<Self> {
        let (jobs, queue) = mpsc::channel(limits::CATALOG_QUEUE);
        let read_only = Arc::new(AtomicBool::new(false));
        let checkpointer = Checkpointer::start(&mut connection, path, read_only.clone())?;
        let thread = thread::Builder::new()
            .name("catalog-writer".to_owned())
            .spawn({
                let read_only = read_only.clone();
                move || write(connection, queue, &read_only, &checkpointer)
            })
            .map_err(|error| {
                Error::Database(rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
            })?;
        Ok(Self {
            jobs: Some(jobs),
            read_only,
            changes: Arc::default(),
            kept,
            thread: Some(thread),
        })
    }

    /// Runs `transaction`, which says what it makes untrue, all or nothing, and returns after it is on disk.
    /// What it changed counts as [`changes`](Self::changes), and what is kept in memory stays true.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        transaction: impl FnOnce(&Connection) -> Result<(T, Stale)> + Send + 'static,
    ) -> Result<T> {
        self.submit(transaction, Some(self.changes.clone())).await
    }

    /// As [`change`](Self::change), for what the server notes down for itself: that makes nothing untrue,
    /// and nobody needs a copy of the catalog for it.
    pub(super) async fn note<T: Send + 'static>(
        &self,
        transaction: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let transaction = |connection: &_| Ok((transaction(connection)?, Stale::default()));
        self.submit(transaction, None).await
    }

    /// Runs a transaction, and counts the rows that it changed in `changes`.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        transaction: impl FnOnce(&Connection) -> Result<(T, Stale)> + Send + 'static,
        changes: Option<Arc<AtomicU64>>,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let kept = self.kept.clone();
        let job: Job = Box::new(move |connection| {
            let mut rows = 0;
            let result = connection.and_then(|connection| {
                let before = connection.total_changes();
                let result = in_savepoint(connection, transaction);
                rows = connection.total_changes() - before;
                result
            });
            Box::new(move |committed| {
                let result = result.map(|(value, stale)| {
                    // Also where the commit failed: nobody knows whether it came to the disk.
                    kept.forget(&stale);
                    value
                });
                let result = result.and_then(|value| committed.map(|()| value));
                if let Some(changes) = changes.filter(|_| result.is_ok()) {
                    changes.fetch_add(rows, Ordering::Relaxed);
                }
                // A caller that has gone does not change what was committed.
                let _ = answer.send(result);
            })
        });
        let jobs = self.jobs.as_ref().ok_or(Error::Closed)?;
        jobs.send(job).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }
}

impl Writer {
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }

    /// How many rows were changed, and committed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes what is waiting, runs it as one transaction, answers; until nobody can ask any more. Many
/// concurrent pushes share one sync of the disk this way, and a lone one waits for nobody.
fn write(
    mut connection: Connection,
    mut queue: mpsc::Receiver<Job>,
    failed: &AtomicBool,
    checkpointer: &Checkpointer,
) {
    let mut batch = Vec::new();
    while queue.blocking_recv_many(&mut batch, limits::CATALOG_BATCH) > 0 {
        let jobs = batch.drain(..);
        if failed.load(Ordering::Acquire) {
            jobs.map(|job| job(Err(Error::ReadOnly)))
                .for_each(|answer| answer(Ok(())));
            continue;
        }
        let (answers, committed) = run(&mut connection, jobs);
        if let Err(error) = &committed {
            // After an I/O error nobody knows what is on disk: pages that could not be written may
            // be gone from memory as well.
            let read_only = !is_harmless(error);
            failed.fetch_or(read_only, Ordering::AcqRel);
            tracing::error!(
                error = error as &dyn std::error::Error,
                read_only,
                "a commit of the catalog failed"
            );
        }
        for answer in answers {
            answer(committed.as_ref().copied().map_err(|error| {
                if failed.load(Ordering::Acquire) {
                    Error::ReadOnly
                } else {
                    Error::Database(clone(error))
                }
            }));
        }
        // After the answers: nobody waits for it.
        checkpointer.look(&connection);
    }
}

/// Runs a batch of jobs as one transaction.
fn run(
    connection: &mut Connection,
    jobs: impl Iterator<Item = Job>,
) -> (Vec<Answer>, rusqlite::Result<()>) {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            let answers = jobs
                .map(|job| job(Err(Error::Database(clone(&error)))))
                .collect();
            return (answers, Err(error));
        }
    };
    let mut answers = Vec::new();
    for job in jobs {
        // SQLite undoes the whole transaction by itself after some errors (a full disk, a failed
        // write). What came before is lost then, and what comes after must not run, because
        // each statement would be a transaction of its own.
        let lost = transaction.is_autocommit();
        answers.push(job(if lost {
            Err(Error::Database(rolled_back()))
        } else {
            Ok(&transaction)
        }));
    }
    let committed = if transaction.is_autocommit() {
        Err(rolled_back())
    } else {
        transaction.commit()
    };
    (answers, committed)
}

fn rolled_back() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
    rusqlite::Error::SqliteFailure(code, Some("the database undid the transaction".to_owned()))
}

/// Undoes what a failed transaction did, without touching the others of its batch.
fn in_savepoint<T>(
    connection: &Connection,
    transaction: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = transaction(connection);
    if result.is_err() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    result
}

/// Whether the database is as it was after this error: a full disk is found out before anything is
/// changed for good.
pub(super) fn is_harmless(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)
    )
}

/// The same error for everyone in a batch.
fn clone(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => {
            rusqlite::Error::SqliteFailure(*code, message.clone())
        }
        other => rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
            Some(other.to_string()),
        ),
    }
}
