//! Clusters that wharf makes or finds, whatever makes them.

mod choice;
mod existing;
mod kind;
mod minikube;

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wharf_registry::oci::Digest;

use crate::docker::{Container, Docker};
use crate::names::NODE_DATA;
pub(crate) use choice::{Meant, Opened, context, open, recalled};

/// What makes clusters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Provider {
    /// kind: Kubernetes in Docker.
    #[default]
    Kind,
    /// minikube, with its docker driver.
    Minikube,
    /// Nobody whom wharf knows: a context of the kubeconfig leads to it.
    Existing,
}

/// What leads from the host's port into a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// A port of the host that a node publishes.
    Node,
    /// A container beside the nodes, which publishes it.
    Door,
    /// A forward through the cluster's API.
    Forward,
}

/// What runs the containers of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// containerd.
    Containerd,
    /// A Docker Engine of the node's own.
    Docker,
    /// Whatever it is: nobody can run programs on these nodes from outside.
    OutOfReach,
}

/// One cluster, which may or may not exist.
#[async_trait]
pub(crate) trait Cluster: Send + Sync {
    /// What makes it.
    fn provider(&self) -> Provider;
    /// The engine that its nodes are containers of, where they are.
    fn engine(&self) -> Option<&Docker>;
    /// Its context in a kubeconfig.
    fn context(&self) -> String;
    /// Its nodes, running or not, the control plane first; none if there is no cluster.
    async fn nodes(&self) -> anyhow::Result<Vec<Node>>;
    /// Makes it. The program that does it holds `lock` as long as it lives.
    async fn create(&self, spec: &Spec, lock: File) -> anyhow::Result<()>;
    /// Whether it could not be made because its nodes' names are taken, perhaps by nodes that are not to be seen yet.
    fn is_name_taken(&self, error: &anyhow::Error) -> bool;
    /// Deletes it. What is not there is deleted already. The program that does it holds `lock` as long as it lives.
    async fn delete(&self, lock: File) -> anyhow::Result<()>;
    /// Removes what may be left of it where it has no nodes.
    async fn clear(&self, lock: File) -> anyhow::Result<()>;
    /// Starts nodes that have stopped. The program that does it is told `arguments`, and holds `lock` as long as it lives.
    async fn start(&self, nodes: &[String], arguments: &[String], lock: File)
    -> anyhow::Result<()>;
    /// What runs the containers of its nodes.
    fn runtime(&self) -> anyhow::Result<Runtime>;
    /// A kubeconfig for it, as text.
    async fn kubeconfig(&self) -> anyhow::Result<String>;
    /// Writes its context to the user's kubeconfig and makes it the current one.
    async fn export_kubeconfig(&self) -> anyhow::Result<()>;
    /// Runs a program on a node and returns what it printed.
    async fn run_on(
        &self,
        node: &str,
        command: &[&str],
        stdin: Option<Bytes>,
    ) -> anyhow::Result<String>;
}

/// Fails on arguments for a provider's own program that wharf cannot pass on.
pub(crate) fn refuse_arguments(provider: Provider, arguments: &[String]) -> anyhow::Result<()> {
    match provider {
        Provider::Kind | Provider::Existing => Ok(()),
        Provider::Minikube => minikube::refuse_ours(arguments),
    }
}

/// Whether the provider's own program is told to make nodes with a Docker Engine.
pub(crate) fn asks_for_docker(provider: Provider, arguments: &[String]) -> bool {
    provider == Provider::Minikube && minikube::runtime_in(arguments) == Some("docker")
}

impl Provider {
    /// What leads from the host's port into one of its clusters.
    pub(crate) fn entrance(self, is_adopted: bool) -> Entrance {
        match self {
            Self::Kind if !is_adopted => Entrance::Node,
            // No port can be added to nodes that are there, and minikube's cannot keep theirs.
            Self::Kind | Self::Minikube => Entrance::Door,
            Self::Existing => Entrance::Forward,
        }
    }

    /// Whether wharf can run programs on the nodes, and bring files and images to them.
    pub(crate) fn reaches_nodes(self) -> bool {
        self != Self::Existing
    }

