//! Waiting until the cluster has done what was applied, and saying what keeps it from that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};
use tokio::time::{Instant, sleep};

use super::Kube;
use super::forward::serves;
use crate::environment::now;
use crate::exit::Code;
use crate::names::{NAMESPACE, REGISTRY, RELAY};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a node may fail to get an image before it is taken for one that cannot: it tries a few times meanwhile.
const PULL_PATIENCE: Duration = Duration::from_secs(30);
/// What kubelets say then.
const PULL_PROBLEMS: [&str; 4] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
];
/// Seconds for which an answer counts: as long as a relay stays ready that is not answered any more.
const NEWS: i64 = 30;
/// Lines of a failing container's log that are worth repeating.
const LOG_LINES: i64 = 5;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition<'a> {
    /// So many nodes are there, and every one is ready.
    NodesReady(usize),
    /// The registry runs as applied.
    RegistryReady,
    /// Every node's relay runs as applied, and reaches the registry.
    RelaysReady,
    /// These pods of one component have run to their end.
    Done {
        /// The component.
        component: &'a str,
        /// The pods' names.
        pods: &'a [String],
    },
    /// No pod of these components is there any more.
    Gone(&'a [&'a str]),
}

/// Waits until a condition is true. A time-out says what is in its way; an image that cannot be had is not waited for so long.
pub(crate) async fn wait_until(
    kube: &Kube,
    condition: Condition<'_>,
    limit: Duration,
) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    let mut failing_since = None;
    loop {
        // A control plane that is just starting refuses and resets: that, too, is waited out.
        let missing = match kube.missing(condition).await {
            Ok(None) => return Ok(()),
            Ok(Some(missing)) => missing,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= end {
            let pods = kube.complaints(condition).await.unwrap_or_default();
            return Err(Code::Timeout.error(format!(
                "not ready after {} s: {missing}{pods}",
                limit.as_secs()
            )));
        }
        if let Some(problem) = kube.unpullable(condition).await {
            let since: &mut Instant = failing_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= PULL_PATIENCE {
                return Err(Code::Prerequisite.error(problem));
            }
        }
        sleep(PAUSE).await;
    }
}

impl Kube {
    /// What keeps the pods of a component from their image, if that is what they wait for.
    async fn unpullable(&self, condition: Condition<'_>) -> Option<String> {
        let component = match condition {
            Condition::RegistryReady => "registry",
            Condition::RelaysReady => "relay",
            Condition::NodesReady(_) | Condition::Done { .. } | Condition::Gone(_) => return None,
        };
        let pods = self.pods(component).await.ok()?;
        let pod = pods.iter().find(|pod| is_unpullable(pod))?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let image = waits_for(pod).map(|container| container.image.as_str());
        Some(format!(
            "node {} cannot get wharf's image {}: {}: name one with --image that the nodes have or can pull",
            node.unwrap_or_default(),
            image.unwrap_or_default(),
            complaint(pod)
        ))
    }

