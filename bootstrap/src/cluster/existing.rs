//! A cluster of which nothing is known but a context of the kubeconfig: Docker Desktop's, k3d's, k3s, a remote one.
//!
//! Its nodes are what its API says. Nobody can run programs on them from outside, nor make, start or delete the cluster.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use bytes::Bytes;
use kube::config::Kubeconfig;
use tokio::time::timeout;

use super::{Cluster, Node, Provider, Runtime, Spec};
use crate::docker::Docker;
use crate::exit::Code;
use crate::kube::{ClusterNode, Kube};

/// An API server that does not answer within this is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a context leads to.
#[derive(Debug)]
pub(super) struct Existing {
    context: String,
}

impl Existing {
    pub(super) fn new(context: String) -> Self {
        Self { context }
    }

    fn is_not_ours(&self, what: &str) -> anyhow::Error {
        Code::Usage.error(format!(
            "wharf reaches the cluster of context {} by its API alone, and cannot {what}: use what made it",
            self.context
        ))
    }
}

/// Says which contexts there are, where one has to be named.
pub(super) fn require_context() -> anyhow::Error {
    let kubeconfig = Kubeconfig::read().unwrap_or_default();
    let names: Vec<String> = kubeconfig
        .contexts
        .into_iter()
        .map(|context| context.name)
        .collect();
    let has = match names.is_empty() {
        true => "the kubeconfig has none".to_owned(),
        false => format!("the kubeconfig has {}", names.join(", ")),
    };
    Code::Usage.error(format!(
        "which existing cluster is meant? Name its context with --context ({has})"
    ))
}

#[async_trait]
impl Cluster for Existing {
    fn provider(&self) -> Provider {
        Provider::Existing
    }

    fn engine(&self) -> Option<&Docker> {
        None
    }

    fn context(&self) -> String {
        self.context.clone()
    }

    async fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let kube = Kube::of_context(&self.context).await?;
        let listed = timeout(PATIENCE, kube.nodes()).await;
        let listed = listed
            .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs())));
        let mut nodes = listed.map_err(|error| {
            Code::Unhealthy.error(format!(
                "the API of context {context} does not list its nodes ({error:#}): start the cluster, and see that `kubectl --context {context} get nodes` works",
                context = self.context
            ))
        })?;
        nodes.sort_by(|a, b| {
            let rank = |node: &ClusterNode| (!node.is_control_plane, node.name.clone());
            rank(a).cmp(&rank(b))
        });
        Ok(nodes.into_iter().map(Node::from).collect())
    }

    async fn create(&self, _: &Spec, _: File) -> anyhow::Result<()> {
        Err(self.is_not_ours("make it"))
    }

    fn is_name_taken(&self, _: &anyhow::Error) -> bool {
        false
    }

    async fn delete(&self, _: File) -> anyhow::Result<()> {
        Err(self.is_not_ours("delete it"))
    }

    async fn clear(&self, _: File) -> anyhow::Result<()> {
        Ok(())
    }

    async fn start(&self, _: &[String], _: &[String], _: File) -> anyhow::Result<()> {
        Err(self.is_not_ours("start its nodes"))
    }

    fn runtime(&self) -> anyhow::Result<Runtime> {
        Ok(Runtime::OutOfReach)
    }

    async fn kubeconfig(&self) -> anyhow::Result<String> {
        let mut kubeconfig = Kubeconfig::read().context("reading the kubeconfig")?;
        kubeconfig.current_context = Some(self.context.clone());
        // It reads YAML, which JSON is.
        serde_json::to_string(&kubeconfig).context("writing a kubeconfig")
    }

    async fn export_kubeconfig(&self) -> anyhow::Result<()> {
        // The context is the user's own, and so is which one is the current one.
        Ok(())
    }

    async fn run_on(&self, node: &str, _: &[&str], _: Option<Bytes>) -> anyhow::Result<String> {
        bail!(
            "nothing can be run on node {node} of context {}",
            self.context
        )
    }
}

impl From<ClusterNode> for Node {
    fn from(node: ClusterNode) -> Self {
        Self {
            name: node.name,
            id: node.uid,
            // One that stands still is not to be started from here.
            is_running: true,
            created: node.created,
            data: None,
        }
    }
}
