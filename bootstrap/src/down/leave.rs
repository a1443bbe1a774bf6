//! Taking the registry out of a cluster that somebody else made: everything that wharf put there goes, nothing else does.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::Adopted;
use crate::cli::DownArgs;
use crate::cluster::{Cluster, ClusterName, Node};
use crate::environment::Home;
use crate::exit::Code;
use crate::kube::{Condition, Kube, Manifests, environment, wait_until};
use crate::names::NODE_DATA;
use crate::output::{self, Steps};
use crate::storage::Storage;
use crate::up::{forget_hosts, forget_image};
use crate::{data, door};

/// How long the cluster may take to end what runs in it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Leaves a cluster. Each step can be taken again; the host remembers the cluster until the last was.
pub(super) async fn leave(
    args: &DownArgs,
    name: &ClusterName,
    cluster: &dyn Cluster,
    home: &Home,
    nodes: &[Node],
    what: &Adopted,
) -> anyhow::Result<()> {
    let kube = Kube::connect(&cluster.kubeconfig().await?).await?;
    let port = what.port;
    let has_directory = what.storage == Storage::Host;
    let purges = args.purge && has_directory;
    let mut steps = Steps::new(args.output.output, 3 + usize::from(purges));
    let close = async {
        match cluster.engine() {
            Some(docker) => door::remove(docker, &door::name(name)).await,
            None => Ok(()),
        }
    };
    steps
        .run(&format!("Publish localhost:{port} no more"), close)
        .await?;
    let undress = async {
        for node in nodes {
            forget_hosts(cluster, &node.name, port).await?;
            forget_image(cluster, &node.name, port).await?;
        }
        Ok(())
    };
    steps
        .run("Take wharf's image off the nodes", undress)
        .await?;
    let keeps_claim = what.storage == Storage::Pvc && !args.purge;
    let remove = remove_objects(&kube, args.purge, keeps_claim);
    steps
        .run("Take the registry out of the cluster", remove)
        .await?;
    let node = match &what.node {
        Some(node) => Some(node.as_str()),
        None => nodes.first().map(|node| node.name.as_str()),
    };
    if let Some(node) = node.filter(|_| purges) {
        let title = format!("Delete the images in {} of {node}", what.data.display());
        steps.run(&title, purge(cluster, node, &what.data)).await?;
    }
    home.forget()?;
    let kept = match (args.purge, what.storage) {
        (true, _) | (_, Storage::EmptyDir) => "and so are its images".to_owned(),
        (false, storage) => format!(
            "its images are kept in {}{}: `wharf up --name {name} --adopt{}` has them again",
            storage.place(&what.data),
            match has_directory {
                true => " of a node of the cluster",
                false => "",
            },
            again(what)
        ),
    };
    output::outcome(
        args.output.output,
        &json!({"name": name, "deleted": false, "left": true}),
        &format!(
            "Cluster {name} stays, as somebody else made it. The registry in it is gone; {kept}."
        ),
    );
    Ok(())
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

/// Deletes a directory of a node, if it is a registry's.
async fn purge(cluster: &dyn Cluster, node: &str, data: &Path) -> anyhow::Result<()> {
    let path = data.to_string_lossy();
    let script = r#"if [ ! -e "$1" ]; then :; elif [ -e "$1/$2" ] || [ -z "$(ls -A "$1")" ]; then rm -rf "$1"; else echo occupied; fi"#;
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
