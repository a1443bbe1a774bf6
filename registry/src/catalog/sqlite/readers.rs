//! Connections for reading.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::super::{Error, Result};

/// Connections that read at the same time; each costs some memory, and a read takes microseconds.
const READERS: usize = 4;
/// Memory of each for pages.
const CACHE_KIB: i64 = 512;
/// A query that takes longer than this where it is called had to wait for a disk, and not only for its turn on a processor.
const SLOW: Duration = Duration::from_millis(10);
/// Rows of a list that take no longer than the way to another thread and back.
const GLANCED: usize = 1000;
/// For how long all queries go to threads that may wait, once one was slow.
const WARY: Duration = Duration::from_secs(1);

/// Connections for reading, made when they are needed.
pub(super) struct Readers {
    shared: Arc<Shared>,
    /// How many may be in use at a time.
    places: Semaphore,
    opened: Instant,
    /// Until when queries are run by threads that may wait: milliseconds since `opened`.
    wary_until: AtomicU64,
}

struct Shared {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                idle: Mutex::default(),
            }),
            places: Semaphore::new(READERS),
            opened: Instant::now(),
            wary_until: AtomicU64::new(0),
        }
    }

    /// Runs a query that may take long.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = self.places.acquire().await;
        let _place = place.map_err(|_| Error::Closed)?;
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || shared.run(query))
            .await
            .unwrap_or(Err(Error::Closed))
    }

    /// Runs a query of a few rows, where it is called: it takes less time than to wake another thread
    /// for it. Whatever has to be fetched from a disk first is the exception, and the next queries are
    /// then run as by [`Readers::read`], so that a slow disk holds up requests once a second at most.
    pub(super) async fn glance<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let is_wary = self.millis() < self.wary_until.load(Ordering::Relaxed);
        let Some(_place) = self.places.try_acquire().ok().filter(|_| !is_wary) else {
            return self.read(query).await;
        };
        let started = Instant::now();
        let result = self.shared.run(query);
        if started.elapsed() > SLOW {
            let until = self.millis() + millis(WARY);
            self.wary_until.store(until, Ordering::Relaxed);
        }
        result
    }

    /// Runs a query of up to `rows` rows.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        rows: usize,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match rows <= GLANCED {
            true => self.glance(query).await,
            false => self.read(query).await,
        }
    }

    fn millis(&self) -> u64 {
        millis(self.opened.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.path)?,
        };
        let result = query(&connection);
        self.idle().push(connection);
        result
    }
}

fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW,
    )?;
    super::keep_plans(&connection)?;
    // Every commit empties it, and behind it is the system's.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}
