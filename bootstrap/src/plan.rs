//! What `wharf up` will do: from what was asked and what was found, the steps in order. Pure, so that it can be read,
//! printed and tested without a cluster.

use std::path::PathBuf;

use serde::Serialize;

use crate::cluster::{ClusterName, Node, Provider};
use crate::exit::Code;

/// What was asked for. `None`: whatever is there already, or the default.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    /// The cluster's name.
    pub(crate) name: ClusterName,
    /// What makes it.
    pub(crate) provider: Provider,
    /// The port of localhost.
    pub(crate) port: Option<u16>,
    /// Nodes, the control plane included.
    pub(crate) nodes: Option<u16>,
    /// Where the images are.
    pub(crate) data: Option<PathBuf>,
    /// The node image.
    pub(crate) kubernetes_image: Option<String>,
    /// What the provider's own program is told besides.
    pub(crate) arguments: Vec<String>,
    /// Whether a cluster that somebody else made is meant.
    pub(crate) adopts: bool,
    /// Whether wharf's image is named by the user, who then sees to it that the nodes have it.
    pub(crate) brings_image: bool,
}

/// What was found.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// No cluster of that name.
    Nothing(Remembered),
    /// The remains of a cluster that wharf was about to make, or to delete.
    HalfMade(Remembered),
    /// A cluster that nothing says is wharf's, as far as it can be taken for one.
    Foreign(Ours),
    /// A cluster that wharf made, or adopted.
    Ours(Ours),
}

/// What the host remembers of a cluster that is not there: the wishes of a run that did not finish, and where the images are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembered {
    /// Where that cluster had its images, or the default place.
    pub(crate) data: PathBuf,
    /// The port that an unfinished run wanted.
    pub(crate) port: Option<u16>,
    /// The nodes that an unfinished run wanted.
    pub(crate) nodes: Option<u16>,
    /// The node image that an unfinished run wanted.
    pub(crate) kubernetes_image: Option<String>,
    /// What it wanted the provider's own program to be told.
    pub(crate) arguments: Vec<String>,
}

/// A cluster with wharf's registry in it, and how far it is from what it should be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ours {
    /// Whether somebody else made it.
    pub(crate) is_adopted: bool,
    /// The port that it publishes.
    pub(crate) port: u16,
    /// Where its images are.
    pub(crate) data: PathBuf,
    /// What the provider's own program was told when it was made.
    pub(crate) arguments: Vec<String>,
    /// Its nodes.
    pub(crate) nodes: Vec<Node>,
    /// Whether the user's kubeconfig leads to it.
    pub(crate) has_context: bool,
    /// Nodes without wharf's image.
    pub(crate) without_image: Vec<String>,
    /// Nodes whose containerd is not told where localhost is.
    pub(crate) without_hosts: Vec<String>,
    /// Whether each node of today has proved that it can pull.
    pub(crate) is_proved: bool,
}

/// What is to be done, and for which environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    /// What makes the cluster.
    pub(crate) provider: Provider,
    /// Whether the cluster is one that somebody else made: its images are on its first node then.
    pub(crate) adopted: bool,
    /// The port of localhost.
    pub(crate) port: u16,
    /// Nodes, the control plane included.
    pub(crate) nodes: u16,
    /// Where the images are.
    pub(crate) data: PathBuf,
    /// The node image of a cluster to be made; `None`: the provider's own.
    pub(crate) kubernetes_image: Option<String>,
    /// What the provider's own program is told besides.
    pub(crate) arguments: Vec<String>,
    /// The steps, in order.
    pub(crate) steps: Vec<Step>,
}

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

/// The port of localhost, unless another is asked for.
pub(crate) const DEFAULT_PORT: u16 = 5000;

/// Decides what to do.
pub(crate) fn plan(desired: &Desired, found: Found) -> anyhow::Result<Plan> {
    let name = &desired.name;
    match found {
        Found::Foreign(_) if !desired.adopts => Err(Code::Conflict.error(format!(
            "there is a cluster {name}, and wharf did not make it: choose another name with --name (it will not be touched), or put the registry into it as it is with --adopt"
        ))),
        Found::Foreign(found) => converge(
            desired,
            Ours {
                port: desired.port.unwrap_or(DEFAULT_PORT),
                ..found
            },
            vec![Step::Adopt],
        ),
        _ if desired.adopts && !matches!(&found, Found::Ours(ours) if ours.is_adopted) => {
            Err(Code::NotFound.error(format!(
                "there is no cluster {name} that somebody else made: leave --adopt out, or name another with --name"
            )))
        }
        Found::Nothing(remembered) => Ok(fresh(desired, remembered, vec![])),
        Found::HalfMade(remembered) => Ok(fresh(desired, remembered, vec![Step::DeleteRemains])),
        Found::Ours(ours) => converge(desired, ours, vec![]),
    }
}

