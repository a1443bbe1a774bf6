//! Who may talk to the server when.

use std::io;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wharf_tests::http::Connection;

/// Longer than any restart with all its checks.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lets writers connect while the server lives. Nobody may try in between: a port that nobody
/// listens on can be given to the very socket that tries to connect to it.
pub(crate) struct Gate {
    address: SocketAddr,
    /// Whether the end of a life leaves of open uploads what was acknowledged of them.
    pub(crate) keeps_open_uploads: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    life: u64,
    open: bool,
    end: Option<End>,
    failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Finish what was begun.
    Finish,
    /// The server is gone for good.
    Abandon,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection broke; of a server that lives that is wrong ([`Gate::broke`]).
    Broken(io::Error),
    /// The writer itself dropped the connection in the middle of a body.
    HungUp {
        /// Bytes of the body that are on their way.
        sent: usize,
    },
    /// The test is over.
    Over,
    /// The server did wrong.
    Wrong(anyhow::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Self::Wrong(error.into())
            }
            _ => Self::Broken(error),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Wrong(error)
    }
}

impl Gate {
    pub(crate) fn new(address: SocketAddr, keeps_open_uploads: bool) -> Self {
        Self {
            address,
            keeps_open_uploads,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self, life: u64) {
        let mut state = self.state();
        (state.life, state.open) = (life, true);
        self.changed.notify_all();
    }

    pub(crate) fn close(&self) {
        self.state().open = false;
    }

    /// No further life comes.
    pub(crate) fn end(&self, well: bool) {
        self.state().end = Some(if well { End::Finish } else { End::Abandon });
        self.changed.notify_all();
    }

    /// Whether writers may begin something new.
    pub(crate) fn goes_on(&self) -> bool {
        self.state().end.is_none()
    }

    pub(crate) fn fail(&self) {
        self.state().failed = true;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// Why a connection of this life broke: the server was killed, or else it did wrong.
    pub(crate) fn broke(&self, life: u64, error: io::Error) -> Failure {
        let state = self.state();
        if state.open && state.life == life {
            let what = format!("a connection broke in life {life}, and the server was not killed");
            return Failure::Wrong(anyhow::Error::new(error).context(what));
        }
        Failure::Broken(error)
    }

    /// Connects in a life from `earliest` on, waiting for it, and says which life it is.
    pub(crate) fn connect(&self, earliest: u64) -> Result<(u64, Connection), Failure> {
        let waiting = |state: &mut State| {
            state.end != Some(End::Abandon) && !(state.open && state.life >= earliest)
        };
        let (state, waited) = self
            .changed
            .wait_timeout_while(self.state(), PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        if state.end == Some(End::Abandon) {
            return Err(Failure::Over);
        }
        if waited.timed_out() {
            return Err(Failure::Wrong(anyhow::anyhow!(
                "life {earliest} of the server did not begin"
            )));
        }
        // Under the lock, so that the server is not killed before we have it.
        let connection = Connection::open(self.address).map_err(anyhow::Error::from)?;
        Ok((state.life, connection))
    }
}
