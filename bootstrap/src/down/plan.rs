//! What `wharf down` will do: from what was asked and what was found, the steps in order. Pure, as the plan of `up` is.

use std::path::PathBuf;

use serde::Serialize;

use super::Adopted;
use crate::cluster::{ClusterName, Node, Provider};
use crate::storage::Storage;

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What makes the cluster.
    pub(super) provider: Provider,
    /// What a cluster that wharf adopted has of it.
    pub(super) adopted: Option<Adopted>,
    /// The cluster's nodes.
    pub(super) nodes: Vec<Node>,
    /// Whether the host remembers a cluster, or what is left of one.
    pub(super) is_remembered: bool,
    /// Whether a container beside the nodes publishes the port.
    pub(super) has_door: bool,
    /// Whether ports of this machine lead into the cluster.
    pub(super) has_forwards: bool,
    /// What keeps the images of a cluster that wharf made.
    pub(super) storage: Storage,
    /// Where they are, or were, on this machine.
    pub(super) data: PathBuf,
    /// Whether there are any.
    pub(super) has_data: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Plan {
    /// What makes the cluster.
    pub(super) provider: Provider,
    /// Whether the cluster stays, because somebody else made it.
    pub(super) stays: bool,
    /// Where the images are.
    pub(super) data: PathBuf,
    /// The steps, in order.
    pub(super) steps: Vec<Step>,
}

/// One step. Each can be taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Step {
    /// Remove the container that publishes the port.
    CloseDoor,
    /// Stop what runs, and take wharf's files and its image off the nodes.
    ClearNodes,
    /// Take the registry out of the cluster.
    RemoveRegistry,
    /// Delete the images that are on a node.
    DeleteNodeImages,
    /// Delete the cluster.
    DeleteCluster,
    /// Remove what may be left of a cluster that has no nodes.
    DeleteRemains,
    /// End what leads into the cluster.
    StopForwards,
    /// Delete the images.
    DeleteImages,
}

/// Decides what to do.
pub(super) fn plan(purges: bool, deletes_cluster: bool, found: &Found) -> Plan {
    let stays = found.adopted.is_some() && !deletes_cluster;
    let mut steps = Vec::new();
    let mut when = |is_so: bool, step: Step| steps.extend(is_so.then_some(step));
    // Before the cluster: its network goes only when nothing is on it any more.
    when(stays || found.has_door, Step::CloseDoor);
    if stays {
        when(true, Step::ClearNodes);
        // What is in the namespace says that wharf was here.
        when(true, Step::RemoveRegistry);
        let are_on_a_node = |adopted: &Adopted| adopted.storage == Storage::Host;
        let has_images = found.adopted.as_ref().is_some_and(are_on_a_node);
        when(purges && has_images, Step::DeleteNodeImages);
    } else {
        when(!found.nodes.is_empty(), Step::DeleteCluster);
        let is_forgotten = found.nodes.is_empty() && found.is_remembered;
        when(is_forgotten, Step::DeleteRemains);
    }
    when(purges && found.has_forwards, Step::StopForwards);
    when(purges && !stays && found.has_data, Step::DeleteImages);
    let data = match &found.adopted {
        Some(adopted) if stays => adopted.data.clone(),
        _ => found.data.clone(),
    };
    Plan {
        provider: found.provider,
        stays,
        data,
        steps,
    }
}

impl Found {
    /// The node that has the images of an adopted cluster, where a directory of a node keeps them.
    pub(super) fn image_node<'a>(&'a self, adopted: &'a Adopted) -> Option<&'a str> {
        let first = || self.nodes.first().map(|node| node.name.as_str());
        adopted.node.as_deref().or_else(first)
    }
}

impl Step {
    /// What the step does, in a few words.
    pub(super) fn title(self, name: &ClusterName, found: &Found) -> String {
        match self {
            Self::CloseDoor => match &found.adopted {
                Some(adopted) => format!("Publish localhost:{} no more", adopted.port),
                None => "Publish the registry no more".to_owned(),
            },
            Self::ClearNodes => "Take wharf's image off the nodes".to_owned(),
            Self::RemoveRegistry => "Take the registry out of the cluster".to_owned(),
            Self::DeleteNodeImages => match &found.adopted {
                Some(adopted) => format!(
                    "Delete the images in {} of {}",
                    adopted.data.display(),
                    found.image_node(adopted).unwrap_or("a node")
                ),
                None => "Delete the images on a node".to_owned(),
            },
            Self::DeleteCluster => format!("Delete cluster {name}"),
            Self::DeleteRemains => format!("Delete what is left of cluster {name}"),
            Self::StopForwards => format!("End what leads into cluster {name}"),
            Self::DeleteImages => format!("Delete the images in {}", found.data.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adopted(storage: Storage) -> Adopted {
        Adopted {
            port: 5055,
            storage,
            data: "/var/lib/wharf".into(),
            node: None,
            image: None,
        }
    }

    fn found(adopted: Option<Adopted>, nodes: usize) -> Found {
        let node = |number| Node {
            name: format!("dev-{number}"),
            id: String::new(),
            is_running: true,
            created: 0,
            data: None,
        };
        Found {
            provider: Provider::Kind,
            has_door: adopted.is_some(),
            adopted,
            nodes: (0..nodes).map(node).collect(),
            is_remembered: true,
            has_forwards: true,
            storage: Storage::Host,
            data: "/data".into(),
            has_data: true,
        }
    }

    #[test]
    fn a_cluster_of_wharfs_is_deleted_and_its_images_stay() {
        let found = found(None, 2);
        assert_eq!(plan(false, false, &found).steps, [Step::DeleteCluster]);
        let purge = [Step::DeleteCluster, Step::StopForwards, Step::DeleteImages];
        assert_eq!(plan(true, false, &found).steps, purge);
    }

    #[test]
    fn a_cluster_of_somebody_else_stays() {
        let mut found = found(Some(adopted(Storage::Host)), 1);
        let leave = [Step::CloseDoor, Step::ClearNodes, Step::RemoveRegistry];
        assert_eq!(plan(false, false, &found).steps, leave);
        let purged = plan(true, false, &found);
        assert_eq!(purged.steps[..3], leave);
        assert_eq!(
            purged.steps[3..],
            [Step::DeleteNodeImages, Step::StopForwards]
        );
        assert!(purged.stays && purged.data.starts_with("/var/lib/wharf"));
        let deleted = plan(false, true, &found);
        assert_eq!(deleted.steps, [Step::CloseDoor, Step::DeleteCluster]);
        // A volume goes with its claim.
        found.adopted = Some(adopted(Storage::Pvc));
        assert_eq!(plan(true, false, &found).steps[3..], [Step::StopForwards]);
    }

    #[test]
    fn of_no_cluster_only_remains_are_deleted() {
        let mut found = found(None, 0);
        assert_eq!(plan(false, false, &found).steps, [Step::DeleteRemains]);
        found.is_remembered = false;
        assert_eq!(plan(false, false, &found).steps, []);
        found.has_forwards = false;
        assert_eq!(plan(true, false, &found).steps, [Step::DeleteImages]);
    }
}
