//! What is there: the found half of a plan.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use kube::config::{Cluster as KubeCluster, Kubeconfig};
use serde_json::json;
use tokio::time::timeout;

use super::nodes;
use crate::cli::UpArgs;
use crate::cluster::{Cluster, ClusterName, Node, Provider};
use crate::environment::{self, Home, Record, Stage};
use crate::exit::Code;
use crate::image::NodeBinary;
use crate::kube::{ClusterNode, Kube};
use crate::names::{ADOPTED_BY, CREATED_BY, MANAGER, NODE_DATA};
use crate::plan::{DEFAULT_PORT, Found, Ours, Remembered};
use crate::storage::Storage;

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
    name: &ClusterName,
    cluster: &dyn Cluster,
    home: &Home,
) -> anyhow::Result<Observed> {
    let record = home.read()?;
    let nodes = cluster.nodes().await?;
    let api = match (nodes.is_empty(), cluster.engine()) {
        (true, _) => None,
        // A cluster that stands still or is only starting has nothing to say.
        (false, Some(_)) => Api::ask(cluster).await.ok(),
        // Of others nothing is known but what they say.
        (false, None) => Some(Api::ask(cluster).await?),
    };
    if let Some(api) = &api {
        let name = name.as_str();
        let recorded = record.as_ref().map(|record| record.port);
        let port = args.port.or(recorded).unwrap_or(DEFAULT_PORT);
        api.kube.require_node_port(port, name).await?;
    }
    // A cluster that does not exist, or does not run, will have the architecture of its engine.
    let node = api.as_ref().and_then(|api| api.nodes.first());
    let architecture = match (node, cluster.engine()) {
        (Some(node), _) => node.architecture.clone(),
        (None, Some(docker)) => docker.architecture().await?,
        (None, None) => {
            let context = cluster.context();
            let text = format!("the cluster of context {context} has no nodes: add one");
            return Err(Code::Unhealthy.error(text));
        }
    };
    // Before anything is made: a program that cannot run on the nodes is refused now.
    let binary = match args.image {
        None if cluster.provider().reaches_nodes() => {
            Some(NodeBinary::read(args.node_binary.clone(), &architecture).await?)
        }
        _ => None,
    };
    let looked = Looked {
        args,
        name,
        cluster,
        nodes,
        api,
    };
    let (found, recovered) = looked.find(record, binary.as_ref()).await?;
    Ok(Observed {
        found,
        recovered,
        architecture,
        binary,
    })
}

/// What was seen of a cluster, before it is known whose it is.
struct Looked<'a> {
    args: &'a UpArgs,
    name: &'a ClusterName,
    cluster: &'a dyn Cluster,
    nodes: Vec<Node>,
    api: Option<Api>,
}