    /// What a condition still lacks.
    pub(crate) async fn missing(&self, condition: Condition<'_>) -> anyhow::Result<Option<String>> {
        match condition {
            Condition::NodesReady(expected) => {
                let nodes = self.nodes().await?;
                let ready = nodes.iter().filter(|node| node.is_ready).count();
                Ok((ready < expected || ready < nodes.len())
                    .then(|| format!("{ready} of {expected} nodes are ready")))
            }
            Condition::RegistryReady => {
                let api: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
                let Some(deployment) = api.get_opt(REGISTRY).await? else {
                    return Ok(Some("there is no registry".to_owned()));
                };
                let (generation, status) = (
                    deployment.metadata.generation,
                    deployment.status.unwrap_or_default(),
                );
                let is_done = status.observed_generation >= generation
                    && status.updated_replicas == Some(1)
                    && status.ready_replicas == Some(1)
                    && status.replicas == Some(1);
                Ok((!is_done).then(|| "the registry is not ready".to_owned()))
            }
            Condition::RelaysReady => {
                let api: Api<DaemonSet> = Api::namespaced(self.client.clone(), NAMESPACE);
                let Some(set) = api.get_opt(RELAY).await? else {
                    return Ok(Some("there are no relays".to_owned()));
                };
                let (generation, status) =
                    (set.metadata.generation, set.status.unwrap_or_default());
                let wanted = status.desired_number_scheduled;
                let is_done = status.observed_generation >= generation
                    && wanted > 0
                    && status.updated_number_scheduled == Some(wanted);
                // Not the number that is ready: one that is going counts until it has gone, and one that has just come does not yet.
                let staying = match is_done {
                    true => i32::try_from(self.relayed_nodes().await?.len())?,
                    false => status.number_ready,
                };
                Ok((!is_done || staying < wanted)
                    .then(|| format!("{staying} of {wanted} relays are ready")))
            }
            Condition::Gone(components) => {
                let mut left = Vec::new();
                for component in components {
                    let pods = self.pods(component).await?;
                    left.extend(pods.into_iter().filter_map(|pod| pod.metadata.name));
                }
                Ok((!left.is_empty()).then(|| format!("still to end: {}", left.join(", "))))
            }
            Condition::Done { component, pods } => {
                let done: BTreeSet<String> = self
                    .pods(component)
                    .await?
                    .into_iter()
                    .filter(has_succeeded)
                    .filter_map(|pod| pod.metadata.name)
                    .collect();
                let missing: Vec<&str> = pods
                    .iter()
                    .filter(|name| !done.contains(*name))
                    .map(String::as_str)
                    .collect();
                Ok((!missing.is_empty()).then(|| format!("still to run: {}", missing.join(", "))))
            }
        }
    }

    /// The nodes whose relay reaches the registry.
    pub(crate) async fn relayed_nodes(&self) -> anyhow::Result<BTreeSet<String>> {
        let relays = self.pods("relay").await?.into_iter().filter(relays);
        Ok(relays
            .filter_map(|pod| pod.spec.and_then(|spec| spec.node_name))
            .collect())
    }

    /// The images that the relays run, by node.
    pub(crate) async fn relay_images(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let pods = self.pods("relay").await?.into_iter();
        let specs = pods.filter_map(|pod| pod.spec);
        Ok(specs
            .filter_map(|spec| Some((spec.node_name?, spec.containers.first()?.image.clone()?)))
            .collect())
    }

    async fn pods(&self, component: &str) -> anyhow::Result<Vec<Pod>> {
        let selector =
            format!("app.kubernetes.io/name=wharf,app.kubernetes.io/component={component}");
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        Ok(api
            .list(&ListParams::default().labels(&selector))
            .await
            .context("listing wharf's pods")?
            .items)
    }

    /// What the pods behind a condition complain about: a line each, after a line break.
    async fn complaints(&self, condition: Condition<'_>) -> anyhow::Result<String> {
        let component = match condition {
            Condition::NodesReady(_) | Condition::Gone(_) => return Ok(String::new()),
            Condition::RegistryReady => "registry",
            Condition::RelaysReady => "relay",
            Condition::Done { component, .. } => component,
        };
        let mut lines = String::new();
        for pod in self
            .pods(component)
            .await?
            .into_iter()
            .filter(|pod| !is_ready(pod) && !has_succeeded(pod))
        {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let container = waits_for(&pod).map(|container| container.name.clone());
            let log = self.log(&name, container).await.unwrap_or_default();
            lines.push_str(&format!(
                "\n  pod {NAMESPACE}/{name}: {}{log}",
                complaint(&pod)
            ));
        }
        Ok(lines)
    }

