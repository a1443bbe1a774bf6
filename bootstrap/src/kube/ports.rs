//! Ports of the nodes that pods take for themselves.

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use super::Kube;
use crate::exit::Code;
use crate::names::NAMESPACE;

/// The label of what minikube's add-ons run.
const ADDON: &str = "kubernetes.io/minikube-addons";

impl Kube {
    /// Fails if a pod has taken a port of its nodes (`hostPort`), and says which: such a port leads to the pod, silently, whoever
    /// listens on the node.
    pub(crate) async fn require_node_port(&self, port: u16, cluster: &str) -> anyhow::Result<()> {
        let pods = Api::<Pod>::all(self.client.clone())
            .list(&ListParams::default())
            .await
            .context("listing the cluster's pods")?;
        match pods.items.iter().find(|pod| takes(pod, port)) {
            Some(pod) => Err(Code::Conflict.error(explain(pod, port, cluster))),
            None => Ok(()),
        }
    }
}

/// Whether it is a pod of somebody else that has the port, or will have it.
fn takes(pod: &Pod, port: u16) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    pod.metadata.namespace.as_deref() != Some(NAMESPACE)
        && !has_ended
        && ports.any(|taken| taken.host_port == Some(port.into()))
}

fn explain(pod: &Pod, port: u16, cluster: &str) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (namespace, name) = (text(&pod.metadata.namespace), text(&pod.metadata.name));
    let addon = pod.metadata.labels.as_ref().and_then(|l| l.get(ADDON));
    match addon {
        Some(addon) => format!(
            "port {port} of the nodes is taken by minikube's add-on {addon} (pod {namespace}/{name}), which would get what is meant for this registry: disable it with `minikube -p {cluster} addons disable {addon}`, or choose another port with --port"
        ),
        None => format!(
            "port {port} of the nodes is taken by the pod {namespace}/{name} (hostPort), which would get what is meant for this registry: delete it, or choose another port with --port"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(namespace: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "registry-proxy-x", "namespace": namespace, "labels": {(ADDON): "registry"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b", "ports": [{"containerPort": 80, "hostPort": 5000}]}]},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn who_takes_a_port_of_a_node() {
        assert!(takes(&pod("kube-system", "Running"), 5000));
        assert!(takes(&pod("kube-system", "Pending"), 5000));
        assert!(!takes(&pod("kube-system", "Succeeded"), 5000));
        assert!(!takes(&pod("kube-system", "Running"), 5001));
        assert!(!takes(&pod(NAMESPACE, "Running"), 5000));
    }

    #[test]
    fn what_is_said_of_an_add_on() {
        let said = explain(&pod("kube-system", "Running"), 5000, "dev");
        assert!(
            said.contains("`minikube -p dev addons disable registry`"),
            "{said}"
        );
    }
}
