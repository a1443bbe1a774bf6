//! The way from a port of this machine to a pod, as it is at the moment, and what was seen of it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::kube::{Kube, Messages, Place, Port, Target, Tunnel};

/// One attempt: to ask for the pod, and to connect to it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a kubeconfig is read again, at most, however many connections wait for a cluster.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long a pod through which no tunnel leads is not asked for one again.
const DETOUR: Duration = Duration::from_secs(60);
/// How long a tunnel may take to open: an API server that does not reach the pod waits longer than its client.
const TUNNEL_PATIENCE: Duration = Duration::from_secs(3);

/// A context's cluster. The context may come to mean another, or the same with other keys: it is read again when the
/// cluster fails.
#[derive(Clone)]
pub(super) struct Cluster(Arc<Inner>);

struct Inner {
    context: String,
    now: Mutex<(Kube, Instant)>,
}

impl Cluster {
    /// Reads the kubeconfig. Nobody is asked yet.
    pub(super) async fn of_context(context: &str) -> anyhow::Result<Self> {
        let kube = Kube::past_docker(context).await?;
        Ok(Self(Arc::new(Inner {
            context: context.to_owned(),
            now: Mutex::new((kube, Instant::now())),
        })))
    }

    /// Its API.
    pub(super) fn kube(&self) -> Kube {
        lock(&self.0.now).0.clone()
    }

    async fn renew(&self) {
        {
            let mut now = lock(&self.0.now);
            if now.1.elapsed() < RENEWAL {
                return;
            }
            now.1 = Instant::now();
        }
        if let Ok(kube) = Kube::past_docker(&self.0.context).await {
            lock(&self.0.now).0 = kube;
        }
    }
}

/// The way that the connections to one port go.
pub(super) struct Way {
    pub(super) cluster: Cluster,
    pub(super) target: Target,
    pub(super) port: Port,
    /// How long a new connection waits for a pod.
    pub(super) hold: Duration,
    /// Whether who waited in vain is told so in the registry's words.
    pub(super) is_registry: bool,
    /// The pod through which no tunnel led, and when that was.
    pub(super) detour: Mutex<Option<(String, Instant)>>,
    pub(super) seen: Arc<Seen>,
}

/// A connection to a pod.
pub(super) enum Opened {
    /// To a registry that accepts tunnels.
    Tunnel(Tunnel),
    /// To any port, through the pod's kubelet and its runtime.
    Messages(Box<Messages>),
}

impl Way {
    /// Connects to a pod that is ready now.
    pub(super) async fn open(&self) -> anyhow::Result<Opened> {
        let kube = self.cluster.kube();
        let turn = self.seen.turn.fetch_add(1, Ordering::Relaxed);
        let open = async {
            let Some(place) = kube.place(&self.target, &self.port, turn).await? else {
                return Ok(None);
            };
            let opened = match self.tunnel(&kube, &place).await? {
                Some(tunnel) => Opened::Tunnel(tunnel),
                None => Opened::Messages(Box::new(
                    kube.forwarded(&self.target.namespace, &place).await?,
                )),
            };
            anyhow::Ok(Some((place, opened)))
        };
        let opened = timeout(PATIENCE, open).await;
        match opened.unwrap_or_else(|_| Err(anyhow!("the cluster's API does not answer"))) {
            Ok(Some((place, opened))) => {
                let is_tunnel = matches!(opened, Opened::Tunnel(_));
                self.seen.reached(place.pod, is_tunnel);
                Ok(opened)
            }
            Ok(None) => Err(anyhow!("no pod of {} is ready", self.target)),
            Err(error) => {
                self.cluster.renew().await;
                Err(error)
            }
        }
    }

    /// The short way to a registry. `None` where there is none: an older registry, a user who may not use the API's
    /// proxy, or an API server that does not reach pods.
    async fn tunnel(&self, kube: &Kube, place: &Place) -> anyhow::Result<Option<Tunnel>> {
        let is_detour = lock(&self.detour)
            .as_ref()
            .is_some_and(|(pod, since)| *pod == place.pod && since.elapsed() < DETOUR);
        if !self.is_registry || is_detour {
            return Ok(None);
        }
        let opening = timeout(TUNNEL_PATIENCE, kube.tunnel(&self.target.namespace, place));
        let refusal = match opening.await {
            Ok(Ok(Ok(tunnel))) => return Ok(Some(tunnel)),
            Ok(Ok(Err(status))) => status.to_string(),
            Ok(Err(error)) => return Err(error),
            Err(_) => "no answer".to_owned(),
        };
        tracing::info!(pod = %place.pod, "no tunnel ({refusal}), so the longer way through its kubelet");
        *lock(&self.detour) = Some((place.pod.clone(), Instant::now()));
        Ok(None)
    }
}

/// What was seen of the connections of a forward.
#[derive(Debug, Default)]
pub(super) struct Seen {
    turn: AtomicUsize,
    pub(super) connections: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    pod: Option<String>,
    is_tunnel: bool,
    problem: Option<String>,
}

/// The same, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Traffic {
    /// Connections so far.
    pub(super) connections: u64,
    /// Those that are open.
    pub(super) open: u64,
    /// Those that came to no good end.
    pub(super) failed: u64,
    /// Bytes into the cluster.
    pub(super) sent: u64,
    /// Bytes out of it.
    pub(super) received: u64,
    /// The pod that the newest connection led to.
    pub(super) pod: Option<String>,
    /// Whether it led there through a tunnel.
    pub(super) is_tunnel: bool,
    /// What went wrong since it was reached.
    pub(super) problem: Option<String>,
}

impl Seen {
    /// A pod was reached. A new one is worth a line in the log.
    fn reached(&self, pod: String, is_tunnel: bool) {
        let mut words = lock(&self.words);
        words.problem = None;
        words.is_tunnel = is_tunnel;
        if words.pod.as_ref() != Some(&pod) {
            tracing::info!(%pod, "connected");
            words.pod = Some(pod);
        }
    }

    /// Something went wrong. The same again is not worth a line in the log.
    pub(super) fn went_wrong(&self, problem: &str) {
        let mut words = lock(&self.words);
        if words.problem.as_deref() != Some(problem) {
            tracing::warn!("{problem}");
            words.problem = Some(problem.to_owned());
        }
    }

    /// What it is now.
    pub(super) fn traffic(&self) -> Traffic {
        let words = lock(&self.words);
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic {
            connections: load(&self.connections),
            open: load(&self.open),
            failed: load(&self.failed),
            sent: load(&self.sent),
            received: load(&self.received),
            pod: words.pod.clone(),
            is_tunnel: words.is_tunnel,
            problem: words.problem.clone(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
