//! Taking the steps. Each looks first, so that it can be taken again.

mod install;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use wharf_registry::client::Client;
use wharf_registry::oci::{Name, Reference};

use super::host::{ask_host, describe};
use super::observe::{Observed, has_context};
use super::{nodes, prove};
use crate::cli::UpArgs;
use crate::cluster::{Cluster, ClusterName, Entrance, Spec};
use crate::data;
use crate::docker::Docker;
use crate::door::{self, Door};
use crate::environment::{self, Home, Record, Stage};
use crate::exit::Code;
use crate::forward::{Kept, State};
use crate::image::{Image, NodeBinary};
use crate::kube::{Condition, Kube, wait_until};
use crate::names::IMAGE_REPOSITORY;
use crate::plan::{Nodes, Plan, Step};
use crate::port;

/// Who owns the images where they are on a node: nobody in particular.
const NODE_OWNER: (u32, u32) = (65532, 65532);
/// How long the published port may take after the relay behind it is ready.
const HOST_PATIENCE: Duration = Duration::from_secs(60);
/// How long the engine may take to finish what a former run had asked it for.
const ENGINE_PATIENCE: Duration = Duration::from_secs(30);

/// A run of `wharf up`, in the middle of its steps.
pub(super) struct Run<'a> {
    args: &'a UpArgs,
    name: &'a ClusterName,
    plan: &'a Plan,
    cluster: &'a dyn Cluster,
    home: &'a Home,
    architecture: String,
    binary: Option<NodeBinary>,
    packing: Option<JoinHandle<anyhow::Result<Image>>>,
    packed: Option<Image>,
    kube: Option<Kube>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        args: &'a UpArgs,
        name: &'a ClusterName,
        plan: &'a Plan,
        cluster: &'a dyn Cluster,
        home: &'a Home,
        observed: Observed,
    ) -> Self {
        let Observed {
            architecture,
            binary,
            ..
        } = observed;
        Self {
            args,
            name,
            plan,
            cluster,
            home,
            architecture,
            binary,
            packing: None,
            packed: None,
            kube: None,
        }
    }

    /// Takes a step.
    pub(super) async fn take(&mut self, step: &Step) -> anyhow::Result<()> {
        match step {
            Step::DeleteRemains => self.cluster.delete(self.home.lock()?).await,
            Step::CreateCluster => self.create_cluster().await,
            Step::Adopt => self.adopt().await,
            Step::MakeDataDirectory => self.make_data_directory().await,
            Step::OpenDoor => self.open_door().await,
            Step::Forward => self.start_forward().await,
            Step::StartNodes(nodes) => self.start_nodes(nodes).await,
            Step::ExportContext => self.export_context().await,
            Step::WaitForNodes => self.wait_for_nodes().await,
            Step::ImportImage(nodes) => self.import_image(nodes).await,
            Step::WriteHosts(nodes) => self.write_hosts(nodes).await,
            Step::Install => self.install().await,
            Step::CheckHost => self.check_host().await,
            Step::StoreImage => self.store_image().await,
            Step::Prove => self.prove().await,
        }
    }

    /// Makes the cluster, between an intent and a record on the host. A crash leaves
    ///
    /// - before the intent: nothing;
    /// - after it: the intent, and perhaps nodes younger than it, which the next run deletes and makes anew;
    /// - after the record: a whole cluster, which the next run goes on with.
    async fn create_cluster(&mut self) -> anyhow::Result<()> {
        self.begin_packing();
        if self.plan.entrance() == Entrance::Door {
            // One that is left of a cluster that was deleted without wharf has the port, and keeps the network.
            door::remove(self.docker()?, &door::name(self.name)).await?;
        }
        port::require_free(self.plan.port, self.cluster.engine()).await?;
        let data = data::prepare(&self.plan.data)?;
        let intent = self.record(
            Stage::Intended {
                since: environment::now(),
            },
            data.clone(),
        );
        self.home.write(&intent)?;
        let spec = Spec {
            nodes: self.plan.nodes,
            port: self.plan.port,
            has_ipv6: port::has_ipv6(),
            data: data.clone(),
            image: self.plan.kubernetes_image.clone(),
            arguments: self.plan.arguments.clone(),
            config: self.home.config(),
        };
        self.create_nodes(&spec, &intent).await?;
        let nodes = self.cluster.nodes().await?;
        let first = nodes
            .first()
            .context("the cluster was made, and has no nodes")?;
        self.home.write(&self.record(
            Stage::Created {
                first_node: first.id.clone(),
            },
            data,
        ))
    }

    /// Makes the nodes. After Ctrl-C the engine may still be making those of the former run, which nobody could see when
    /// this one looked: they fail the provider, and go as soon as they have come.
    async fn create_nodes(&self, spec: &Spec, intent: &Record) -> anyhow::Result<()> {
        let end = Instant::now() + ENGINE_PATIENCE;
        loop {
            let Err(error) = self.cluster.create(spec, self.home.lock()?).await else {
                return Ok(());
            };
            // The provider takes back what it has made itself, so that whatever is there is not of its making.
            let nodes = self.cluster.nodes().await?;
            let have_come = intent.left_half_made(&nodes);
            let will_come = nodes.is_empty() && self.cluster.is_name_taken(&error);
            if !(have_come || will_come) || Instant::now() >= end {
                return Err(error);
            }
            if have_come {
                self.cluster.delete(self.home.lock()?).await?;
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// What the provider was told at first it is told again, if nothing else is said.
    async fn start_nodes(&self, nodes: &[String]) -> anyhow::Result<()> {
        let lock = self.home.lock()?;
        self.cluster
            .start(nodes, &self.plan.arguments, lock)
            .await?;
        if let Some(record) = self.home.read()?
            && record.arguments != self.plan.arguments
        {
            self.home.write(&Record {
                arguments: self.plan.arguments.clone(),
                ..record
            })?;
        }
        Ok(())
    }

    /// Remembers a cluster that somebody else made, before anything is put into it.
    async fn adopt(&self) -> anyhow::Result<()> {
        // A forward may be there already, if it was started by hand, or outlived what it led to.
        if self.plan.entrance() != Entrance::Forward || self.forward().state()? != State::Runs {
            port::require_free(self.plan.port, self.cluster.engine()).await?;
        }
        let nodes = self.cluster.nodes().await?;
        let first = nodes.first().context("the cluster has no nodes")?;
        let stage = Stage::Adopted {
            first_node: first.id.clone(),
        };
        self.home.write(&self.record(stage, self.plan.data.clone()))
    }

    /// Makes a directory on the node with the images that the registry's user can write to. One with other things in it is refused, and
    /// one that is on a network.
    async fn make_data_directory(&self) -> anyhow::Result<()> {
        let node = self.plan.node.as_deref().context("no node was chosen")?;
        let path = self.plan.data.to_string_lossy();
        let (user, group) = NODE_OWNER;
        let owner = format!("{user}:{group}");
        let script = r#"mkdir -p "$1" && if [ -e "$1/$3" ] || [ -z "$(ls -A "$1")" ]; then chown "$2" "$1"; else echo occupied; fi"#;
        let make = ["sh", "-c", script, "sh", &path, &owner, data::MARK];
        let said = self.cluster.run_on(node, &make, None).await?;
        if !said.trim().is_empty() {
            return Err(Code::Conflict.error(format!(
                "{path} of node {node} is not empty, and what is in it is not a registry's: name another directory with --storage host:DIR"
            )));
        }
        let mounts = ["cat", "/proc/self/mountinfo"];
        let mounts = self.cluster.run_on(node, &mounts, None).await?;
        data::require_local_among(&mounts, &self.plan.data)
    }

    async fn open_door(&self) -> anyhow::Result<()> {
        let binary = self.binary.as_ref();
        let binary = binary.context("the door takes a binary of wharf")?;
        let node = self.first_node().await?;
        let door = Door::of(self.name, self.plan.port, &node);
        door.open(self.docker()?, binary).await
    }

    fn docker(&self) -> anyhow::Result<&Docker> {
        let engine = self.cluster.engine();
        engine.context("the cluster's nodes are containers of no engine")
    }

    /// Starts the forward, unless this machine is a node itself (k3s, as it comes): there the relay is at the port already.
    async fn start_forward(&mut self) -> anyhow::Result<()> {
        let kept = self.forward();
        if kept.state()? == State::Missing
            && let Ok(expected) = self.kube().await?.registry_health().await
        {
            let faces = ask_host(self.plan.port).await;
            if faces
                .iter()
                .all(|face| describe(face, Some(&expected)).is_ok())
            {
                return Ok(());
            }
        }
        kept.start().await
    }

    fn forward(&self) -> Kept {
        Kept::of(self.cluster.context(), self.plan.port)
    }

    async fn first_node(&self) -> anyhow::Result<String> {
        let names = self.names(&Nodes::All).await?;
        names.into_iter().next().context("the cluster has no nodes")
    }

    fn record(&self, stage: Stage, data: PathBuf) -> Record {
        Record {
            name: self.name.clone(),
            provider: self.plan.provider,
            stage,
            port: self.plan.port,
            nodes: self.plan.nodes,
            storage: self.plan.storage,
            data,
            context: (!self.plan.provider.reaches_nodes()).then(|| self.cluster.context()),
            node: self.plan.node.clone(),
            image: self.named_image(),
            kubernetes_image: self.plan.kubernetes_image.clone(),
            arguments: self.plan.arguments.clone(),
        }
    }

    async fn export_context(&self) -> anyhow::Result<()> {
        // Where the nodes stood still, it could not be seen whether the context is right.
        if has_context(&self.cluster.context(), &self.cluster.kubeconfig().await?) {
            return Ok(());
        }
        self.cluster.export_kubeconfig().await
    }

    async fn wait_for_nodes(&mut self) -> anyhow::Result<()> {
        let kube = self.kube().await?;
        let are_ready = Condition::NodesReady(self.plan.nodes.into());
        wait_until(&kube, are_ready, self.args.wait).await?;
        self.learn_architecture().await
    }

    /// The engine's architecture was a guess, the nodes' own is not.
    async fn learn_architecture(&mut self) -> anyhow::Result<()> {
        let nodes = self.kube().await?.nodes().await?;
        let architecture = nodes.into_iter().next().map(|node| node.architecture);
        if let Some(architecture) =
            architecture.filter(|architecture| *architecture != self.architecture)
        {
            if self.binary.is_some() {
                self.binary =
                    Some(NodeBinary::read(self.args.node_binary.clone(), &architecture).await?);
                self.packing = None;
            }
            self.architecture = architecture;
        }
        Ok(())
    }

    async fn import_image(&mut self, nodes: &Nodes) -> anyhow::Result<()> {
        self.learn_architecture().await?;
        let name = self.image_name()?;
        let mut without = Vec::new();
        for node in self.names(nodes).await? {
            if !nodes::has_image(self.cluster, &node, &name).await? {
                without.push(node);
            }
        }
        if without.is_empty() {
            return Ok(());
        }
        let image = self.packed().await?.clone();
        let archive = {
            let name = name.clone();
            tokio::task::spawn_blocking(move || image.archive(&name)).await??
        };
        try_join_all(
            without
                .iter()
                .map(|node| nodes::import(self.cluster, node, &name, archive.clone())),
        )
        .await?;
        Ok(())
    }

    async fn write_hosts(&mut self, nodes: &Nodes) -> anyhow::Result<()> {
        let nodes = self.names(nodes).await?;
        try_join_all(
            nodes
                .iter()
                .map(|node| nodes::write_hosts(self.cluster, node, self.plan.port)),
        )
        .await?;
        Ok(())
    }

    async fn check_host(&mut self) -> anyhow::Result<()> {
        let kube = self.kube().await?;
        let end = Instant::now() + HOST_PATIENCE;
        loop {
            let expected = kube.registry_health().await;
            let faces = ask_host(self.plan.port).await;
            let problems: Vec<String> = match &expected {
                Ok(expected) => faces
                    .iter()
                    .filter_map(|face| describe(face, Some(expected)).err())
                    .collect(),
                Err(error) => vec![format!("{error:#}")],
            };
            if problems.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(Code::Unhealthy.error(format!(
                    "from this host the registry cannot be used: {}",
                    problems.join("; ")
                )));
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn store_image(&mut self) -> anyhow::Result<()> {
        let Some(tag) = self.binary.as_ref().map(NodeBinary::tag) else {
            return Ok(());
        };
        let (client, name, tag): (Client, Name, Reference) =
            (self.client(), IMAGE_REPOSITORY.parse()?, tag.parse()?);
        if client.has_manifest(&name, &tag).await? {
            return Ok(());
        }
        let image = self.packed().await?;
        prove::push(&client, &name, &tag, image).await
    }

    async fn prove(&mut self) -> anyhow::Result<()> {
        let kube = self.kube().await?;
        let proof = prove::Proof {
            cluster: self.cluster,
            kube: &kube,
            client: self.client(),
            port: self.plan.port,
            architecture: &self.architecture,
        };
        let proved = proof.run(self.args.wait).await?;
        self.describe_environment(&kube, &proved.join(" ")).await
    }

    /// A client that goes the way of the host's own: through the published port.
    fn client(&self) -> Client {
        Client::new(std::net::SocketAddr::from(([127, 0, 0, 1], self.plan.port)))
    }

    async fn kube(&mut self) -> anyhow::Result<Kube> {
        if let Some(kube) = &self.kube {
            return Ok(kube.clone());
        }
        let kube = Kube::connect(&self.cluster.kubeconfig().await?).await?;
        self.kube = Some(kube.clone());
        Ok(kube)
    }

    /// Begins to pack the image beside what comes first, unless it is the user's own.
    fn begin_packing(&mut self) {
        if self.packing.is_none()
            && let Some(binary) = self.binary.clone()
        {
            let architecture = self.architecture.clone();
            let packing = async move { binary.pack(&architecture).await };
            self.packing = Some(tokio::spawn(packing));
        }
    }

    async fn packed(&mut self) -> anyhow::Result<&Image> {
        if self.packed.is_none() {
            self.begin_packing();
            let packing = self.packing.take();
            let packing =
                packing.context("the image is the user's own: there is nothing to pack")?;
            self.packed = Some(packing.await??);
        }
        self.packed.as_ref().context("the image was packed")
    }

    fn image_name(&self) -> anyhow::Result<String> {
        let named = self
            .plan
            .image
            .clone()
            .or_else(|| self.binary.as_ref().map(NodeBinary::image_name));
        named.context("there is neither a binary nor an image for the nodes")
    }

    async fn names(&self, nodes: &Nodes) -> anyhow::Result<Vec<String>> {
        match nodes {
            Nodes::Some(names) => Ok(names.clone()),
            Nodes::All => Ok(self
                .cluster
                .nodes()
                .await?
                .into_iter()
                .map(|node| node.name)
                .collect()),
        }
    }
}
