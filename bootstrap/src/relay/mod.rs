//! `wharf relay`: makes `localhost:PORT` of a node lead to the registry's Service.
//!
//! It copies bytes and knows nothing of what they say. Loopback is open to everybody on the node; on the node whose port
//! is published it also listens on the node's own address, and there only the network's gateway is let in, which is
//! where the connections of the host come from.

mod connection;
mod gateway;
mod inside;
mod upstream;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use wharf_registry::server;

use crate::exit::Code;
use crate::resolve::resolve;
use crate::{health, hosts};
pub(crate) use connection::idle_after_stop;
use connection::{Limits, relay};
use upstream::Upstream;

/// Connections at once; one more waits in the kernel's queue.
const MAX_CONNECTIONS: u32 = 1024;
/// How long a port may stay taken by a relay that is going before this one gives up.
const BIND_PATIENCE: Duration = Duration::from_secs(30);
/// How long open transfers may go on after SIGTERM.
const GRACE: Duration = Duration::from_secs(20);
/// How long it may take to find out who somebody is.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);
/// A probe's patience: shorter than the kubelet's, so that the message is ours.
const CHECK_PATIENCE: Duration = Duration::from_secs(4);

/// Arguments of `wharf relay`.
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// The port of localhost
    #[arg(long, env = "WHARF_PORT", default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Where the registry's Service is: an address, so that no DNS is needed; or the name of a node
    #[arg(
        long,
        env = "WHARF_TO",
        value_name = "HOST:PORT",
        required_unless_present = "check"
    )]
    to: Option<Upstream>,
    /// The node whose port the host publishes: there the network's gateway is let in as well
    #[arg(
        long,
        env = "WHARF_PUBLISHED_NODE",
        value_name = "NAME",
        requires = "node_name"
    )]
    published_node: Option<String>,
    /// The node that this relay runs on
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// A container of the node's network that is let in like the gateway
    #[arg(long, value_name = "NAME", requires = "published_node")]
    guest: Option<String>,
    /// The directory in which containerd looks for what localhost:PORT is: a hosts.toml that leads here is written there
    #[arg(long, value_name = "DIR")]
    hosts: Option<PathBuf>,
    /// Ask the registry through the relay that runs here, and exit 0 if it answers
    #[arg(long)]
    check: bool,
    /// With --check: the registry must be this instance
    #[arg(long, value_name = "ID", requires = "check")]
    instance: Option<String>,
}

/// Runs the relay until SIGTERM or Ctrl-C; with `--check`, asks once.
pub(crate) async fn run(args: RelayArgs) -> anyhow::Result<ExitCode> {
    let Some(to) = args.to.filter(|_| !args.check) else {
        return check(args.port, args.instance.as_deref()).await;
    };
    if let Some(directory) = &args.hosts {
        tell_containerd(directory, args.port);
    }
    let is_published = args.published_node.is_some() && args.published_node == args.node_name;
    let doors = open_doors(args.port, is_published, args.guest).await?;
    for door in &doors {
        tracing::info!(address = %door.listener.local_addr()?, only = ?door.only, %to, "relaying");
    }
    serve(doors, to, Limits::default(), crate::signals::stop()).await;
    Ok(ExitCode::SUCCESS)
}

/// Writes containerd's file. Without it pulls work as well, so the relay does not end where it cannot be written.
fn tell_containerd(directory: &Path, port: u16) {
    match hosts::write(directory, port) {
        Ok(true) => tracing::info!(directory = %directory.display(), "containerd is told"),
        Ok(false) => {
            tracing::warn!(directory = %directory.display(), "somebody else's hosts.toml stays");
        }
        Err(error) => {
            tracing::warn!(directory = %directory.display(), %error, "writing hosts.toml");
        }
    }
}

/// Says to who asked for the registry that it is not there, in the registry's own way.
pub(crate) async fn turn_away(client: TcpStream) {
    connection::turn_away(client, Limits::default()).await;
}

