//! Listening sockets.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("{0} is in use")]
    InUse(SocketAddr),
    /// The operating system said no.
    #[error("could not listen{}", address.map(|address| format!(" on {address}")).unwrap_or_default())]
    Io {
        /// Where.
        address: Option<SocketAddr>,
        /// What it said.
        source: io::Error,
    },
}

impl ListenError {
    pub(super) fn unnamed(source: io::Error) -> Self {
        Self::Io {
            address: None,
            source,
        }
    }
}

/// Listens on all of `addresses`, or on none.
pub(super) fn all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    let mut without_ipv6 = None;
    for &address in addresses {
        match listen(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_ipv6() && is_missing(&error) => {
                tracing::debug!(%address, "this machine has no IPv6 there");
                without_ipv6 = Some(ListenError::Io {
                    address: Some(address),
                    source: error,
                });
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                return Err(ListenError::InUse(address));
            }
            Err(source) => {
                return Err(ListenError::Io {
                    address: Some(address),
                    source,
                });
            }
        }
    }
    match without_ipv6 {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

/// Listens on one address, and on no other family's as well.
///
/// # Errors
/// What the operating system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // Each family has a listener of its own, whatever the system's default is.
        socket.set_only_v6(true)?;
    }
    // A restarted server must not wait for its predecessor's connections to time out.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Whether the machine has no such address family, or no such address.
pub fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}
