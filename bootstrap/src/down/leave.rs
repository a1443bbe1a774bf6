//! Taking the registry out of a cluster that somebody else made: everything that wharf put there goes, nothing else does.

use std::time::Duration;

use serde_json::json;

use crate::cli::DownArgs;
use crate::cluster::{Cluster, Node};
use crate::docker::Docker;
use crate::door;
use crate::environment::Home;
use crate::kube::{Kube, Manifests};
use crate::names::NODE_DATA;
use crate::output::{self, Steps};
use crate::up::{forget_hosts, forget_image};

/// How long the cluster may take to end what runs in it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Leaves a cluster. Each step can be taken again; the host remembers the cluster until the last was.
pub(super) async fn leave(
    args: &DownArgs,
    docker: &Docker,
    cluster: &dyn Cluster,
    home: &Home,
    nodes: &[Node],
    port: u16,
) -> anyhow::Result<()> {
    let name = &args.cluster.name;
    let kube = Kube::connect(&cluster.kubeconfig().await?).await?;
    let mut steps = Steps::new(args.output.output, 3 + usize::from(args.purge));
    let door = door::name(name);
    let close = door::remove(docker, &door);
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
    // The namespace goes last: what is in it says that wharf was here.
    let remove = async {
        for object in Manifests::without_registry()? {
            match args.purge {
                true => kube.delete(&object).await?,
                false => kube.apply(&object).await?,
            }
        }
        kube.delete_namespace(PATIENCE).await
    };
    steps
        .run("Take the registry out of the cluster", remove)
        .await?;
    if args.purge
        && let Some(node) = nodes.first()
    {
        let purge = cluster.run_on(&node.name, &["rm", "-rf", NODE_DATA], None);
        let title = format!("Delete the images in {NODE_DATA} of {}", node.name);
        steps.run(&title, purge).await?;
    }
    home.forget()?;
    let kept = match args.purge {
        true => "and so are its images".to_owned(),
        false => format!(
            "its images are kept in {NODE_DATA} of the cluster's first node: `wharf up --name {name} --adopt` has them again"
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
