//! kind: each node is a container.

use std::fs::File;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Cluster, ClusterName, Node, Provider, Runtime, Spec, says_that_a_name_is_taken};
use crate::docker::{Container, Docker};
use crate::names::{HOSTS_DIRECTORY, NODE_DATA};
use crate::process;

const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";
/// How its contexts begin.
const CONTEXT: &str = "kind-";
const ROLE_LABEL: &str = "io.x-k8s.kind.role";

/// A kind cluster.
#[derive(Debug)]
pub(super) struct Kind {
    name: ClusterName,
    docker: Docker,
}

/// Fails unless kind is here.
pub(super) fn require() -> anyhow::Result<()> {
    let kind = if cfg!(target_os = "macos") {
        "brew install kind"
    } else {
        "go install sigs.k8s.io/kind@v0.33.0"
    };
    process::require("kind", &format!("install it with `{kind}`"))
}

/// The context that kind writes for a cluster.
pub(super) fn context(name: &ClusterName) -> String {
    format!("{CONTEXT}{name}")
}

/// The cluster that a context of this name would be written for.
pub(super) fn cluster_of(context: &str) -> Option<ClusterName> {
    context.strip_prefix(CONTEXT)?.parse().ok()
}

impl Kind {
    pub(super) fn new(name: ClusterName, docker: Docker) -> Self {
        Self { name, docker }
    }
}

#[async_trait]
impl Cluster for Kind {
    fn provider(&self) -> Provider {
        Provider::Kind
    }

    fn runtime(&self) -> anyhow::Result<Runtime> {
        Ok(Runtime::Containerd)
    }

    fn engine(&self) -> Option<&Docker> {
        Some(&self.docker)
    }

    fn context(&self) -> String {
        context(&self.name)
    }

    async fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let containers = self
            .docker
            .containers(Some(&format!("{CLUSTER_LABEL}={}", self.name)))
            .await?;
        let role = |container: &Container| {
            container
                .labels
                .get(ROLE_LABEL)
                .cloned()
                .unwrap_or_default()
        };
        // A load balancer of a cluster with several control planes is a container, and no node.
        let mut nodes: Vec<(String, Node)> = containers
            .into_iter()
            .filter(|container| matches!(role(container).as_str(), "control-plane" | "worker"))
            .map(|container| (role(&container), Node::from(container)))
            .collect();
        nodes.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
        Ok(nodes.into_iter().map(|(_, node)| node).collect())
    }

    async fn create(&self, spec: &Spec, lock: File) -> anyhow::Result<()> {
        let config = serde_json::to_vec_pretty(&config(&self.name, spec))?;
        std::fs::write(&spec.config, config)
            .with_context(|| format!("writing {}", spec.config.display()))?;
        let path = spec.config.to_string_lossy();
        let mut args = vec![
            "create",
            "cluster",
            "--name",
            self.name.as_str(),
            "--config",
            &path,
        ];
        if let Some(image) = &spec.image {
            args.extend(["--image", image]);
        }
        process::run("kind", &args, Some(lock)).await.map(|_| ())
    }

    fn is_name_taken(&self, error: &anyhow::Error) -> bool {
        says_that_a_name_is_taken(&format!("{error:#}"))
    }

    async fn delete(&self, lock: File) -> anyhow::Result<()> {
        process::run(
            "kind",
            &["delete", "cluster", "--name", self.name.as_str()],
            Some(lock),
        )
        .await
        .map(|_| ())
    }

    async fn clear(&self, lock: File) -> anyhow::Result<()> {
        // Of a cluster whose nodes were deleted without kind its context is left.
        self.delete(lock).await
    }

    async fn start(&self, nodes: &[String], _: &[String], _lock: File) -> anyhow::Result<()> {
        for node in nodes {
            self.docker.start(node).await?;
        }
        Ok(())
    }

    async fn kubeconfig(&self) -> anyhow::Result<String> {
        let text = process::run(
            "kind",
            &["get", "kubeconfig", "--name", self.name.as_str()],
            None,
        )
        .await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn export_kubeconfig(&self) -> anyhow::Result<()> {
        process::run(
            "kind",
            &["export", "kubeconfig", "--name", self.name.as_str()],
            None,
        )
        .await
        .map(|_| ())
    }

    async fn run_on(
        &self,
        node: &str,
        command: &[&str],
        stdin: Option<Bytes>,
    ) -> anyhow::Result<String> {
        self.docker.run(node, command, stdin).await
    }
}

/// kind's configuration. It reads YAML, which JSON is.
fn config(name: &ClusterName, spec: &Spec) -> Value {
    let mount = json!([{"hostPath": spec.data, "containerPath": NODE_DATA}]);
    let addresses: &[&str] = if spec.has_ipv6 {
        &["127.0.0.1", "::1"]
    } else {
        &["127.0.0.1"]
    };
    let ports: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"hostPort": spec.port, "containerPort": spec.port, "listenAddress": address, "protocol": "TCP"}))
        .collect();
    let mut nodes =
        vec![json!({"role": "control-plane", "extraMounts": mount, "extraPortMappings": ports})];
    nodes.extend((1..spec.nodes).map(|_| json!({"role": "worker", "extraMounts": mount})));
    json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": name,
        // Node images of kind 0.27 to 0.30 have no such line; several directories in it would make containerd ignore all.
        "containerdConfigPatches": [
            format!("[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"{HOSTS_DIRECTORY}\"\n")
        ],
        "nodes": nodes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_is_told_from_a_taken_port() {
        let name = "docker: Error response from daemon: Conflict. The container name \"/dev-worker\" is already in use by container \"4f\".";
        let port = "docker: Error response from daemon: failed to bind host port for 127.0.0.1:5000: address already in use.";
        assert!(says_that_a_name_is_taken(name));
        assert!(!says_that_a_name_is_taken(port));
    }

    #[test]
    fn the_configuration_of_two_nodes() {
        let spec = Spec {
            nodes: 2,
            port: 5055,
            has_ipv6: true,
            data: "/home/ann/data".into(),
            image: None,
            arguments: Vec::new(),
            config: "/state/dev.kind.json".into(),
        };
        insta::assert_snapshot!(
            serde_json::to_string_pretty(&config(&"dev".parse().unwrap(), &spec)).unwrap()
        );
    }
}
