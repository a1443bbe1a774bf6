//! The process that forwards: it listens on both loopbacks, and says all the while what it does.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use wharf_registry::server;

use super::RunArgs;
use super::connection::lead;
use super::record::{Entry, Listening, Record};
use super::way::{Cluster, Seen, Way};
use super::words::Pair;
use crate::docker::Docker;
use crate::environment;
use crate::exit::Code;
use crate::kube::{Kube, Port};
use crate::names::SERVICE_PORT;
use crate::{output, port, signals};

/// Connections at once; one more waits in the kernel's queue. Each holds some hundred kilobytes while it moves.
const MAX_CONNECTIONS: u32 = 256;
/// How long open transfers may go on after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How old what is said of a forward may be.
const REPORT: Duration = Duration::from_secs(1);
/// Ports that are tried where any will do, until one is free in both families.
const TRIES: usize = 32;

/// Runs `wharf forward run`.
pub(super) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    if args.detach {
        detach()?;
    }
    // Heard from now on: a forward that was told to end leaves nothing behind.
    let stop = tokio::spawn(signals::stop());
    let (wish, context) = (args.wish()?, args.place.context()?);
    let cluster = Cluster::of_context(&context).await?;
    let kube = cluster.kube();
    let is_registry = wish.target.is_registry();
    let target = wish.target.within(kube.default_namespace());
    let pairs = match wish.ports.is_empty() {
        true => vec![registrys_own(&kube).await?],
        false => wish.ports,
    };
    // What is not there now is a slip of the pen; what goes later may come back.
    for pair in &pairs {
        kube.place(&target, &pair.there, 0).await?;
    }
    let entry = Entry::take(&context, &target)?;
    let seen = Arc::new(Seen::default());
    let mut record = Record {
        context: context.clone(),
        target: target.to_string(),
        ports: Vec::new(),
        is_registry,
        pid: std::process::id(),
        since: environment::now(),
        log: args.log.clone(),
        traffic: seen.traffic(),
    };
    let mut doors = Vec::new();
    for pair in pairs {
        let listeners = match open(pair.here).await {
            Ok(listeners) => listeners,
            Err(error) => {
                entry.forget();
                return Err(error);
            }
        };
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect();
        record.ports.push(Listening {
            port: addresses.first().map_or(pair.here, SocketAddr::port),
            addresses,
            to: pair.there.to_string(),
        });
        let way = Arc::new(Way {
            cluster: cluster.clone(),
            target: target.clone(),
            port: pair.there,
            hold: args.hold,
            is_registry,
            detour: Mutex::default(),
            seen: Arc::clone(&seen),
        });
        doors.extend(
            listeners
                .into_iter()
                .map(|listener| (listener, Arc::clone(&way))),
        );
    }
    entry.write(&record)?;
    tracing::info!(%context, %target, ports = ?record.ports, "forwarding");
    announce(&args, &record);
    tokio::select! {
        () = serve(doors, async { let _ = stop.await; }) => {}
        () = report(&entry, &mut record, &seen) => {}
    }
    tracing::info!("ending");
    entry.forget();
    Ok(ExitCode::SUCCESS)
}

/// The registry, under the port that the environment has on localhost.
async fn registrys_own(kube: &Kube) -> anyhow::Result<Pair> {
    let environment = kube.environment().await?;
    let port = environment.get("port").and_then(|port| port.parse().ok());
    Ok(Pair {
        here: port.unwrap_or(SERVICE_PORT),
        there: Port::Number(SERVICE_PORT),
    })
}

fn announce(args: &RunArgs, record: &Record) {
    let lines: Vec<String> = record.ports.iter().map(|port| port.line(record)).collect();
    output::outcome(args.output.output, &json!(record), &lines.join("\n"));
}

impl Listening {
    /// What it leads to, in a line.
    pub(super) fn line(&self, record: &Record) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        format!(
            "{} → {} port {} (context {})",
            addresses.join(" and "),
            record.target,
            self.to,
            record.context
        )
    }
}

/// Forwards until `stop` is done, then lets open transfers go on for a moment.
async fn serve(doors: Vec<(TcpListener, Arc<Way>)>, stop: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let (stopping, stopped) = watch::channel(false);
    let mut accepting = JoinSet::new();
    for (listener, way) in doors {
        accepting.spawn(accept(listener, way, Arc::clone(&slots), stopped.clone()));
    }
    stop.await;
    accepting.shutdown().await;
    let _ = stopping.send(true);
    let _ = tokio::time::timeout(GRACE, slots.acquire_many(MAX_CONNECTIONS)).await;
}

async fn accept(
    listener: TcpListener,
    way: Arc<Way>,
    slots: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
) {
    loop {
        // The slot comes before the connection: without one, the kernel's queue holds it.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                // Out of descriptors, usually: going on at once would spin.
                way.seen
                    .went_wrong(&format!("accepting a connection: {error}"));
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (way, stopped) = (Arc::clone(&way), stopped.clone());
        tokio::spawn(async move {
            way.seen.connections.fetch_add(1, Ordering::Relaxed);
            way.seen.open.fetch_add(1, Ordering::Relaxed);
            lead(client, &way, stopped).await;
            way.seen.open.fetch_sub(1, Ordering::Relaxed);
            drop(slot);
        });
    }
}

/// Keeps the record true. Done when somebody has removed the files: nobody could find this forward any more.
async fn report(entry: &Entry, record: &mut Record, seen: &Seen) {
    while entry.is_known() {
        sleep(REPORT).await;
        let traffic = seen.traffic();
        if traffic != record.traffic {
            record.traffic = traffic;
            if let Err(error) = entry.write(record) {
                seen.went_wrong(&format!("{error:#}"));
            }
        }
    }
}

/// Listens on a port of both loopbacks, or of the one that there is.
async fn open(wanted: u16) -> anyhow::Result<Vec<TcpListener>> {
    for _ in 0..TRIES {
        let first = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, wanted))).await?;
        let port = first.local_addr()?.port();
        match server::listen(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
            Ok(second) => return Ok(vec![first, second]),
            Err(error) if server::is_missing(&error) => return Ok(vec![first]),
            // One that is free in the one family need not be in the other.
            Err(_) if wanted == 0 => {}
            Err(_) => {
                let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
                listen(address).await?;
            }
        }
    }
    anyhow::bail!("no port is free on both 127.0.0.1 and [::1]")
}

/// Listens, or says who does.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match server::listen(address) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let docker = Docker::connect().await.ok();
            let owner = port::owner(address.port(), docker.as_ref()).await;
            Err(Code::Conflict.error(format!(
                "{address} is taken {owner}: choose another port, as in `wharf forward {}`",
                address.port().wrapping_add(1).max(1024)
            )))
        }
        listener => listener.with_context(|| format!("listening on {address}")),
    }
}

/// Leaves the terminal's session, so that its end is not this process's.
#[cfg(unix)]
fn detach() -> anyhow::Result<()> {
    rustix::process::setsid().context("leaving the terminal")?;
    Ok(())
}

#[cfg(not(unix))]
fn detach() -> anyhow::Result<()> {
    Ok(())
}
