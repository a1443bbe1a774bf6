//! The cluster's API: what is applied to it, and waiting until it is true.

mod apply;
mod behind;
mod forward;
mod leaving;
mod manifests;
mod ports;
mod wait;
mod wide;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use anyhow::Context;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tower::ServiceBuilder;

use crate::exit::Code;
use crate::health::Health;
use crate::names::{ENVIRONMENT, NAMESPACE, REGISTRY, RELAY, SERVICE_PORT};
use crate::resolve::resolve;
pub(crate) use forward::{Kind, Messages, Place, Port, Target, Tunnel};
pub(crate) use leaving::Leaving;
pub(crate) use manifests::{Manifests, Volume, environment, probe_pod};
pub(crate) use wait::{Condition, wait_until};
pub(crate) use wide::{PIECE, poll_read_piece};

/// The label of the control plane's nodes.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// How long a connection may be silent before the API server is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A cluster's API.
#[derive(Clone)]
pub(crate) struct Kube {
    client: Client,
}

/// A node, as its cluster sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterNode {
    /// Its name.
    pub(crate) name: String,
    /// What identifies it.
    pub(crate) uid: String,
    /// When it was made, in seconds since 1970.
    pub(crate) created: i64,
    /// Whether it is one of the control plane's.
    pub(crate) is_control_plane: bool,
    /// `amd64`, `arm64`.
    pub(crate) architecture: String,
    /// Whether its kubelet says that it can run pods.
    pub(crate) is_ready: bool,
}

impl Kube {
    /// Connects by a kubeconfig's current context.
    pub(crate) async fn connect(kubeconfig: &str) -> anyhow::Result<Self> {
        let kubeconfig =
            Kubeconfig::from_yaml(kubeconfig).context("reading the cluster's kubeconfig")?;
        let config = config(kubeconfig, KubeConfigOptions::default()).await?;
        Self::of(config, None)
    }

    /// Connects by a context of the user's own kubeconfig.
    pub(crate) async fn of_context(context: &str) -> anyhow::Result<Self> {
        Self::of(config_of(context).await?, None)
    }

    /// The same for whoever moves much: past Docker's proxy, where there is one on the way.
    pub(crate) async fn past_docker(context: &str) -> anyhow::Result<Self> {
        let config = config_of(context).await?;
        let container = behind::published(&config.cluster_url).await;
        Self::of(config, container)
    }

    fn of(config: Config, container: Option<SocketAddr>) -> anyhow::Result<Self> {
        Ok(Self {
            client: client(config, container)?,
        })
    }

    /// The namespace of what is named without one.
    pub(crate) fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// The cluster's nodes.
    pub(crate) async fn nodes(&self) -> anyhow::Result<Vec<ClusterNode>> {
        let nodes = Api::<Node>::all(self.client.clone())
            .list(&ListParams::default())
            .await
            .context("listing the cluster's nodes")?;
        Ok(nodes.items.into_iter().map(ClusterNode::from).collect())
    }

    /// What the environment says about itself in the cluster; nothing if wharf was never here.
    pub(crate) async fn environment(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        let map = maps
            .get_opt(ENVIRONMENT)
            .await
            .context("reading the environment's record in the cluster")?;
        Ok(map.and_then(|map| map.data).unwrap_or_default())
    }

