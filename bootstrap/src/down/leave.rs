//! Taking the registry out of a cluster that somebody else made: everything that wharf put there goes, nothing else does.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::{Adopted, Run};
use crate::cluster::{Cluster, ClusterName};
use crate::data;
use crate::exit::Code;
use crate::kube::{Condition, Kube, Manifests, environment, wait_until};
use crate::names::NODE_DATA;
use crate::storage::Storage;
use crate::up::{forget_hosts, forget_image};

/// How long the cluster may take to end what runs in it.
const PATIENCE: Duration = Duration::from_secs(120);

impl Run<'_> {
    fn left(&self) -> anyhow::Result<&Adopted> {
        let adopted = self.found.adopted.as_ref();
        adopted.context("the cluster was not adopted")
    }

    async fn kube(&self) -> anyhow::Result<Kube> {
        Kube::connect(&self.cluster.kubeconfig().await?).await
    }

    pub(super) async fn clear_nodes(&self) -> anyhow::Result<()> {
        let port = self.left()?.port;
        // First: the Docker Engine of a node keeps an image of which something runs, without its name, and then for ever.
        stop(&self.kube().await?).await?;
        for node in &self.found.nodes {
            forget_hosts(self.cluster, &node.name, port).await?;
            forget_image(self.cluster, &node.name, port).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_registry(&self) -> anyhow::Result<()> {
        let kube = self.kube().await?;
        let keeps_claim = self.left()?.storage == Storage::Pvc && !self.args.purge;
        remove_objects(&kube, self.args.purge, keeps_claim).await
    }

    pub(super) async fn delete_node_images(&self) -> anyhow::Result<()> {
        let adopted = self.left()?;
        match self.found.image_node(adopted) {
            Some(node) => purge(self.cluster, node, &adopted.data).await,
            None => Ok(()),
        }
    }
}

/// Where the images of a registry are that was taken out, as the end of a sentence.
pub(super) fn what_is_kept(name: &ClusterName, purges: bool, what: &Adopted) -> String {
    match (purges, what.storage) {
        (true, _) | (_, Storage::EmptyDir) => "and so are its images".to_owned(),
        (false, storage) => format!(
            "its images are kept in {}{}: `wharf up --name {name} --adopt{}` has them again",
            storage.place(&what.data),
            match storage {
                Storage::Host => " of a node of the cluster",
                _ => "",
            },
            again(what)
        ),
    }
}

/// The flag that says where the images are, where it is not what is meant without.
fn again(what: &Adopted) -> String {
    match what.storage {
        Storage::Host if what.data == Path::new(NODE_DATA) => String::new(),
        Storage::Host => format!(" --storage host:{}", what.data.display()),
        Storage::Pvc => " --storage pvc".to_owned(),
        Storage::EmptyDir => " --storage emptydir".to_owned(),
    }
}

/// Deletes a directory of a node, if it is a registry's. What says that it is goes last, as on the host.
async fn purge(cluster: &dyn Cluster, node: &str, data: &Path) -> anyhow::Result<()> {
    let path = data.to_string_lossy();
    let script = r#"if [ ! -e "$1" ]; then :; elif [ -e "$1/$2" ] || [ -z "$(ls -A "$1")" ]; then for entry in "$1"/* "$1"/.[!.]*; do [ "$entry" = "$1/$2" ] || rm -rf "$entry"; done; rm -rf "$1"; else echo occupied; fi"#;
    let purge = ["sh", "-c", script, "sh", &path, data::MARK];
    let said = cluster.run_on(node, &purge, None).await?;
    if said.trim().is_empty() {
        return Ok(());
    }
    Err(Code::Conflict.error(format!(
        "{path} of node {node} is not a registry's directory (no {} in it): it was not deleted",
        data::MARK
    )))
}

/// Removes what runs in the cluster and what says that it does. The last to go says that wharf was here: the namespace, or the
/// environment's own description, where a claim is to stay.
pub(super) async fn remove_objects(
    kube: &Kube,
    purges: bool,
    keeps_claim: bool,
) -> anyhow::Result<()> {
    for object in Manifests::without_registry()? {
        match purges {
            true => kube.delete(&object).await?,
            false => kube.apply(&object).await?,
        }
    }
    if !keeps_claim {
        return kube.delete_namespace(PATIENCE).await;
    }
    stop(kube).await?;
    kube.delete(&environment(&json!({}))?).await
}

/// Stops what runs, and waits until it has ended.
pub(super) async fn stop(kube: &Kube) -> anyhow::Result<()> {
    for object in Manifests::workloads()? {
        kube.delete(&object).await?;
    }
    wait_until(kube, Condition::Gone(&["registry", "relay"]), PATIENCE).await
}
