//! The steps of a plan, and what they are called.

use serde::Serialize;

use crate::cluster::ClusterName;

/// One step. Each can be taken again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Step {
    /// Delete what is left of a cluster that was not finished.
    DeleteRemains,
    /// Make the cluster.
    CreateCluster,
    /// Remember that a cluster which somebody else made is used.
    Adopt,
    /// Make a directory for the images on the first node.
    MakeDataDirectory,
    /// Make the container that publishes the port.
    OpenDoor,
    /// Start a forward from the port through the cluster's API, in the background.
    Forward,
    /// Start nodes that have stopped.
    StartNodes(Vec<String>),
    /// Write the cluster's context to the user's kubeconfig.
    ExportContext,
    /// Wait until all nodes can run pods.
    WaitForNodes,
    /// Bring wharf's image to nodes.
    ImportImage(Nodes),
    /// Tell containerd on nodes where localhost is.
    WriteHosts(Nodes),
    /// Apply everything that runs in the cluster, and wait until it runs.
    Install,
    /// Ask the registry through the published port, on both families.
    CheckHost,
    /// Keep wharf's own image in the registry.
    StoreImage,
    /// Push an image from the host and let the kubelet of every node pull it.
    Prove,
}

/// Which nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Nodes {
    /// All that there will be.
    All,
    /// These.
    Some(Vec<String>),
}

impl Step {
    /// What the step does, in a few words.
    pub(crate) fn title(&self, name: &ClusterName, port: u16) -> String {
        match self {
            Self::DeleteRemains => {
                format!("Delete what is left of cluster {name}, which was not finished")
            }
            Self::CreateCluster => format!("Create cluster {name}"),
            Self::Adopt => format!("Take cluster {name} as it is"),
            Self::MakeDataDirectory => "Make a directory for the images on a node".to_owned(),
            Self::OpenDoor => format!("Publish localhost:{port} beside the nodes"),
            Self::Forward => {
                format!("Forward localhost:{port} to the registry through the cluster's API")
            }
            Self::StartNodes(nodes) => format!("Start {}", nodes.join(", ")),
            Self::ExportContext => "Write the context to the kubeconfig".to_owned(),
            Self::WaitForNodes => "Wait for the nodes".to_owned(),
            Self::ImportImage(nodes) => format!("Bring wharf's image to {nodes}"),
            Self::WriteHosts(nodes) => format!("Tell containerd about localhost:{port} on {nodes}"),
            Self::Install => "Install the registry and the relays".to_owned(),
            Self::CheckHost => format!("Ask the registry at localhost:{port}"),
            Self::StoreImage => "Keep wharf's image in the registry".to_owned(),
            Self::Prove => "Prove it: push an image from here, pull it on every node".to_owned(),
        }
    }
}

impl std::fmt::Display for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("every node"),
            Self::Some(nodes) => f.write_str(&nodes.join(", ")),
        }
    }
}