impl Looked<'_> {
    async fn find(
        self,
        record: Option<Record>,
        binary: Option<&NodeBinary>,
    ) -> anyhow::Result<(Found, Option<Record>)> {
        let nodes = &self.nodes;
        if nodes.is_empty() {
            return Ok((Found::Nothing(remembered(record, self.name)?), None));
        }
        if record
            .as_ref()
            .is_some_and(|record| record.left_half_made(nodes))
        {
            return Ok((Found::HalfMade(remembered(record, self.name)?), None));
        }
        let (live, former) = match record {
            Some(record) if record.is_of(nodes) => (Some(record), None),
            other => (None, other),
        };
        if let Some(live) = live {
            return Ok((Found::Ours(self.ours(live, binary).await?), None));
        }
        // Another home, or a lost one: the cluster itself knows.
        if let Some(recovered) = self.recover()? {
            let ours = self.ours(recovered.clone(), binary).await?;
            return Ok((Found::Ours(ours), Some(recovered)));
        }
        if !self.args.adopt {
            return Ok((Found::Foreign(Ours::default()), None));
        }
        let found = self.ours(self.foreign(former), binary).await?;
        Ok((Found::Foreign(found), None))
    }

    /// What a cluster of somebody else gets where nothing else is said: what it had before, if it is known that it had something.
    fn foreign(&self, former: Option<Record>) -> Record {
        let provider = self.cluster.provider();
        let former = former.filter(|former| former.provider == provider);
        let storage = match provider.reaches_nodes() {
            true => Storage::Host,
            false => Storage::Pvc,
        };
        let stage = Stage::Adopted {
            first_node: String::new(),
        };
        let data = PathBuf::from(NODE_DATA);
        let (port, storage, data, node, image) = match former {
            Some(former) if !provider.reaches_nodes() => (
                former.port,
                former.storage,
                former.data,
                former.node,
                former.image,
            ),
            _ => (DEFAULT_PORT, storage, data, None, None),
        };
        Record {
            name: self.name.clone(),
            provider,
            stage,
            port: self.args.port.unwrap_or(port),
            nodes: 0,
            storage,
            data,
            context: None,
            node,
            image,
            kubernetes_image: None,
            arguments: Vec::new(),
        }
    }

    /// How far a cluster is from what it should be.
    async fn ours(&self, record: Record, binary: Option<&NodeBinary>) -> anyhow::Result<Ours> {
        let (cluster, port) = (self.cluster, record.port);
        let is_adopted = record.is_adopted();
        let image = self
            .args
            .image
            .is_none()
            .then(|| binary.map(NodeBinary::image_name))
            .flatten();
        let (mut without_image, mut without_hosts) = (Vec::new(), Vec::new());
        if self.nodes.iter().all(|node| node.is_running) {
            let looked = self
                .nodes
                .iter()
                .map(|node| nodes::inspect(cluster, &node.name, image.as_deref(), port));
            for (node, equipment) in self.nodes.iter().zip(join_all(looked).await) {
                // What runs its containers may only be starting, after a run that was killed when it had started the node. Nothing
                // is known of it then: it gets everything when it is ready, and each step skips what is right.
                let Ok(equipment) = equipment else {
                    without_image.extend(image.is_some().then(|| node.name.clone()));
                    without_hosts.push(node.name.clone());
                    continue;
                };
                without_image.extend((!equipment.has_image).then(|| node.name.clone()));
                // Where wharf has not told containerd so itself, it may read no such file; then none is written.
                let is_told = !is_adopted && cluster.provider() == Provider::Kind;
                let is_read = is_told || nodes::reads_hosts(cluster, &node.name).await?;
                without_hosts.extend((is_read && !equipment.has_hosts).then(|| node.name.clone()));
            }
        }
        let api = self.api.as_ref();
        Ok(Ours {
            is_adopted,
            port,
            storage: record.storage,
            data: record.data,
            node: record.node,
            image: record.image,
            arguments: record.arguments,
            has_context: api.is_some_and(|api| has_context(&cluster.context(), &api.kubeconfig)),
            is_proved: api.is_some_and(Api::is_proved),
            nodes: self.nodes.clone(),
            without_image,
            without_hosts,
        })
    }

    /// The host's record, from the cluster's.
    fn recover(&self) -> anyhow::Result<Option<Record>> {
        let Some(api) = &self.api else {
            return Ok(None);
        };
        let said = &api.environment;
        if !is_used_by_wharf(said) {
            return Ok(None);
        }
        require_same_way(said, self.cluster)?;
        Ok(self.record_of(said))
    }

    fn record_of(&self, said: &BTreeMap<String, String>) -> Option<Record> {
        let first_node = self.nodes.first()?.id.clone();
        let stage = match said.get(ADOPTED_BY) {
            Some(_) => Stage::Adopted { first_node },
            None => Stage::Created { first_node },
        };
        let provider = self.cluster.provider();
        // Words that this wharf does not know are a newer one's.
        let storage = match said.get("storage") {
            Some(word) => serde_json::from_value(json!(word)).ok()?,
            None => Storage::Host,
        };
        Some(Record {
            name: self.name.clone(),
            provider,
            stage,
            port: said.get("port")?.parse().ok()?,
            nodes: u16::try_from(self.nodes.len()).ok()?,
            storage,
            data: said.get("data").map(PathBuf::from).unwrap_or_default(),
            context: (!provider.reaches_nodes()).then(|| self.cluster.context()),
            node: said.get("node").cloned(),
            image: said.get("image").cloned(),
            kubernetes_image: None,
            arguments: Vec::new(),
        })
    }
}

/// Fails on a cluster whose registry was put there from its other side: what publishes the port, and what is on the nodes, would be
/// taken away from under it.
fn require_same_way(said: &BTreeMap<String, String>, cluster: &dyn Cluster) -> anyhow::Result<()> {
    let is_by_api = said.get("provider").is_some_and(|by| by == "existing");
    let context = cluster.context();
    match (is_by_api, cluster.provider().reaches_nodes()) {
        (false, false) => Err(Code::Conflict.error(format!(
            "the cluster of context {context} has a registry of wharf's that was brought up where its nodes can be reached: use `wharf` there, and here `wharf forward start --provider existing --context {context}`"
        ))),
        (true, true) => Err(Code::Conflict.error(format!(
            "this cluster has a registry of wharf's that was brought up by its API alone: go on with `--provider existing --context {context}`"
        ))),
        _ => Ok(()),
    }
}

/// What the host's record says of a cluster that is to be made. Wishes are those of a run that did not finish.
fn remembered(record: Option<Record>, name: &ClusterName) -> anyhow::Result<Remembered> {
    Ok(match record {
        Some(Record {
            stage: Stage::Intended { .. } | Stage::Deleting { .. },
            port,
            nodes,
            storage,
            data,
            kubernetes_image,
            arguments,
            ..
        }) => Remembered {
            storage,
            data,
            port: Some(port),
            nodes: Some(nodes),
            kubernetes_image,
            arguments,
        },
        Some(record) => Remembered {
            storage: record.storage,
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
    /// Asks.
    async fn ask(cluster: &dyn Cluster) -> anyhow::Result<Self> {
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
        let said = timeout(API_PATIENCE, ask).await;
        said.context("the cluster's API does not answer")?
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