fn fresh(desired: &Desired, remembered: Remembered, mut steps: Vec<Step>) -> Plan {
    steps.extend([Step::CreateCluster, Step::WaitForNodes]);
    if !desired.brings_image {
        steps.push(Step::ImportImage(Nodes::All));
    }
    steps.extend([Step::WriteHosts(Nodes::All), Step::Install]);
    if !desired.provider.publishes() {
        steps.push(Step::OpenDoor);
    }
    steps.push(Step::CheckHost);
    if !desired.brings_image {
        steps.push(Step::StoreImage);
    }
    steps.push(Step::Prove);
    Plan {
        provider: desired.provider,
        adopted: false,
        port: desired.port.or(remembered.port).unwrap_or(DEFAULT_PORT),
        nodes: desired.nodes.or(remembered.nodes).unwrap_or(1),
        data: desired.data.clone().unwrap_or(remembered.data),
        kubernetes_image: desired
            .kubernetes_image
            .clone()
            .or(remembered.kubernetes_image),
        arguments: match desired.arguments.is_empty() {
            true => remembered.arguments,
            false => desired.arguments.clone(),
        },
        steps,
    }
}

fn converge(desired: &Desired, ours: Ours, mut steps: Vec<Step>) -> anyhow::Result<Plan> {
    let nodes = u16::try_from(ours.nodes.len()).unwrap_or(u16::MAX);
    refuse_difference(desired, &ours, nodes)?;
    let stopped: Vec<String> = ours
        .nodes
        .iter()
        .filter(|node| !node.is_running)
        .map(|node| node.name.clone())
        .collect();
    // Of nodes that do not run nothing is known: they get everything, and each step skips what is right.
    let some = |without: Vec<String>| {
        if stopped.is_empty() {
            Nodes::Some(without)
        } else {
            Nodes::All
        }
    };
    let (image, hosts) = (some(ours.without_image), some(ours.without_hosts));
    let is_needed = |nodes: &Nodes| !matches!(nodes, Nodes::Some(none) if none.is_empty());
    if !stopped.is_empty() {
        steps.push(Step::StartNodes(stopped));
    }
    if !ours.has_context {
        steps.push(Step::ExportContext);
    }
    steps.push(Step::WaitForNodes);
    if !desired.brings_image && is_needed(&image) {
        steps.push(Step::ImportImage(image));
    }
    if is_needed(&hosts) {
        steps.push(Step::WriteHosts(hosts));
    }
    if ours.is_adopted {
        steps.push(Step::MakeDataDirectory);
    }
    steps.push(Step::Install);
    if ours.is_adopted || !desired.provider.publishes() {
        steps.push(Step::OpenDoor);
    }
    steps.push(Step::CheckHost);
    if !desired.brings_image {
        steps.push(Step::StoreImage);
    }
    if !ours.is_proved {
        steps.push(Step::Prove);
    }
    Ok(Plan {
        provider: desired.provider,
        adopted: ours.is_adopted,
        port: ours.port,
        nodes,
        data: ours.data,
        kubernetes_image: None,
        arguments: match desired.arguments.is_empty() {
            true => ours.arguments,
            false => desired.arguments.clone(),
        },
        steps,
    })
}

/// Port, nodes and data directory are the cluster's from its making on: to change one means to make it anew, and that
/// is the user's to say.
fn refuse_difference(desired: &Desired, ours: &Ours, nodes: u16) -> anyhow::Result<()> {
    let name = &desired.name;
    let mut differences = Vec::new();
    if let Some(port) = desired.port.filter(|port| *port != ours.port) {
        differences.push(format!("it has port {}, not {port}", ours.port));
    }
    if let Some(asked) = desired.nodes.filter(|asked| *asked != nodes) {
        differences.push(format!("it has {}, not {asked}", count(nodes)));
    }
    if let Some(data) = desired.data.as_ref().filter(|data| **data != ours.data) {
        differences.push(format!(
            "its images are in {}, not {}",
            ours.data.display(),
            data.display()
        ));
    }
    // Where nodes are to be started, it can be told something.
    let is_up = ours.nodes.iter().all(|node| node.is_running);
    if is_up && !desired.arguments.is_empty() && desired.arguments != ours.arguments {
        differences.push("it was not started with these arguments".to_owned());
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Code::Conflict.error(format!(
        "cluster {name} is up already, and {}: leave the flag out to keep it, or make it anew with `wharf down --name {name}` and the same `wharf up` again (down keeps the images)",
        differences.join("; ")
    )))
}

/// "1 node", "2 nodes".
pub(crate) fn count(nodes: u16) -> String {
    format!("{nodes} node{}", if nodes == 1 { "" } else { "s" })
}