    /// Which version of what runs is wished for, as one word: it changes whenever somebody changes what they wish for.
    pub(crate) async fn applied(&self) -> anyhow::Result<String> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let sets: Api<DaemonSet> = Api::namespaced(self.client.clone(), NAMESPACE);
        let (registry, relay) = tokio::try_join!(
            deployments.get_metadata_opt(REGISTRY),
            sets.get_metadata_opt(RELAY)
        )
        .context("looking at what runs in the cluster")?;
        let version = |object: Option<ObjectMeta>| {
            let object = object?;
            Some(format!("{}/{}", object.uid?, object.generation?))
        };
        let versions = [
            version(registry.map(|registry| registry.metadata)),
            version(relay.map(|relay| relay.metadata)),
        ];
        Ok(versions.map(Option::unwrap_or_default).join(" "))
    }

    /// What the cluster says about its registry (KEP-1755).
    pub(crate) async fn hosting(&self) -> anyhow::Result<Option<String>> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), "kube-public");
        let map = maps
            .get_opt("local-registry-hosting")
            .await
            .context("reading what the cluster says about its registry")?;
        Ok(map.and_then(|map| map.data?.remove("localRegistryHosting.v1")))
    }

    /// The address of the registry's Service.
    pub(crate) async fn registry_address(&self) -> anyhow::Result<SocketAddr> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), NAMESPACE);
        let service = services
            .get(REGISTRY)
            .await
            .context("reading the registry's Service")?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .and_then(|ip| ip.parse().ok());
        Ok(SocketAddr::new(
            address.context("the registry's Service has no address")?,
            SERVICE_PORT,
        ))
    }

    /// What the registry says about itself, asked through the API server: not through the relays or the host's port.
    pub(crate) async fn registry_health(&self) -> anyhow::Result<Health> {
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/services/{REGISTRY}:{SERVICE_PORT}/proxy/healthz"
        );
        let request = http::Request::get(path).body(Vec::new())?;
        self.client
            .request(request)
            .await
            .context("asking the registry through the cluster's API")
    }
}

impl From<Node> for ClusterNode {
    fn from(node: Node) -> Self {
        let status = node.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        Self {
            name: node.metadata.name.unwrap_or_default(),
            uid: node.metadata.uid.unwrap_or_default(),
            created: node
                .metadata
                .creation_timestamp
                .map(|time| time.0.as_second())
                .unwrap_or_default(),
            is_control_plane: node
                .metadata
                .labels
                .is_some_and(|labels| labels.contains_key(CONTROL_PLANE)),
            architecture: status.node_info.unwrap_or_default().architecture,
            is_ready: conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        }
    }
}

/// What a context of the user's own kubeconfig says.
async fn config_of(context: &str) -> anyhow::Result<Config> {
    let kubeconfig = Kubeconfig::read().map_err(|error| {
        Code::Prerequisite.error(format!(
            "the kubeconfig cannot be read ({error}): name one with KUBECONFIG, in which there is a context {context}"
        ))
    })?;
    if !kubeconfig
        .contexts
        .iter()
        .any(|named| named.name == context)
    {
        let has: Vec<&str> = kubeconfig
            .contexts
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        return Err(Code::NotFound.error(format!(
            "the kubeconfig has no context {context}: name one with --context (it has: {})",
            has.join(", ")
        )));
    }
    let options = KubeConfigOptions {
        context: Some(context.to_owned()),
        ..KubeConfigOptions::default()
    };
    config(kubeconfig, options).await
}

async fn config(kubeconfig: Kubeconfig, options: KubeConfigOptions) -> anyhow::Result<Config> {
    // Someone else may have installed one before; it is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .context("reading the cluster's kubeconfig")
}

/// A client like kube's own, but for the resolver (decision 001) and a container's address to try first.
fn client(config: Config, container: Option<SocketAddr>) -> anyhow::Result<Client> {
    let mut http = HttpConnector::new_with_resolver(Resolver);
    http.enforce_http(false);
    http.set_connect_timeout(config.connect_timeout);
    // What is forwarded may be silent for hours; an API server that has gone is noticed all the same.
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(KEEPALIVE));
    http.set_keepalive_retries(Some(4));
    let https = config
        .rustls_https_connector_with_connector(wide::Wide(behind::Behind::new(http, container)))
        .context("setting up TLS for the cluster's API")?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(
            config
                .auth_layer()
                .context("setting up authentication for the cluster's API")?,
        )
        .map_err(tower::BoxError::from)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https));
    Ok(Client::new(service, config.default_namespace))
}

/// Resolves the names of API servers.
#[derive(Debug, Clone, Copy)]
struct Resolver;

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = resolve(name.as_str())
                .await
                .map_err(std::io::Error::other)?;
            // The connector puts the port in.
            Ok(found
                .into_iter()
                .map(|ip| SocketAddr::new(ip, 0))
                .collect::<Vec<_>>()
                .into_iter())
        })
    }
}