    /// What it is called, which is also its program, if it has one.
    fn word(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Minikube => "minikube",
            Self::Existing => "existing",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The words of Docker, and of Podman, which a provider repeats where a node's name is taken.
fn says_that_a_name_is_taken(words: &str) -> bool {
    words.contains("container name") && words.contains("already in use")
}

/// A node, from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name, which Kubernetes uses too.
    pub(crate) name: String,
    /// What identifies it: another node of the same name has another.
    pub(crate) id: String,
    /// Whether it runs.
    pub(crate) is_running: bool,
    /// When it was made, in seconds since 1970.
    pub(crate) created: i64,
    /// The directory of the host that it has at [`crate::names::NODE_DATA`].
    pub(crate) data: Option<PathBuf>,
}

impl From<Container> for Node {
    fn from(container: Container) -> Self {
        let data = container
            .mounts
            .iter()
            .find(|(_, here)| here == NODE_DATA)
            .map(|(there, _)| there.into());
        Self {
            name: container.name,
            id: container.id,
            is_running: container.is_running,
            created: container.created,
            data,
        }
    }
}

/// A cluster to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Nodes, the control plane included.
    pub(crate) nodes: u16,
    /// The port that the control plane's node publishes on the host's loopback.
    pub(crate) port: u16,
    /// Whether [::1] publishes it too.
    pub(crate) has_ipv6: bool,
    /// The directory that every node has at [`crate::names::NODE_DATA`].
    pub(crate) data: PathBuf,
    /// The node image; `None`: the provider's own.
    pub(crate) image: Option<String>,
    /// What the provider's own program is told besides.
    pub(crate) arguments: Vec<String>,
    /// Where the provider's configuration is written.
    pub(crate) config: PathBuf,
}

/// A cluster's name: it becomes part of host names and of file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ClusterName(String);

impl ClusterName {
    /// `-control-plane` and a number still fit into a host name of 63 bytes.
    const MAX_BYTES: usize = 45;

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for what a context leads to. Contexts are called anything; where that is no name, what makes it one would make one of
    /// two, so a part of the context's hash keeps them apart.
    pub(crate) fn of_context(context: &str) -> Self {
        if let Ok(name) = context.parse() {
            return name;
        }
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let lower = context.to_ascii_lowercase();
        let words: Vec<&str> = lower
            .split(|c| !is_word(c))
            .filter(|w| !w.is_empty())
            .collect();
        let mut name: String = words.join("-").chars().take(Self::MAX_BYTES - 7).collect();
        if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        let hash = Digest::sha256(context.as_bytes());
        name.extend(hash.hex().chars().take(6));
        Self(name)
    }
}

impl Default for ClusterName {
    fn default() -> Self {
        Self("wharf".to_owned())
    }
}

impl FromStr for ClusterName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_good = text.len() <= Self::MAX_BYTES
            && text.starts_with(is_word)
            && text.ends_with(is_word)
            && text.chars().all(|c| is_word(c) || c == '-');
        if is_good {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "a cluster's name has up to {} lower-case letters, digits and inner dashes",
            Self::MAX_BYTES
        ))
    }
}

impl TryFrom<String> for ClusterName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clusters() {
        for good in ["wharf", "a", "dev-2", "0x"] {
            assert!(good.parse::<ClusterName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a/b",
            "..",
            "a.b",
            "a b",
            &"a".repeat(46),
        ] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_after_contexts() {
        let name = |context: &str| ClusterName::of_context(context).to_string();
        assert_eq!(name("docker-desktop"), "docker-desktop");
        assert_eq!(name("k3d-dev"), "k3d-dev");
        assert!(name("admin@Talos.local").starts_with("admin-talos-local-"));
        assert_ne!(name("admin@talos"), name("admin.talos"));
        let eks = "arn:aws:eks:eu-west-1:123456789012:cluster/a-rather-long-name";
        for odd in [eks, "", "@", "Ä", &"a".repeat(46), &"a-".repeat(40)] {
            assert!(name(odd).parse::<ClusterName>().is_ok(), "{odd}");
        }
    }
}
