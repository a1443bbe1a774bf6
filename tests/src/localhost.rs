//! What `localhost` is on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::ops::Range;
use std::sync::Once;

use anyhow::{Context, Result};

use crate::command::say;

/// That half of what is asked of `localhost` is left out is said once.
static IS_TOLD: Once = Once::new();

/// Its addresses: machines without IPv6 have one alone.
#[must_use]
pub fn addresses() -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addresses.push(Ipv6Addr::LOCALHOST.into());
    } else {
        IS_TOLD.call_once(|| say("this machine has no [::1], so only 127.0.0.1 is looked at"));
    }
    addresses
}

/// Whether nothing listens on a port of any of them.
#[must_use]
pub fn is_free(port: u16) -> bool {
    addresses()
        .into_iter()
        .all(|ip| TcpListener::bind((ip, port)).is_ok())
}

/// The first port that is free.
///
/// # Errors
/// None is.
pub fn free_port(ports: Range<u16>) -> Result<u16> {
    let free = ports.clone().find(|port| is_free(*port));
    free.with_context(|| format!("no port from {} up to {} is free", ports.start, ports.end))
}
