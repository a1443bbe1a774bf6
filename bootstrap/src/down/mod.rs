//! `wharf down`: deletes a cluster that wharf made, or leaves one that it adopted. The images stay, unless `--purge` says
//! otherwise.

mod existing;
mod leave;
mod plan;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli::DownArgs;
use crate::cluster::{self, Cluster, ClusterName, Entrance, Node, Opened};
use crate::data;
use crate::door;
use crate::environment::{self, Home, Record, Stage};
use crate::exit::Code;
use crate::forward;
use crate::kube::Kube;
use crate::names::ADOPTED_BY;
use crate::output::{self, Steps};
use crate::storage::Storage;
use crate::up::is_made_by_wharf;
use plan::{Found, Plan, Step, plan};

/// What makes a cluster takes a minute or so; then it may be deleted.
const LOCK_PATIENCE: Duration = Duration::from_secs(300);
const API_PATIENCE: Duration = Duration::from_secs(10);

/// Runs `wharf down`. Doing it again is no error.
pub(crate) async fn run(args: DownArgs) -> anyhow::Result<ExitCode> {
    let Opened { name, cluster, .. } = cluster::open(&args.cluster).await?;
    let home = Home::hold(&name, LOCK_PATIENCE).await?;
    if !cluster.provider().reaches_nodes() {
        existing::down(&args, &name, cluster.as_ref(), &home).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let record = home.read()?;
    let found = look(&args, &name, cluster.as_ref(), record.as_ref()).await?;
    let plan = plan(args.purge, args.delete_cluster, &found);
    if args.dry_run {
        let titles: Vec<String> = plan
            .steps
            .iter()
            .map(|step| step.title(&name, &found))
            .collect();
        print_plan(
            &args,
            &format!("{} cluster {name}", plan.provider),
            &titles,
            &json!(plan),
        );
        return Ok(ExitCode::SUCCESS);
    }
    let mut steps = Steps::new(args.output.output, plan.steps.len());
    let run = Run {
        args: &args,
        name: &name,
        cluster: cluster.as_ref(),
        home: &home,
        record,
        found: &found,
    };
    for step in &plan.steps {
        let title = step.title(&name, &found);
        steps.run(&title, run.take(*step)).await?;
    }
    // The host remembers the cluster until the last step was taken, so that the next `down` completes this one.
    if plan.stays || (args.purge && run.unfinished_since().is_none()) {
        home.forget()?;
    }
    print_result(&args, &name, &plan, &found);
    Ok(ExitCode::SUCCESS)
}

/// Looks at everything, changes nothing, and fails where there is a cluster of somebody else.
async fn look(
    args: &DownArgs,
    name: &ClusterName,
    cluster: &dyn Cluster,
    record: Option<&Record>,
) -> anyhow::Result<Found> {
    let nodes = cluster.nodes().await?;
    let adopted = match nodes.is_empty() {
        true => None,
        false => adopted(cluster, record, &nodes).await,
    };
    if adopted.is_none() && !nodes.is_empty() && !args.delete_cluster {
        require_ours(cluster, record, &nodes, name.as_str()).await?;
    }
    let data = match record {
        Some(record) => record.data.clone(),
        None => nodes
            .first()
            .and_then(|node| node.data.clone())
            .map_or_else(|| environment::default_data(name), Ok)?,
    };
    let entrance = cluster.provider().entrance(adopted.is_some());
    let has_door = match (entrance, cluster.engine()) {
        (Entrance::Door, Some(docker)) => door::is_there(docker, &door::name(name)).await?,
        _ => false,
    };
    // What a volume of the cluster's or a pod has goes with the cluster.
    let storage = record.map_or(Storage::Host, |record| record.storage);
    Ok(Found {
        provider: cluster.provider(),
        adopted,
        is_remembered: record.is_some_and(Record::is_of_something),
        has_door,
        has_forwards: forward::any_into(&cluster.context())?,
        has_data: data.exists(),
        nodes,
        storage,
        data,
    })
}

/// A run of `wharf down`, in the middle of its steps.
struct Run<'a> {
    args: &'a DownArgs,
    name: &'a ClusterName,
    cluster: &'a dyn Cluster,
    home: &'a Home,
    record: Option<Record>,
    found: &'a Found,
}

