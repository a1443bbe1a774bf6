//! `wharf down`: deletes a cluster that wharf made, or leaves one that it adopted. The images stay, unless `--purge` says
//! otherwise.

mod existing;
mod leave;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::cli::DownArgs;
use crate::cluster::{self, Cluster, Entrance, Node, Opened};
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
    let nodes = cluster.nodes().await?;
    let record = home.read()?;
    let adopted = match nodes.is_empty() {
        true => None,
        false => adopted(cluster.as_ref(), record.as_ref(), &nodes).await,
    };
    if let Some(what) = &adopted {
        if !args.delete_cluster {
            leave::leave(&args, &name, cluster.as_ref(), &home, &nodes, what).await?;
            if args.purge {
                forward::stop_all_of(&cluster.context()).await?;
            }
            return Ok(ExitCode::SUCCESS);
        }
    } else if !nodes.is_empty() && !args.delete_cluster {
        require_ours(cluster.as_ref(), record.as_ref(), &nodes, name.as_str()).await?;
    }
    let data = match &record {
        Some(record) => record.data.clone(),
        None => nodes
            .first()
            .and_then(|node| node.data.clone())
            .map_or_else(|| environment::default_data(&name), Ok)?,
    };

    let entrance = cluster.provider().entrance(adopted.is_some());
    if let (Entrance::Door, Some(docker)) = (entrance, cluster.engine()) {
        // Before the cluster: its network goes only when nothing is on it any more.
        door::remove(docker, &door::name(&name)).await?;
    }
    if nodes.is_empty() && record.as_ref().is_some_and(Record::is_of_something) {
        cluster.clear(home.lock()?).await?;
    }
    let mut steps = Steps::new(
        args.output.output,
        usize::from(!nodes.is_empty()) + usize::from(args.purge && data.exists()),
    );
    let mut record = record.unwrap_or_else(|| Record {
        name: name.clone(),
        provider: cluster.provider(),
        stage: Stage::Deleted {
            unfinished_since: None,
        },
        port: 0,
        nodes: 0,
        storage: Storage::Host,
        data: data.clone(),
        context: None,
        node: None,
        image: None,
        kubernetes_image: None,
        arguments: Vec::new(),
    });
    let unfinished_since = record.unfinished_since();
    if !nodes.is_empty() {
        // From here on it is no whole cluster any more, whatever interrupts: the next `up` or `down` may delete the rest.
        record.stage = Stage::Intended {
            since: nodes
                .iter()
                .map(|node| node.created)
                .min()
                .unwrap_or_default(),
        };
        home.write(&record)?;
        steps
            .run(
                &format!("Delete cluster {name}"),
                cluster.delete(home.lock()?),
            )
            .await?;
        record.stage = Stage::Deleted { unfinished_since };
        home.write(&record)?;
    }
    if args.purge {
        forward::stop_all_of(&cluster.context()).await?;
    }
    if args.purge && data.exists() {
        let purge = async {
            let data = data.clone();
            tokio::task::spawn_blocking(move || data::purge(&data)).await?
        };
        steps
            .run(&format!("Delete the images in {}", data.display()), purge)
            .await?;
        if unfinished_since.is_none() {
            home.forget()?;
        }
    }
    // What a volume of the cluster's or a pod had went with the cluster.
    let kept = data.exists() && record.storage == Storage::Host;
    let text = match (nodes.is_empty(), kept) {
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
        args.output.output,
        &json!({"name": name, "deleted": !nodes.is_empty(), "data": kept.then_some(data)}),
        &text,
    );
    Ok(ExitCode::SUCCESS)
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
