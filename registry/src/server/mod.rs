//! From sockets to requests: listeners, limits and an orderly end.

mod accept;
mod control;
mod guard;
mod lent;
mod listen;
mod log;
mod requests;
mod stream;
mod strict;
mod tunnel;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::api::Api;
use crate::limits;
use crate::registry::Registry;

use requests::Answering;

pub use control::{ControlError, Order, Report, give_order};
pub use listen::{ListenError, is_missing, listen};
pub use tunnel::PROTOCOL as TUNNEL_PROTOCOL;

/// A server that listens and does not answer yet.
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    host_names: Arc<[String]>,
    accepts_tunnels: bool,
    control: Option<control::Listener>,
}

impl Server {
    /// Listens on all of `addresses`. An IPv6 address on a machine without IPv6 is left out, as
    /// long as another one remains.
    ///
    /// # Errors
    /// [`ListenError`], with the address.
    pub fn listen(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let listeners = listen::all(addresses)?;
        let addresses = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<Result<_, _>>()
            .map_err(ListenError::unnamed)?;
        Ok(Self {
            listeners,
            addresses,
            host_names: Arc::default(),
            accepts_tunnels: false,
            control: None,
        })
    }

    /// The same server, answering to these names beside `localhost` and its addresses, and to no
    /// others on any listener. Without names, that holds for loopback alone.
    #[must_use]
    pub fn with_host_names(mut self, names: Vec<String>) -> Self {
        self.host_names = names.into();
        self
    }

    /// The same server, whose connections become tunnels where a client asks for it with
    /// `Upgrade: wharf-tunnel`. Not behind a proxy that is to keep something out: it would not see
    /// what goes through a tunnel.
    #[must_use]
    pub fn with_tunnels(mut self, accepted: bool) -> Self {
        self.accepts_tunnels = accepted;
        self
    }

    /// The same server, which also takes orders from its operator: on a socket in `directory`, which
    /// only the directory's owner can reach.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn with_control(mut self, directory: &Path) -> std::io::Result<Self> {
        self.control = Some(control::Listener::new(directory)?);
        Ok(self)
    }

    /// The addresses listened on, with the ports that the system chose where 0 was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers requests until `stop` is done. Running requests then get [`limits::SHUTDOWN_WAIT`]
    /// to finish; idle connections are closed at once.
    pub async fn run(self, registry: Arc<Registry>, stop: impl Future<Output = ()>) {
        let (stopping, stopped) = watch::channel(false);
        let limits = *registry.limits();
        let places = Arc::new(Semaphore::new(places(limits.connections)));
        let api = Arc::new(Api::new(registry.clone(), limits.idle));
        let house = tokio::spawn(registry.clone().keep_house());
        let control = self
            .control
            .map(|listener| tokio::spawn(control::answer(listener, registry.clone())));
        let mut loops = Vec::new();
        for (listener, address) in self.listeners.into_iter().zip(self.addresses) {
            let hosts = guard::Hosts::new(self.host_names.clone(), address.ip());
            let answering = Arc::new(Answering {
                api: api.clone(),
                hosts,
                accepts_tunnels: self.accepts_tunnels,
            });
            let accepting =
                accept::accept(listener, answering, places.clone(), stopped.clone(), limits);
            loops.push(tokio::spawn(accepting));
        }
        stop.await;
        for accepting in loops {
            accepting.abort();
            // Ended, it has let go of its listener and of its `stopped`.
            let _ = accepting.await;
        }
        stopping.send_replace(true);
        drop(stopped);
        // Each connection holds a `stopped` until it has ended.
        if tokio::time::timeout(limits::SHUTDOWN_WAIT, stopping.closed())
            .await
            .is_err()
        {
            tracing::warn!("some requests did not finish in time; they are cut off");
        }
        if let Some(control) = control {
            control.abort();
        }
        registry.end().await;
        house.abort();
    }
}

/// How many connections may be open, as far as the system's limit on open files allows: each may
/// need one more for a blob, and the catalog some.
fn places(most: usize) -> usize {
    // The limit that programs start with is for those that wait with `select`.
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let limit = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let files = limit.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    (files.saturating_sub(limits::OTHER_FILES) / 2).clamp(1, most)
}