impl Run<'_> {
    async fn take(&self, step: Step) -> anyhow::Result<()> {
        match step {
            Step::CloseDoor => match self.cluster.engine() {
                Some(docker) => door::remove(docker, &door::name(self.name)).await,
                None => Ok(()),
            },
            Step::ClearNodes => self.clear_nodes().await,
            Step::RemoveRegistry => self.remove_registry().await,
            Step::DeleteNodeImages => self.delete_node_images().await,
            Step::DeleteCluster => self.delete_cluster().await,
            Step::DeleteRemains => self.cluster.clear(self.home.lock()?).await,
            Step::StopForwards => forward::stop_all_of(&self.cluster.context()).await,
            Step::DeleteImages => {
                let data = self.found.data.clone();
                tokio::task::spawn_blocking(move || data::purge(&data)).await?
            }
        }
    }

    async fn delete_cluster(&self) -> anyhow::Result<()> {
        let mut record = self.record.clone().unwrap_or_else(|| Record {
            name: self.name.clone(),
            provider: self.found.provider,
            stage: Stage::Deleted {
                unfinished_since: None,
            },
            port: 0,
            nodes: 0,
            storage: self.found.storage,
            data: self.found.data.clone(),
            context: None,
            node: None,
            image: None,
            kubernetes_image: None,
            arguments: Vec::new(),
        });
        // From here on it is no whole cluster any more, whatever interrupts: the next `up` or `down` may delete the rest.
        let oldest = self.found.nodes.iter().map(|node| node.created).min();
        record.stage = match self.unfinished_since() {
            Some(since) => Stage::Intended { since },
            None => Stage::Deleting {
                since: oldest.unwrap_or_default(),
            },
        };
        self.home.write(&record)?;
        self.cluster.delete(self.home.lock()?).await?;
        record.stage = Stage::Deleted {
            unfinished_since: self.unfinished_since(),
        };
        self.home.write(&record)
    }

    /// Since when a cluster was to be made that was never finished: the engine may still come with nodes of it.
    fn unfinished_since(&self) -> Option<i64> {
        self.record.as_ref().and_then(Record::unfinished_since)
    }
}

fn print_plan(args: &DownArgs, of: &str, titles: &[String], plan: &Value) {
    let mut text = format!("{of}:");
    for (number, title) in titles.iter().enumerate() {
        text.push_str(&format!("\n {:>2}. {title}", number + 1));
    }
    if titles.is_empty() {
        text.push_str(" there is nothing to be done");
    }
    output::outcome(args.output.output, plan, &text);
}

fn print_result(args: &DownArgs, name: &ClusterName, plan: &Plan, found: &Found) {
    let format = args.output.output;
    if let Some(adopted) = found.adopted.as_ref().filter(|_| plan.stays) {
        let kept = leave::what_is_kept(name, args.purge, adopted);
        output::outcome(
            format,
            &json!({"name": name, "deleted": false, "left": true}),
            &format!(
                "Cluster {name} stays, as somebody else made it. The registry in it is gone; {kept}."
            ),
        );
        return;
    }
    let data = &found.data;
    let kept = data.exists() && found.storage == Storage::Host;
    let text = match (found.nodes.is_empty(), kept) {
        (true, false) => format!("There is no cluster {name}, and there are no images of it."),
        (true, true) => format!(
            "There is no cluster {name}. Its images are in {}.",
            data.display()
        ),
        (false, true) => format!(
            "Cluster {name} is gone. Its images are kept in {}: the next `wharf up --name {name}` has them again.",
            data.display()
        ),
        (false, false) => format!("Cluster {name} is gone, and so are its images."),
    };
    output::outcome(
        format,
        &json!({"name": name, "deleted": !found.nodes.is_empty(), "data": kept.then_some(data)}),
        &text,
    );
}

/// What a cluster that wharf adopted has of it, as the host or the cluster itself says.
async fn adopted(
    cluster: &dyn Cluster,
    record: Option<&Record>,
    nodes: &[Node],
) -> Option<Adopted> {
    if let Some(record) = record.filter(|record| record.is_of(nodes)) {
        return record.is_adopted().then(|| Adopted {
            port: record.port,
            storage: record.storage,
            data: record.data.clone(),
            node: record.node.clone(),
            image: record.image.clone(),
        });
    }
    Adopted::said(&ask(cluster).await?)
}

/// What a cluster of somebody else has of wharf's.
#[derive(Debug, Clone)]
struct Adopted {
    /// The port of localhost.
    port: u16,
    /// What keeps the images.
    storage: Storage,
    /// The directory of a node that does, if one does.
    data: PathBuf,
    /// That node.
    node: Option<String>,
    /// wharf's own image, where it was named.
    image: Option<String>,
}

impl Adopted {
    fn said(environment: &BTreeMap<String, String>) -> Option<Self> {
        environment.get(ADOPTED_BY)?;
        let storage = environment.get("storage");
        Some(Self {
            port: environment.get("port")?.parse().ok()?,
            storage: match storage {
                Some(word) => serde_json::from_value(json!(word)).ok()?,
                None => Storage::Host,
            },
            data: environment.get("data").map(PathBuf::from)?,
            node: environment.get("node").cloned(),
            image: environment.get("image").cloned(),
        })
    }
}

/// What a cluster says about itself, if it says anything.
async fn ask(cluster: &dyn Cluster) -> Option<BTreeMap<String, String>> {
    let ask = async {
        let kube = Kube::connect(&cluster.kubeconfig().await?).await?;
        kube.environment().await
    };
    timeout(API_PATIENCE, ask).await.ok()?.ok()
}

/// Fails unless the host, or the cluster itself, says that wharf made it.
async fn require_ours(
    cluster: &dyn Cluster,
    record: Option<&Record>,
    nodes: &[Node],
    name: &str,
) -> anyhow::Result<()> {
    if record.is_some_and(|record| record.is_of(nodes) || record.left_half_made(nodes)) {
        return Ok(());
    }
    if ask(cluster)
        .await
        .is_some_and(|environment| is_made_by_wharf(&environment))
    {
        return Ok(());
    }
    Err(Code::Conflict.error(format!("wharf did not make cluster {name}, so it does not delete it: `wharf down --name {name} --delete-cluster` does")))
}
