//! Waiting until the cluster has done what was applied, and saying what keeps it from that.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use tokio::time::{Instant, sleep};

use super::Kube;
use crate::exit::Code;
use crate::names::{NAMESPACE, REGISTRY, RELAY};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
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
    /// These pods of the proof have run to their end.
    ProbesDone(&'a [String]),
}

/// Waits until a condition is true. A time-out says what is in its way.
pub(crate) async fn wait_until(
    kube: &Kube,
    condition: Condition<'_>,
    limit: Duration,
) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
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
        sleep(PAUSE).await;
    }
}

impl Kube {
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
                    && status.updated_number_scheduled == Some(wanted)
                    && status.number_ready == wanted;
                Ok((!is_done)
                    .then(|| format!("{} of {wanted} relays are ready", status.number_ready)))
            }
            Condition::ProbesDone(names) => {
                let done: BTreeSet<String> = self
                    .pods("probe")
                    .await?
                    .into_iter()
                    .filter(has_succeeded)
                    .filter_map(|pod| pod.metadata.name)
                    .collect();
                let missing: Vec<&str> = names
                    .iter()
                    .filter(|name| !done.contains(*name))
                    .map(String::as_str)
                    .collect();
                Ok((!missing.is_empty()).then(|| format!("still to run: {}", missing.join(", "))))
            }
        }
    }

    /// The nodes whose relay is ready.
    pub(crate) async fn relayed_nodes(&self) -> anyhow::Result<BTreeSet<String>> {
        let ready = self.pods("relay").await?.into_iter().filter(is_ready);
        Ok(ready
            .filter_map(|pod| pod.spec.and_then(|spec| spec.node_name))
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
            Condition::NodesReady(_) => return Ok(String::new()),
            Condition::RegistryReady => "registry",
            Condition::RelaysReady => "relay",
            Condition::ProbesDone(_) => "probe",
        };
        let mut lines = String::new();
        for pod in self
            .pods(component)
            .await?
            .into_iter()
            .filter(|pod| !is_ready(pod) && !has_succeeded(pod))
        {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let log = self.log(&name).await.unwrap_or_default();
            lines.push_str(&format!(
                "\n  pod {NAMESPACE}/{name}: {}{log}",
                complaint(&pod)
            ));
        }
        Ok(lines)
    }

    async fn log(&self, pod: &str) -> anyhow::Result<String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let log = api
            .logs(
                pod,
                &LogParams {
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

fn has_succeeded(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Succeeded")
}

/// Why a pod does not run: what its container waits for or died of, or why it was not placed.
fn complaint(pod: &Pod) -> String {
    let Some(status) = &pod.status else {
        return "not seen by any node".to_owned();
    };
    let container = status
        .container_statuses
        .iter()
        .flatten()
        .next()
        .and_then(|container| container.state.as_ref());
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
        assert_eq!(
            complaint(&pod(state(waiting))),
            "ErrImagePull: no such host"
        );
        let ended = json!({"terminated": {"exitCode": 3}});
        assert_eq!(complaint(&pod(state(ended))), "ended with 3");
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
}
