//! What is there: the found half of a plan.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use kube::config::{Cluster as KubeCluster, Kubeconfig};
use tokio::time::timeout;

use super::nodes;
use crate::cli::UpArgs;
use crate::cluster::{Cluster, ClusterName, Node, Provider};
use crate::docker::Docker;
use crate::environment::{self, Home, Record, Stage};
use crate::image::NodeBinary;
use crate::kube::{ClusterNode, Kube};
use crate::names::{ADOPTED_BY, CREATED_BY, MANAGER, NODE_DATA};
use crate::plan::{DEFAULT_PORT, Found, Ours, Remembered};

/// A control plane that does not answer within this is not there yet.
const API_PATIENCE: Duration = Duration::from_secs(10);

/// What was found, and what the steps need of it.
pub(super) struct Observed {
    pub(super) found: Found,
    /// The host's record of a cluster that itself says that it is wharf's, where the host had none.
    pub(super) recovered: Option<Record>,
    /// The nodes' architecture.
    pub(super) architecture: String,
    /// The binary that the nodes will run; none if the user brings an image.
    pub(super) binary: Option<NodeBinary>,
}

/// Looks at everything, and changes nothing.
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
    if let Some(api) = &api {
        let name = args.cluster.name.as_str();
        let recorded = record.as_ref().map(|record| record.port);
        let port = args.port.or(recorded).unwrap_or(DEFAULT_PORT);
        api.kube.require_node_port(port, name).await?;
    }
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
    let (found, recovered) = find(args, cluster, record, nodes, api, binary.as_ref()).await?;
    Ok(Observed {
        found,
        recovered,
        architecture,
        binary,
    })
}

async fn find(
    args: &UpArgs,
    cluster: &dyn Cluster,
    record: Option<Record>,
    nodes: Vec<Node>,
    api: Option<Api>,
    binary: Option<&NodeBinary>,
) -> anyhow::Result<(Found, Option<Record>)> {
    let name = &args.cluster.name;
    let mut recovered = None;
    if nodes.is_empty() {
        return Ok((Found::Nothing(remembered(record, name)?), None));
    }
    if record
        .as_ref()
        .is_some_and(|record| record.left_half_made(&nodes))
    {
        return Ok((Found::HalfMade(remembered(record, name)?), None));
    }
    let record = match record.filter(|record| record.is_of(&nodes)) {
        Some(record) => Some(record),
        // Another home, or a lost one: the cluster itself knows.
        None => {
            let provider = cluster.provider();
            recovered = api
                .as_ref()
                .and_then(|api| recover(api, args, provider, &nodes));
            recovered.clone()
        }
    };
    let is_foreign = record.is_none();
    let (is_adopted, port, data, arguments) = match record {
        Some(record) => (
            record.is_adopted(),
            record.port,
            record.data,
            record.arguments,
        ),
        None => (
            true,
            args.port.unwrap_or(DEFAULT_PORT),
            NODE_DATA.into(),
            Vec::new(),
        ),
    };
    if is_foreign && !args.adopt {
        return Ok((Found::Foreign(Ours::default()), None));
    }
    let image = args
        .image
        .is_none()
        .then(|| binary.map(NodeBinary::image_name))
        .flatten();
    let (mut without_image, mut without_hosts) = (Vec::new(), Vec::new());
    if nodes.iter().all(|node| node.is_running) {
        let looked = nodes
            .iter()
            .map(|node| nodes::inspect(cluster, &node.name, image.as_deref(), port));
        for (node, equipment) in nodes.iter().zip(try_join_all(looked).await?) {
            without_image.extend((!equipment.has_image).then(|| node.name.clone()));
            // Where wharf has not told containerd so itself, it may read no such file; then none is written.
            let is_told = !is_adopted && cluster.provider() == Provider::Kind;
            let is_read = is_told || nodes::reads_hosts(cluster, &node.name).await?;
            without_hosts.extend((is_read && !equipment.has_hosts).then(|| node.name.clone()));
        }
    }
    let ours = Ours {
        is_adopted,
        port,
        data,
        arguments,
        has_context: api
            .as_ref()
            .is_some_and(|api| has_context(&cluster.context(), &api.kubeconfig)),
        is_proved: api.as_ref().is_some_and(Api::is_proved),
        nodes,
        without_image,
        without_hosts,
    };
    Ok(match is_foreign {
        true => (Found::Foreign(ours), None),
        false => (Found::Ours(ours), recovered),
    })
}