/// Relays until `stop` is done, then lets open transfers finish for a while.
async fn serve(doors: Vec<Door>, to: Upstream, limits: Limits, stop: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let (stopping, stopped) = watch::channel(false);
    let mut accepting = JoinSet::new();
    for door in doors {
        accepting.spawn(door.accept(to.clone(), limits, Arc::clone(&slots), stopped.clone()));
    }
    stop.await;
    // The listeners go first: the port is free for the next relay while transfers finish here.
    accepting.shutdown().await;
    let _ = stopping.send(true);
    let _ = tokio::time::timeout(GRACE, slots.acquire_many(MAX_CONNECTIONS)).await;
}

/// A listener, and who may come in through it.
struct Door {
    listener: TcpListener,
    /// `None`: everybody who can reach it.
    only: Option<Visitors>,
}

/// Who may come in where not everybody may.
#[derive(Debug, Clone)]
struct Visitors {
    gateway: IpAddr,
    /// A container that has another address after each restart: it is looked up when somebody comes.
    guest: Option<String>,
}

impl Visitors {
    async fn include(&self, peer: IpAddr) -> bool {
        if peer == self.gateway {
            return true;
        }
        let Some(guest) = &self.guest else {
            return false;
        };
        // As a whole name: what the machine's own domains have of that name is not meant.
        let found = tokio::time::timeout(LOOKUP_PATIENCE, resolve(&format!("{guest}."))).await;
        matches!(found, Ok(Ok(addresses)) if addresses.contains(&peer))
    }
}

impl Door {
    async fn accept(
        self,
        to: Upstream,
        limits: Limits,
        slots: Arc<Semaphore>,
        stopped: watch::Receiver<bool>,
    ) {
        loop {
            // The slot comes before the connection: without one, the kernel's queue holds it.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let (client, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, usually: going on at once would spin.
                    tracing::warn!(%error, "accepting a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (only, to, stopped) = (self.only.clone(), to.clone(), stopped.clone());
            tokio::spawn(async move {
                let is_welcome = match only {
                    None => true,
                    Some(visitors) => visitors.include(peer.ip().to_canonical()).await,
                };
                if is_welcome {
                    relay(client, &to, limits, stopped).await;
                } else {
                    tracing::debug!(%peer, "refused: not the gateway");
                    // A reset, as if nothing listened here.
                    let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
                }
                drop(slot);
            });
        }
    }
}

/// Listens on both loopbacks and, on the published node, on its address in each family that has a gateway.
async fn open_doors(
    port: u16,
    is_published: bool,
    guest: Option<String>,
) -> anyhow::Result<Vec<Door>> {
    let mut doors = vec![Door {
        listener: listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?,
        only: None,
    }];
    match listen(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
        Ok(listener) => doors.push(Door {
            listener,
            only: None,
        }),
        Err(error) if error.downcast_ref().is_some_and(server::is_missing) => {
            tracing::info!("this node has no [::1]: listening on 127.0.0.1 alone")
        }
        Err(error) => return Err(error),
    }
    if is_published {
        for gateway in gateway::gateways() {
            let own = gateway::own_address_towards(gateway)
                .with_context(|| format!("finding the address towards {gateway}"))?;
            doors.push(Door {
                listener: listen(SocketAddr::new(own, port)).await?,
                only: Some(Visitors {
                    gateway,
                    guest: guest.clone(),
                }),
            });
        }
    }
    Ok(doors)
}

/// Binds and listens, waiting for a relay that is going to leave the port.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let end = tokio::time::Instant::now() + BIND_PATIENCE;
    loop {
        match server::listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && tokio::time::Instant::now() < end =>
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(error).with_context(|| format!("listening on {address}")),
        }
    }
}

async fn check(port: u16, instance: Option<&str>) -> anyhow::Result<ExitCode> {
    let health = health::ask(
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        CHECK_PATIENCE,
    )
    .await
    .map_err(|error| Code::Unhealthy.error(format!("relay to the registry: {error:#}")))?;
    match instance {
        Some(expected) if expected != health.instance => Err(Code::Unhealthy.error(format!(
            "localhost:{port} is registry {}, not {expected}",
            health.instance
        ))),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests;