impl Plan {
    /// Whether a container beside the nodes publishes the port.
    pub(crate) fn has_door(&self) -> bool {
        self.adopted || !self.provider.publishes()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn desired() -> Desired {
        Desired {
            name: "dev".parse().unwrap(),
            provider: Provider::Kind,
            port: None,
            nodes: None,
            data: None,
            kubernetes_image: None,
            arguments: Vec::new(),
            adopts: false,
            brings_image: false,
        }
    }

    fn node(name: &str, is_running: bool) -> Node {
        Node {
            name: name.into(),
            id: name.into(),
            is_running,
            created: 0,
            data: Some("/data".into()),
        }
    }

    fn remembered() -> Remembered {
        Remembered {
            data: "/data".into(),
            port: Some(5055),
            nodes: Some(2),
            kubernetes_image: Some("node:1".into()),
            arguments: Vec::new(),
        }
    }

    fn ours() -> Ours {
        Ours {
            port: 5055,
            data: "/data".into(),
            nodes: vec![node("dev-control-plane", true), node("dev-worker", true)],
            has_context: true,
            is_proved: true,
            ..Ours::default()
        }
    }

    fn steps(desired: &Desired, found: Found) -> String {
        let plan = plan(desired, found).unwrap();
        let titles = plan
            .steps
            .iter()
            .map(|step| step.title(&desired.name, plan.port))
            .collect::<Vec<_>>()
            .join("\n");
        format!(
            "port {}, {} nodes, data {}\n{titles}",
            plan.port,
            plan.nodes,
            plan.data.display()
        )
    }

    #[test]
    fn from_nothing() {
        insta::assert_snapshot!(steps(
            &desired(),
            Found::Nothing(Remembered {
                data: "/home/ann/images".into(),
                ..Remembered::default()
            })
        ));
    }

    #[test]
    fn from_a_half_made_cluster_with_other_wishes() {
        let desired = Desired {
            port: Some(5001),
            nodes: Some(3),
            data: Some("/mnt/images".into()),
            brings_image: true,
            ..desired()
        };
        insta::assert_snapshot!(steps(&desired, Found::HalfMade(remembered())));
    }

    #[test]
    fn an_unfinished_run_is_completed_as_it_was_wished() {
        let plan = plan(&desired(), Found::HalfMade(remembered())).unwrap();
        assert_eq!((plan.port, plan.nodes), (5055, 2));
        assert_eq!(plan.data, PathBuf::from("/data"));
        assert_eq!(plan.kubernetes_image.as_deref(), Some("node:1"));
    }

    #[test]
    fn a_cluster_that_is_right_is_only_looked_at() {
        insta::assert_snapshot!(steps(&desired(), Found::Ours(ours())));
    }

    #[test]
    fn a_cluster_is_repaired_where_it_needs_it() {
        let broken = Ours {
            without_image: vec!["dev-worker".into()],
            without_hosts: vec!["dev-control-plane".into()],
            has_context: false,
            is_proved: false,
            ..ours()
        };
        insta::assert_snapshot!(steps(&desired(), Found::Ours(broken)));
    }

    #[test]
    fn stopped_nodes_are_started_and_looked_at_as_a_whole() {
        let stopped = Ours {
            nodes: vec![node("dev-control-plane", false), node("dev-worker", true)],
            ..ours()
        };
        insta::assert_snapshot!(steps(&desired(), Found::Ours(stopped)));
    }

    #[test]
    fn what_a_cluster_has_cannot_be_changed_under_it() {
        let asks = [
            Desired {
                port: Some(5000),
                ..desired()
            },
            Desired {
                nodes: Some(3),
                ..desired()
            },
            Desired {
                data: Some("/other".into()),
                ..desired()
            },
        ];
        for asked in asks {
            let error = plan(&asked, Found::Ours(ours())).unwrap_err();
            assert_eq!(Code::of(&error), Code::Conflict);
            assert!(
                error.to_string().contains("wharf down --name dev"),
                "{error}"
            );
        }
        let same = Desired {
            port: Some(5055),
            nodes: Some(2),
            data: Some("/data".into()),
            ..desired()
        };
        assert!(plan(&same, Found::Ours(ours())).is_ok());
    }

    #[test]
    fn a_foreign_cluster_is_left_alone() {
        let error = plan(&desired(), Found::Foreign(ours())).unwrap_err();
        assert_eq!(Code::of(&error), Code::Conflict);
    }

    #[test]
    fn a_foreign_cluster_is_adopted_when_it_is_asked_for() {
        let adopts = Desired {
            adopts: true,
            ..desired()
        };
        let found = Ours {
            is_adopted: true,
            without_image: vec!["dev-control-plane".into(), "dev-worker".into()],
            is_proved: false,
            ..ours()
        };
        insta::assert_snapshot!(steps(&adopts, Found::Foreign(found.clone())));
        assert!(plan(&adopts, Found::Ours(found)).is_ok());
        for found in [Found::Ours(ours()), Found::Nothing(remembered())] {
            let error = plan(&adopts, found).unwrap_err();
            assert_eq!(Code::of(&error), Code::NotFound);
        }
    }
}