    async fn log(&self, pod: &str, container: Option<String>) -> anyhow::Result<String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let log = api
            .logs(
                pod,
                &LogParams {
                    container,
                    tail_lines: Some(LOG_LINES),
                    ..LogParams::default()
                },
            )
            .await?;
        Ok(log.lines().map(|line| format!("\n    {line}")).collect())
    }
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| {
        all.iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

/// Whether a relay reaches the registry: it is ready, or its startup probe, which asks the same, has just been answered. A kubelet that was
/// started lately lets up to a period of the other probe pass before it asks again.
fn relays(pod: &Pod) -> bool {
    let stays = pod.metadata.deletion_timestamp.is_none();
    serves(pod) || (stays && has_just_started(pod, now()))
}

/// Whether every container has passed its startup probe, and runs for less than [`NEWS`].
fn has_just_started(pod: &Pod, now: i64) -> bool {
    let containers = pod
        .status
        .as_ref()
        .and_then(|s| s.container_statuses.as_ref());
    let has = |container: &ContainerStatus| {
        let running = container.state.as_ref().and_then(|s| s.running.as_ref());
        let since = running.and_then(|running| running.started_at.as_ref());
        container.started == Some(true)
            && since.is_some_and(|since| now - since.0.as_second() < NEWS)
    };
    containers.is_some_and(|all| !all.is_empty() && all.iter().all(has))
}

fn has_succeeded(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Succeeded")
}

fn is_unpullable(pod: &Pod) -> bool {
    let state = waits_for(pod).and_then(|container| container.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    reason.is_some_and(|reason| PULL_PROBLEMS.contains(&reason))
}

/// The container that a pod waits for: one of those that come first, or else the first of the others.
fn waits_for(pod: &Pod) -> Option<&ContainerStatus> {
    let status = pod.status.as_ref()?;
    let mut first = status.init_container_statuses.iter().flatten();
    let mut others = status.container_statuses.iter().flatten();
    first
        .find(|container| !container.ready)
        .or_else(|| others.next())
}

/// Why a pod does not run: what its container waits for or died of, or why it was not placed.
fn complaint(pod: &Pod) -> String {
    let Some(status) = &pod.status else {
        return "not seen by any node".to_owned();
    };
    let container = waits_for(pod).and_then(|container| container.state.as_ref());
    if let Some(waiting) = container.and_then(|state| state.waiting.as_ref()) {
        return [waiting.reason.as_deref(), waiting.message.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(": ");
    }
    if let Some(ended) = container.and_then(|state| state.terminated.as_ref()) {
        return format!(
            "ended with {} {}",
            ended.exit_code,
            ended.message.as_deref().unwrap_or_default()
        )
        .trim_end()
        .to_owned();
    }
    let unmet = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.status == "False");
    unmet
        .and_then(|condition| condition.message.clone())
        .or_else(|| status.phase.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "probe"}, "status": status})).unwrap()
    }

    #[test]
    fn why_a_pod_does_not_run() {
        let state = |state: Value| {
            json!({"phase": "Pending", "containerStatuses": [{
                "name": "probe", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }]})
        };
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "no such host"}});
        let unpullable = pod(state(waiting));
        assert_eq!(complaint(&unpullable), "ErrImagePull: no such host");
        assert!(is_unpullable(&unpullable));
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        assert!(!is_unpullable(&pod(state(creating))));
        let ended = json!({"terminated": {"exitCode": 3}});
        assert_eq!(complaint(&pod(state(ended.clone()))), "ended with 3");
        let mut refused = state(json!({"waiting": {"reason": "PodInitializing"}}));
        refused["initContainerStatuses"] = json!([{
            "name": "prepare", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended,
        }]);
        assert_eq!(complaint(&pod(refused)), "ended with 3");
        let unplaced = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]});
        assert_eq!(complaint(&pod(unplaced)), "0/1 nodes are available");
        assert_eq!(complaint(&pod(json!({"phase": "Pending"}))), "Pending");
    }

    #[test]
    fn ready_and_done() {
        assert!(is_ready(&pod(
            json!({"conditions": [{"type": "Ready", "status": "True"}]})
        )));
        assert!(!is_ready(&pod(
            json!({"conditions": [{"type": "Ready", "status": "False"}]})
        )));
        assert!(has_succeeded(&pod(json!({"phase": "Succeeded"}))));
    }

    #[test]
    fn a_relay_that_was_just_answered_relays() {
        let relay = |started: bool| {
            pod(json!({"containerStatuses": [{
                "name": "relay", "image": "", "imageID": "", "ready": false, "restartCount": 0, "started": started,
                "state": {"running": {"startedAt": "1970-01-01T00:01:00Z"}},
            }]}))
        };
        assert!(has_just_started(&relay(true), 60) && has_just_started(&relay(true), 89));
        assert!(!has_just_started(&relay(true), 90) && !has_just_started(&relay(false), 61));
        assert!(!has_just_started(&pod(json!({})), 60));
        // By now it is long ago.
        assert!(!relays(&relay(true)));
    }
}