/// What the host's record says of a cluster that is to be made. Wishes are those of a run that did not finish.
fn remembered(record: Option<Record>, name: &ClusterName) -> anyhow::Result<Remembered> {
    Ok(match record {
        Some(Record {
            stage: Stage::Intended { .. },
            port,
            nodes,
            data,
            kubernetes_image,
            arguments,
            ..
        }) => Remembered {
            data,
            port: Some(port),
            nodes: Some(nodes),
            kubernetes_image,
            arguments,
        },
        Some(record) => Remembered {
            data: record.data,
            arguments: record.arguments,
            ..Remembered::default()
        },
        None => Remembered {
            data: environment::default_data(name)?,
            ..Remembered::default()
        },
    })
}

/// What the cluster's own API says.
struct Api {
    kubeconfig: String,
    kube: Kube,
    nodes: Vec<ClusterNode>,
    environment: BTreeMap<String, String>,
}

impl Api {
    /// Asks; a cluster that stands still or is only starting has nothing to say.
    async fn ask(cluster: &dyn Cluster) -> Option<Self> {
        let ask = async {
            let kubeconfig = cluster.kubeconfig().await?;
            let kube = Kube::connect(&kubeconfig).await?;
            let (nodes, environment) = tokio::try_join!(kube.nodes(), kube.environment())?;
            anyhow::Ok(Self {
                kubeconfig,
                kube,
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
fn recover(api: &Api, args: &UpArgs, provider: Provider, nodes: &[Node]) -> Option<Record> {
    let first_node = nodes.first()?.id.clone();
    let stage = match api.environment.get(ADOPTED_BY) {
        Some(_) => Stage::Adopted { first_node },
        None if is_made_by_wharf(&api.environment) => Stage::Created { first_node },
        None => return None,
    };
    Some(Record {
        name: args.cluster.name.clone(),
        provider,
        stage,
        port: api.environment.get("port")?.parse().ok()?,
        nodes: u16::try_from(nodes.len()).ok()?,
        data: api.environment.get("data")?.into(),
        kubernetes_image: None,
        arguments: Vec::new(),
    })
}

/// Whether a cluster says of itself that wharf made it.
pub(crate) fn is_made_by_wharf(environment: &BTreeMap<String, String>) -> bool {
    environment.get(CREATED_BY).is_some_and(|by| by == MANAGER)
}

/// Whether a cluster says of itself that wharf's registry is in it.
pub(crate) fn is_used_by_wharf(environment: &BTreeMap<String, String>) -> bool {
    is_made_by_wharf(environment) || environment.contains_key(ADOPTED_BY)
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
        kubeconfig
            .clusters
            .into_iter()
            .find(|cluster| cluster.name == named)?
            .cluster
    };
    let theirs = Kubeconfig::read().ok().and_then(target);
    let ours = Kubeconfig::from_yaml(kubeconfig).ok().and_then(target);
    match (theirs, ours) {
        (Some(theirs), Some(ours)) => is_the_same(&theirs, &ours),
        _ => false,
    }
}

/// One address, and one certificate: as a file or in itself. Of which form it is, is the user's choice with minikube.
fn is_the_same(one: &KubeCluster, other: &KubeCluster) -> bool {
    let differ = |one: &Option<String>, other: &Option<String>| {
        one.is_some() && other.is_some() && one != other
    };
    one.server == other.server
        && !differ(
            &one.certificate_authority_data,
            &other.certificate_authority_data,
        )
        && !differ(&one.certificate_authority, &other.certificate_authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_leads_to_one_cluster() {
        let cluster = |server: &str, data: Option<&str>, file: Option<&str>| KubeCluster {
            server: Some(server.to_owned()),
            certificate_authority_data: data.map(str::to_owned),
            certificate_authority: file.map(str::to_owned),
            ..KubeCluster::default()
        };
        let ours = cluster("https://192.168.49.2:8443", None, Some("/home/ann/ca.crt"));
        assert!(is_the_same(&ours, &ours));
        let embedded = cluster("https://192.168.49.2:8443", Some("LS0="), None);
        assert!(is_the_same(&ours, &embedded));
        for other in [
            cluster("https://192.168.49.3:8443", None, Some("/home/ann/ca.crt")),
            cluster("https://192.168.49.2:8443", None, Some("/home/bob/ca.crt")),
        ] {
            assert!(!is_the_same(&ours, &other), "{other:?}");
        }
        let other = cluster("https://192.168.49.2:8443", Some("AAA="), None);
        assert!(!is_the_same(&embedded, &other));
    }
}
