//! Taking the registry out of a cluster that wharf reaches by its API alone.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::leave::{remove_objects, stop};
use super::{Adopted, print_plan};
use crate::cli::DownArgs;
use crate::cluster::{Cluster, ClusterName, Provider};
use crate::environment::{Home, Record, Stage};
use crate::exit::Code;
use crate::forward::{self, Kept};
use crate::kube::{Condition, Kube, Leaving, Manifests, wait_until};
use crate::names::{HOSTS_DIRECTORY, registry_host};
use crate::output::{self, Steps};
use crate::plan::DEFAULT_PORT;
use crate::storage::Storage;

/// How long a node may take to run a pod that removes a file. One that is away does not keep the rest from going.
const NODE_PATIENCE: Duration = Duration::from_secs(45);

/// The steps.
const STOP: &str = "Stop the registry and the relays";
const CLEAN: &str = "Take wharf's files off the nodes";
const REMOVE: &str = "Take the registry out of the cluster";

/// Takes the registry out. Doing it again is no error. The host remembers where images are that stay.
pub(super) async fn down(
    args: &DownArgs,
    name: &ClusterName,
    cluster: &dyn Cluster,
    home: &Home,
) -> anyhow::Result<()> {
    let context = cluster.context();
    if args.delete_cluster {
        // It says why not, and so nothing else is done either.
        return cluster.delete(home.lock()?).await;
    }
    let record = home.read()?;
    // Whatever the cluster is like: nothing of this machine is to lead into it.
    match (args.dry_run, args.purge) {
        (true, _) => {}
        (false, true) => forward::stop_all_of(&context).await?,
        (false, false) => Kept::of(context.clone(), 0).stop().await?,
    }
    match cluster.nodes().await {
        Err(error) if Code::of(&error) == Code::NotFound && record.is_some() && !args.dry_run => {
            return forget(args, name, home, &context);
        }
        nodes => drop(nodes?),
    }
    let kube = Kube::connect(&cluster.kubeconfig().await?).await?;
    let said = kube.environment().await?;
    if !said.is_empty() && said.get("provider").is_none_or(|by| by != "existing") {
        return Err(Code::Conflict.error(format!(
            "the registry in the cluster of context {context} was brought up where its nodes can be reached: take it out from there"
        )));
    }
    let is_there = !said.is_empty();
    let what = Adopted::said(&said)
        .or_else(|| record.as_ref().map(former))
        .unwrap_or_else(of_nobody);
    let purges_directory = args.purge && what.storage == Storage::Host;
    let has_namespace = kube.has_namespace().await?;
    let keeps_claim = !args.purge && what.storage == Storage::Pvc;
    let cleans = is_there || purges_directory;
    if args.dry_run {
        let is_due = has_namespace || purges_directory;
        let all = [(is_due, STOP), (is_due && cleans, CLEAN), (is_due, REMOVE)];
        let titles = all.into_iter().filter(|(is_due, _)| *is_due);
        let titles: Vec<String> = titles.map(|(_, title)| title.to_owned()).collect();
        let plan = json!({"provider": Provider::Existing, "stays": true, "data": what.data, "steps": titles});
        let of = format!("Cluster of context {context}");
        print_plan(args, &of, &titles, &plan);
        return Ok(());
    }
    if !has_namespace {
        if !purges_directory {
            if args.purge {
                remove_objects(&kube, true, false).await?;
            }
            return forget(args, name, home, &context);
        }
        // The pods that delete the images have to be somewhere.
        for object in Manifests::namespace()? {
            kube.apply(&object).await?;
        }
    }
    let mut steps = Steps::new(args.output.output, 2 + usize::from(cleans));
    steps.run(STOP, stop(&kube)).await?;
    if cleans {
        let clean = clean(&kube, &what, args.purge);
        steps.run(CLEAN, clean).await?;
    }
    steps
        .run(REMOVE, remove_objects(&kube, args.purge, keeps_claim))
        .await?;
    let text = match args.purge || what.storage == Storage::EmptyDir {
        true => {
            home.forget()?;
            "and so are its images".to_owned()
        }
        false => {
            home.write(&remembered(name, &context, record, &what))?;
            let of_node = match &what.node {
                Some(node) => format!(" of node {node}"),
                None => String::new(),
            };
            format!(
                "its images are kept in {}{of_node}: the next `wharf up --name {name}` has them again, `wharf down --name {name} --purge` deletes them",
                what.storage.place(&what.data)
            )
        }
    };
    output::outcome(
        args.output.output,
        &json!({"name": name, "deleted": false, "left": true}),
        &format!("The cluster of context {context} stays. The registry in it is gone; {text}."),
    );
    Ok(())
}

