//! What `wharf up` will do: from what was asked and what was found, the steps in order. Pure, so that it can be read,
//! printed and tested without a cluster.

mod step;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cluster::{ClusterName, Entrance, Node, Provider, asks_for_docker};
use crate::exit::Code;
use crate::names::NODE_DATA;
use crate::storage::{Storage, Wanted};
pub(crate) use step::{Nodes, Step};

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
    /// What keeps the images.
    pub(crate) storage: Option<Wanted>,
    /// The node image.
    pub(crate) kubernetes_image: Option<String>,
    /// What the provider's own program is told besides.
    pub(crate) arguments: Vec<String>,
    /// Whether a cluster that somebody else made is meant.
    pub(crate) adopts: bool,
    /// wharf's image, if it is named by the user, who then sees to it that the nodes have it.
    pub(crate) image: Option<String>,
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
    /// What kept the images of that cluster.
    pub(crate) storage: Storage,
    /// The directory in which it had them, or the default one.
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
    /// What keeps its images.
    pub(crate) storage: Storage,
    /// The directory that does, or that the nodes of a cluster of wharf's have all the same.
    pub(crate) data: PathBuf,
    /// The node that alone has the images, as far as is known.
    pub(crate) node: Option<String>,
    /// The image that was named for it.
    pub(crate) image: Option<String>,
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
    /// Whether the cluster is one that somebody else made.
    pub(crate) adopted: bool,
    /// The port of localhost.
    pub(crate) port: u16,
    /// Nodes, the control plane included.
    pub(crate) nodes: u16,
    /// What keeps the images.
    pub(crate) storage: Storage,
    /// The directory that does, if one does; in a cluster of somebody else, one of a node.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) data: PathBuf,
    /// The node that alone has the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// wharf's own image, if it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    /// The node image of a cluster to be made; `None`: the provider's own.
    pub(crate) kubernetes_image: Option<String>,
    /// What the provider's own program is told besides.
    pub(crate) arguments: Vec<String>,
    /// The steps, in order.
    pub(crate) steps: Vec<Step>,
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
        Found::Foreign(found) => adopt(desired, found),
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

/// A cluster that somebody else made gets what is asked for, and is one of wharf's users from then on.
fn adopt(desired: &Desired, found: Ours) -> anyhow::Result<Plan> {
    let storage = desired
        .storage
        .as_ref()
        .map_or(found.storage, Wanted::storage);
    let data = match (&desired.storage, storage) {
        (Some(Wanted::Host(directory)), _) => directory.clone(),
        (None, Storage::Host) => found.data,
        _ => PathBuf::new(),
    };
    if storage == Storage::Host && !is_of_a_node(&data) {
        return Err(Code::Usage.error(format!(
            "in a cluster that somebody else made, host:{} is a directory of a node: name it from the root on, as in --storage host:{NODE_DATA}",
            data.display()
        )));
    }
    let found = Ours {
        port: desired.port.unwrap_or(found.port),
        storage,
        data,
        ..found
    };
    converge(desired, found, vec![Step::Adopt])
}

/// Whether a path says where a directory is on another machine; the root is nobody's directory.
fn is_of_a_node(path: &Path) -> bool {
    use std::path::Component;
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    path.has_root() && path.file_name().is_some() && path.components().all(is_plain)
}

fn fresh(desired: &Desired, remembered: Remembered, mut steps: Vec<Step>) -> Plan {
    steps.push(Step::CreateCluster);
    if desired.image.is_none() {
        steps.push(Step::ImportImage(Nodes::All));
    }
    let arguments = match desired.arguments.is_empty() {
        true => remembered.arguments,
        false => desired.arguments.clone(),
    };
    // A Docker Engine takes plain HTTP from loopback by itself.
    if !asks_for_docker(desired.provider, &arguments) {
        steps.push(Step::WriteHosts(Nodes::All));
    }
    steps.push(Step::Install);
    steps.extend(desired.provider.entrance(false).step());
    steps.push(Step::CheckHost);
    if desired.image.is_none() {
        steps.push(Step::StoreImage);
    }
    steps.push(Step::Prove);
    let storage = desired.storage.as_ref();
    let directory = storage.and_then(Wanted::directory).map(Path::to_owned);
    Plan {
        provider: desired.provider,
        adopted: false,
        port: desired.port.or(remembered.port).unwrap_or(DEFAULT_PORT),
        nodes: desired.nodes.or(remembered.nodes).unwrap_or(1),
        storage: storage.map_or(remembered.storage, Wanted::storage),
        data: directory.unwrap_or(remembered.data),
        node: None,
        image: desired.image.clone(),
        kubernetes_image: desired
            .kubernetes_image
            .clone()
            .or(remembered.kubernetes_image),
        arguments,
        steps,
    }
}

