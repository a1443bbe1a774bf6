//! What is there: the found half of a plan.

use std::time::Duration;

use futures_util::future::try_join_all;
use kube::config::Kubeconfig;
use tokio::time::timeout;

use super::nodes;
use crate::cli::UpArgs;
use crate::cluster::{Cluster, Node};
use crate::docker::Docker;
use crate::environment::{self, Home, Record, Stage};
use crate::image::NodeBinary;
use crate::kube::{ClusterNode, Kube};
use crate::plan::{Found, Ours};

/// A control plane that does not answer within this is not there yet.
const API_PATIENCE: Duration = Duration::from_secs(10);

/// What was found, and what the steps need of it.
pub(super) struct Observed {
    pub(super) found: Found,
    /// The nodes' architecture.
    pub(super) architecture: String,
    /// The binary that the nodes will run; none if the user brings an image.
    pub(super) binary: Option<NodeBinary>,
}

/// Looks at everything, and changes nothing but the host's record of a cluster that says itself that it is wharf's.
pub(super) async fn observe(
    args: &UpArgs,
    docker: &Docker,
    cluster: &dyn Cluster,
    home: &Home,
) -> anyhow::Result<Observed> {
    let record = home.read()?;
    let nodes = cluster.nodes().await?;
    let api = if nodes.is_empty() {
        None
    } else {
        Api::ask(cluster).await
    };
    // A cluster that does not exist, or does not run, will have the architecture of its engine.
    let architecture = match api.as_ref().and_then(|api| api.nodes.first()) {
        Some(node) => node.architecture.clone(),
        None => docker.architecture().await?,
    };
    // Before anything is made: a program that cannot run on the nodes is refused now.
    let binary = match args.image {
        None => Some(NodeBinary::read(args.node_binary.clone(), &architecture).await?),
        Some(_) => None,
    };
    let found = find(args, cluster, home, record, nodes, api, binary.as_ref()).await?;
    Ok(Observed {
        found,
        architecture,
        binary,
    })
}

async fn find(
    args: &UpArgs,
    cluster: &dyn Cluster,
    home: &Home,
    record: Option<Record>,
    nodes: Vec<Node>,
    api: Option<Api>,
    binary: Option<&NodeBinary>,
) -> anyhow::Result<Found> {
    let name = &args.cluster.name;
    if nodes.is_empty() {
        let data =
            record.map_or_else(|| environment::default_data(name), |record| Ok(record.data))?;
        return Ok(Found::Nothing { data });
    }
    if let Some(record) = record
        .as_ref()
        .filter(|record| record.left_half_made(&nodes))
    {
        return Ok(Found::HalfMade {
            data: record.data.clone(),
        });
    }
    let record = match record.filter(|record| record.is_of(&nodes)) {
        Some(record) => record,
        // Another home, or a lost one: the cluster itself knows.
        None => match api.as_ref().and_then(|api| recovered(api, args, &nodes)) {
            Some(record) => {
                home.write(&record)?;
                record
            }
            None => return Ok(Found::Foreign),
        },
    };
    let image = args
        .image
        .is_none()
        .then(|| binary.map(NodeBinary::image_name))
        .flatten();
    let port = record.port;
    let (mut without_image, mut without_hosts) = (Vec::new(), Vec::new());
    if nodes.iter().all(|node| node.is_running) {
        let looked = nodes
            .iter()
            .map(|node| nodes::inspect(cluster, &node.name, image.as_deref(), port));
        for (node, equipment) in nodes.iter().zip(try_join_all(looked).await?) {
            without_image.extend((!equipment.has_image).then(|| node.name.clone()));
            without_hosts.extend((!equipment.has_hosts).then(|| node.name.clone()));
        }
    }
    Ok(Found::Ours(Ours {
        port,
        data: record.data,
        has_context: api
            .as_ref()
            .is_some_and(|api| has_context(&cluster.context(), &api.kubeconfig)),
        is_proved: api.as_ref().is_some_and(Api::is_proved),
        nodes,
        without_image,
        without_hosts,
    }))
}

/// What the cluster's own API says.
struct Api {
    kubeconfig: String,
    nodes: Vec<ClusterNode>,
    environment: std::collections::BTreeMap<String, String>,
}

impl Api {
    /// Asks; a cluster that stands still or is only starting has nothing to say.
    async fn ask(cluster: &dyn Cluster) -> Option<Self> {
        let ask = async {
            let kubeconfig = cluster.kubeconfig().await?;
            let kube = Kube::connect(&kubeconfig).await?;
            let (nodes, environment) = tokio::try_join!(kube.nodes(), kube.environment())?;
            let environment = environment.and_then(|map| map.data).unwrap_or_default();
            anyhow::Ok(Self {
                kubeconfig,
                nodes,
                environment,
            })
        };
        timeout(API_PATIENCE, ask).await.ok()?.ok()
    }

    fn is_proved(&self) -> bool {
        let proved: Vec<&str> = self
            .environment
            .get("proved")
            .map(|text| text.split_whitespace().collect())
            .unwrap_or_default();
        !self.nodes.is_empty()
            && self
                .nodes
                .iter()
                .all(|node| proved.contains(&node.uid.as_str()))
    }
}

/// The host's record, from the cluster's.
fn recovered(api: &Api, args: &UpArgs, nodes: &[Node]) -> Option<Record> {
    is_made_by_wharf(&api.environment).then_some(())?;
    Some(Record {
        name: args.cluster.name.clone(),
        stage: Stage::Created {
            first_node: nodes.first()?.id.clone(),
        },
        port: api.environment.get("port")?.parse().ok()?,
        nodes: u16::try_from(nodes.len()).ok()?,
        data: api.environment.get("data")?.into(),
    })
}

/// Whether a cluster says of itself that wharf made it.
pub(crate) fn is_made_by_wharf(environment: &std::collections::BTreeMap<String, String>) -> bool {
    environment
        .get("createdBy")
        .is_some_and(|by| by == crate::names::MANAGER)
}

/// Whether the user's kubeconfig has a context that leads to the cluster of `kubeconfig`, and not to a former one.
pub(crate) fn has_context(context: &str, kubeconfig: &str) -> bool {
    let target = |kubeconfig: Kubeconfig| {
        let named = kubeconfig
            .contexts
            .into_iter()
            .find(|named| named.name == context)?
            .context?
            .cluster;
        let cluster = kubeconfig
            .clusters
            .into_iter()
            .find(|cluster| cluster.name == named)?
            .cluster?;
        Some((cluster.server, cluster.certificate_authority_data))
    };
    let theirs = Kubeconfig::read().ok().and_then(target);
    theirs.is_some() && theirs == Kubeconfig::from_yaml(kubeconfig).ok().and_then(target)
}