/// Removes wharf's files from the nodes, by a pod on each; with `purges`, a directory of images as well. A node that is away keeps a file
/// that does no harm, so it does not keep the registry from going; images are another matter.
async fn clean(kube: &Kube, what: &Adopted, purges: bool) -> anyhow::Result<()> {
    let data = Some(what.data.as_path()).filter(|_| purges && what.storage == Storage::Host);
    let stays = |why: &str| {
        Code::Unhealthy.error(format!(
            "the images in {} of node {} cannot be deleted: {why}",
            what.data.display(),
            what.node.as_deref().unwrap_or_default()
        ))
    };
    let Some(image) = what.image.clone() else {
        return match data {
            Some(_) => Err(stays("nobody remembers wharf's image")),
            None => Ok(()),
        };
    };
    let leaving = Leaving {
        image,
        port: what.port,
    };
    let selector = format!(
        "app.kubernetes.io/name=wharf,app.kubernetes.io/component={}",
        Leaving::COMPONENT
    );
    let like = leaving.pod("any", "any", None)?;
    // Those of a run that was interrupted may have been told something else.
    kube.delete_labelled(&like, &selector).await?;
    wait_until(kube, Condition::Gone(&[Leaving::COMPONENT]), NODE_PATIENCE).await?;
    let (mut pods, mut reaches_images) = (Vec::new(), false);
    for node in kube.nodes().await?.into_iter().filter(|node| node.is_ready) {
        let pod = format!("{}-{}", Leaving::COMPONENT, node.uid);
        let is_kept_here = what.node.as_ref().is_none_or(|kept| *kept == node.name);
        let data = data.filter(|_| is_kept_here);
        reaches_images |= data.is_some();
        kube.apply(&leaving.pod(&pod, &node.name, data)?).await?;
        pods.push(pod);
    }
    if data.is_some() && !reaches_images {
        return Err(stays("the node is not ready; start it and try again"));
    }
    let done = Condition::Done {
        component: Leaving::COMPONENT,
        pods: &pods,
    };
    let done = wait_until(kube, done, NODE_PATIENCE).await;
    kube.delete_labelled(&like, &selector).await?;
    match done {
        Err(error) if data.is_none() => {
            output::note(&format!(
                "A file of wharf's stays on some nodes, where it does no harm ({HOSTS_DIRECTORY}/{}/hosts.toml): {error:#}",
                registry_host(what.port)
            ));
            Ok(())
        }
        done => done,
    }
}

/// Nothing is in the cluster, or there is no such cluster any more.
fn forget(args: &DownArgs, name: &ClusterName, home: &Home, context: &str) -> anyhow::Result<()> {
    home.forget()?;
    output::outcome(
        args.output.output,
        &json!({"name": name, "deleted": false, "left": false}),
        &format!("There is no registry of wharf's where context {context} leads."),
    );
    Ok(())
}

/// What is remembered of a registry that was taken out, and has left its images.
fn remembered(name: &ClusterName, context: &str, record: Option<Record>, what: &Adopted) -> Record {
    Record {
        name: name.clone(),
        provider: Provider::Existing,
        stage: Stage::Deleted {
            unfinished_since: None,
        },
        port: what.port,
        nodes: record.map_or(0, |record| record.nodes),
        storage: what.storage,
        data: what.data.clone(),
        context: Some(context.to_owned()),
        node: what.node.clone(),
        image: what.image.clone(),
        kubernetes_image: None,
        arguments: Vec::new(),
    }
}

/// What there may be of a registry of which nobody remembers anything: images in a volume of the cluster's.
fn of_nobody() -> Adopted {
    Adopted {
        port: DEFAULT_PORT,
        storage: Storage::Pvc,
        data: PathBuf::new(),
        node: None,
        image: None,
    }
}

fn former(record: &Record) -> Adopted {
    Adopted {
        port: record.port,
        storage: record.storage,
        data: record.data.clone(),
        node: record.node.clone(),
        image: record.image.clone(),
    }
}