fn converge(desired: &Desired, ours: Ours, mut steps: Vec<Step>) -> anyhow::Result<Plan> {
    let nodes = u16::try_from(ours.nodes.len()).unwrap_or(u16::MAX);
    refuse_difference(desired, &ours, nodes)?;
    let image = image(desired, &ours)?;
    let node = node(desired, &ours)?;
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
    let (without_image, hosts) = (some(ours.without_image), some(ours.without_hosts));
    let is_needed = |nodes: &Nodes| !matches!(nodes, Nodes::Some(none) if none.is_empty());
    if !stopped.is_empty() {
        steps.push(Step::StartNodes(stopped));
    }
    if !ours.has_context {
        steps.push(Step::ExportContext);
    }
    steps.push(Step::WaitForNodes);
    if image.is_none() && is_needed(&without_image) {
        steps.push(Step::ImportImage(without_image));
    }
    if is_needed(&hosts) && !asks_for_docker(desired.provider, &ours.arguments) {
        steps.push(Step::WriteHosts(hosts));
    }
    if node.is_some() && desired.provider.reaches_nodes() {
        steps.push(Step::MakeDataDirectory);
    }
    steps.push(Step::Install);
    steps.extend(desired.provider.entrance(ours.is_adopted).step());
    steps.push(Step::CheckHost);
    if image.is_none() {
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
        storage: ours.storage,
        data: ours.data,
        node,
        image,
        kubernetes_image: None,
        arguments: match desired.arguments.is_empty() {
            true => ours.arguments,
            false => desired.arguments.clone(),
        },
        steps,
    })
}

/// The image that the nodes have to come by themselves, where one is named: what is packed cannot be brought to nodes out of reach.
fn image(desired: &Desired, ours: &Ours) -> anyhow::Result<Option<String>> {
    if desired.provider.reaches_nodes() || desired.image.is_some() {
        return Ok(desired.image.clone());
    }
    match &ours.image {
        Some(image) => Ok(Some(image.clone())),
        None => Err(Code::Usage.error(
            "wharf cannot bring its image to the nodes of a cluster that it reaches by its API alone: name one that they have or can pull with --image (the README says under \"Without the command line\" how to build one)",
        )),
    }
}

/// The node that alone has the images: a directory of a node is on no other.
fn node(desired: &Desired, ours: &Ours) -> anyhow::Result<Option<String>> {
    if !ours.is_adopted || ours.storage != Storage::Host {
        return Ok(None);
    }
    let Some(node) = &ours.node else {
        return Ok(ours.nodes.first().map(|node| node.name.clone()));
    };
    if ours.nodes.iter().any(|there| there.name == *node) {
        return Ok(Some(node.clone()));
    }
    let name = &desired.name;
    Err(Code::Conflict.error(format!(
        "the images of {name} are in {} of node {node}, and there is no such node: bring it back, or begin anew with `wharf down --name {name}` and the same `wharf up` again",
        ours.data.display()
    )))
}

/// Port, nodes and storage are the cluster's from its making on: to change one means to make it anew, and that
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
    if let Some(wanted) = &desired.storage {
        let is_same = wanted.storage() == ours.storage
            && wanted
                .directory()
                .is_none_or(|directory| directory == ours.data);
        if !is_same {
            differences.push(format!(
                "its images are in {}, not in {wanted}",
                ours.storage.place(&ours.data)
            ));
        }
    }
    // Where nodes are to be started, it can be told something.
    let is_up = ours.nodes.iter().all(|node| node.is_running);
    if is_up && !desired.arguments.is_empty() && desired.arguments != ours.arguments {
        differences.push("it was not started with these arguments".to_owned());
    }
    if differences.is_empty() {
        return Ok(());
    }
    let anew = match ours.is_adopted {
        false => "make it anew",
        true => "take the registry out and put it in anew",
    };
    let kept = match ours.storage {
        Storage::EmptyDir => "the images go with it",
        Storage::Pvc if !ours.is_adopted => "the images go with the cluster",
        Storage::Pvc | Storage::Host => "down keeps the images where they are",
    };
    Err(Code::Conflict.error(format!(
        "cluster {name} is up already, and {}: leave the flag out to keep it, or {anew} with `wharf down --name {name}` and the same `wharf up` again ({kept})",
        differences.join("; ")
    )))
}

/// "1 node", "2 nodes".
pub(crate) fn count(nodes: u16) -> String {
    format!("{nodes} node{}", if nodes == 1 { "" } else { "s" })
}

impl Plan {
    /// What leads from the host's port into the cluster.
    pub(crate) fn entrance(&self) -> Entrance {
        self.provider.entrance(self.adopted)
    }

    /// Where the images are, as the end of a sentence.
    pub(crate) fn place(&self) -> String {
        let place = self.storage.place(&self.data);
        match &self.node {
            Some(node) => format!("{place} of node {node}"),
            None => place,
        }
    }
}

impl Entrance {
    /// The step that makes it; none where it is made with the cluster.
    fn step(self) -> Option<Step> {
        match self {
            Self::Node => None,
            Self::Door => Some(Step::OpenDoor),
            Self::Forward => Some(Step::Forward),
        }
    }
}

/// Whether a directory is none: the images are elsewhere.
fn is_none(directory: &Path) -> bool {
    directory.as_os_str().is_empty()
}
