//! `wharf status`: what is up, and whether it works, hop by hop from the host to the nodes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::cli::{ReportFormat, StatusArgs};
use crate::cluster::{self, Cluster, Entrance, Node, Opened, Provider};
use crate::environment::{self, Record, Stage};
use crate::exit::Code;
use crate::forward::Kept;
use crate::image::is_packed;
use crate::kube::{ClusterNode, Condition, Kube};
use crate::names::{APPLIED, registry_host};
use crate::output;
use crate::storage::Storage;
use crate::up::{ask_host, describe, has_context, has_image, is_used_by_wharf};

/// A control plane that does not answer within this is out of order.
const API_PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// An environment, looked at.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    name: String,
    context: String,
    registry: String,
    instance: Option<String>,
    version: Option<String>,
    storage: Storage,
    data: Option<PathBuf>,
    /// The node that alone has the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    checks: Vec<Check>,
    /// How the cluster is named again.
    #[serde(skip)]
    again: String,
}

/// One hop.
#[derive(Debug, PartialEq, Serialize)]
struct Check {
    what: String,
    /// What is wrong; nothing if it works.
    problem: Option<String>,
}

/// Runs `wharf status`.
pub(crate) async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let opened = cluster::open(&args.cluster).await?;
    if args.watch {
        return watch(&args, &opened).await;
    }
    let report = report(&args, &opened).await?;
    say(args.output, &report)?;
    Ok(if report.is_healthy() {
        ExitCode::SUCCESS
    } else {
        Code::Unhealthy.into()
    })
}

/// Looks again and again, and says what is different. What cannot be looked at is a report as well.
async fn watch(args: &StatusArgs, opened: &Opened) -> anyhow::Result<ExitCode> {
    let mut last = None;
    loop {
        let now = match report(args, opened).await {
            Ok(report) => report,
            Err(error) => {
                let mut report = Report::of(opened);
                report.check(
                    format!("cluster {}", report.name),
                    Err(format!("{error:#}")),
                );
                report
            }
        };
        if last.as_ref() != Some(&now) {
            say(args.output, &now)?;
            last = Some(now);
        }
        sleep(PAUSE).await;
    }
}

fn say(format: ReportFormat, report: &Report) -> anyhow::Result<()> {
    match format {
        ReportFormat::Text => output::result(&text(report)),
        ReportFormat::Json => output::result(&json!({ "result": report })),
        ReportFormat::Yaml => {
            let yaml = serde_saphyr::to_string(report).context("writing YAML")?;
            output::result(&format!("---\n{}", yaml.trim_end()));
        }
    }
    Ok(())
}

async fn report(args: &StatusArgs, opened: &Opened) -> anyhow::Result<Report> {
    let (name, cluster) = (&opened.name, opened.cluster.as_ref());
    let nodes = cluster.nodes().await?;
    let record = environment::recall(name)?;
    let again = args.cluster.again();
    if nodes.is_empty() {
        return Err(Code::NotFound.error(format!(
            "there is no cluster {name}: `wharf up {again}` makes one"
        )));
    }
    if let Some(record) = record
        .as_ref()
        .filter(|record| record.left_half_made(&nodes))
    {
        let what = match record.stage {
            Stage::Deleting { .. } => "was to be deleted, and that was interrupted",
            _ => "is half-made",
        };
        return Err(Code::Unhealthy.error(format!(
            "cluster {name} {what}: `wharf up {again}` makes it anew, `wharf down {again}` deletes what is left"
        )));
    }
    let mut report = Report::of(opened);
    report.again = again;
    look(&mut report, cluster, &nodes, record).await?;
    Ok(report)
}

/// Looks at every hop. An error is one that keeps everything from being looked at.
async fn look(
    report: &mut Report,
    cluster: &dyn Cluster,
    nodes: &[Node],
    record: Option<Record>,
) -> anyhow::Result<()> {
    for node in nodes.iter().filter(|node| !node.is_running) {
        report.check(
            format!("node {}", node.name),
            Err("it does not run: `wharf up` starts it".to_owned()),
        );
    }
    let asked = timeout(API_PATIENCE, Api::ask(cluster)).await;
    let api = match asked.unwrap_or_else(|_| Err(anyhow::anyhow!("it does not answer"))) {
        Ok(api) => api,
        Err(error) => {
            report.check("the cluster's API".to_owned(), Err(format!("{error:#}")));
            return Ok(());
        }
    };
    if !is_used_by_wharf(&api.environment)
        && record.as_ref().is_none_or(|record| !record.is_of(nodes))
    {
        return Err(Code::NotFound.error(match cluster.provider() {
            Provider::Existing => format!(
                "wharf's registry is not in the cluster of context {}: `wharf up {} --image IMAGE` puts it there",
                report.context, report.again
            ),
            Provider::Kind | Provider::Minikube => format!(
                "wharf did not make cluster {}, and knows nothing of it",
                report.name
            ),
        }));
    }
    report.check(
        format!("context {}", report.context),
        require(
            has_context(&report.context, &api.kubeconfig),
            "the kubeconfig has none that leads here: `wharf up` writes it",
        ),
    );
    for node in &api.nodes {
        report.check(
            format!("node {}", node.name),
            require(node.is_ready, "not ready"),
        );
    }
    let recorded = api
        .environment
        .get("port")
        .and_then(|port| port.parse().ok());
    let Some(port) = recorded.or(record.as_ref().map(|record| record.port)) else {
        return Ok(());
    };
    report.look_at_storage(&api, record.as_ref());
    report.registry = registry_host(port);
    let entrance = cluster.provider().entrance(true);
    let kept = (entrance == Entrance::Forward).then(|| Kept::of(report.context.clone(), port));
    look_at_registry(report, &api, port, kept.as_ref()).await;
    look_at_images(report, &api, cluster, nodes).await;
    Ok(())
}

/// A relay that runs needs its image no more, until it is started again: a node that has lost the image is named before that.
async fn look_at_images(report: &mut Report, api: &Api, cluster: &dyn Cluster, nodes: &[Node]) {
    let Ok(images) = api.kube.relay_images().await else {
        return;
    };
    let running = nodes.iter().filter(|node| node.is_running);
    let look = running.filter_map(|node| {
        let image = images.get(&node.name).filter(|name| is_packed(name))?;
        Some(async move { (node, has_image(cluster, &node.name, image).await) })
    });
    for (node, has_image) in join_all(look).await {
        let has_image = has_image.map_err(|error| format!("{error:#}"));
        let there = has_image.and_then(|is_there| {
            require(
                is_there,
                "it is gone, so nothing of wharf's can start there: `wharf up` brings it again",
            )
        });
        report.check(format!("wharf's image on {}", node.name), there);
    }
}

async fn look_at_registry(report: &mut Report, api: &Api, port: u16, kept: Option<&Kept>) {
    let name = &report.name.clone();
    if let Err(problem) = api.kube.require_node_port(port, name).await {
        report.check(
            format!("port {port} of the nodes"),
            Err(format!("{problem:#}")),
        );
    }
    let ready = api
        .kube
        .missing(Condition::RegistryReady)
        .await
        .map_err(|error| format!("{error:#}"));
    report.check(
        "registry".to_owned(),
        ready.and_then(|missing| missing.map_or(Ok(()), Err)),
    );
    match api.kube.relayed_nodes().await {
        Ok(relayed) => {
            for node in &api.nodes {
                let reaches = require(
                    relayed.contains(&node.name),
                    "it does not reach the registry",
                );
                report.check(format!("relay on {}", node.name), reaches);
            }
        }
        Err(error) => report.check("relays".to_owned(), Err(format!("{error:#}"))),
    }
    look_at_drift(report, api, port).await;
    let health = api.kube.registry_health().await.ok();
    let faces: Vec<(String, Result<(), String>)> = ask_host(port)
        .await
        .iter()
        .map(|face| {
            let what = format!("http://{} on this host", face.address);
            (what, describe(face, health.as_ref()))
        })
        .collect();
    // Where this machine is a node itself, its relay answers, and no forward is needed.
    let needs_forward = health.is_none() || faces.iter().any(|(_, answer)| answer.is_err());
    if let Some(kept) = kept.filter(|kept| needs_forward || kept.runs()) {
        let what = format!("forward from localhost:{port} through the cluster's API");
        report.check(what, kept.check());
    }
    for (what, answer) in faces {
        report.check(what, answer);
    }
    report.instance = health.as_ref().map(|health| health.instance.clone());
    report.version = health.map(|health| health.version);
}

/// What is wished for in the cluster, and what it says about its registry, is as `wharf up` has left it.
async fn look_at_drift(report: &mut Report, api: &Api, port: u16) {
    let is_kept = match (api.kube.applied().await, api.environment.get(APPLIED)) {
        (Ok(now), Some(then)) => require(
            now == *then,
            "somebody has changed it since `wharf up`, which puts it right",
        ),
        (Err(error), _) => Err(format!("{error:#}")),
        // An older wharf's.
        (Ok(_), None) => Ok(()),
    };
    report.check("what is installed".to_owned(), is_kept);
    let said = match api.kube.hosting().await {
        Ok(said) => require(
            said.is_some_and(|said| said.contains(&format!("\"{}\"", registry_host(port)))),
            "it does not name this registry: `wharf up` writes it",
        ),
        Err(error) => Err(format!("{error:#}")),
    };
    report.check(
        "ConfigMap kube-public/local-registry-hosting".to_owned(),
        said,
    );
}

/// What the cluster's API says.
struct Api {
    kubeconfig: String,
    kube: Kube,
    nodes: Vec<ClusterNode>,
    environment: BTreeMap<String, String>,
}

impl Api {
    async fn ask(cluster: &dyn Cluster) -> anyhow::Result<Self> {
        let kubeconfig = cluster.kubeconfig().await?;
        let kube = Kube::connect(&kubeconfig).await?;
        let (nodes, environment) = tokio::try_join!(kube.nodes(), kube.environment())?;
        Ok(Self {
            kubeconfig,
            kube,
            nodes,
            environment,
        })
    }
}

fn require(is_so: bool, otherwise: &str) -> Result<(), String> {
    if is_so {
        Ok(())
    } else {
        Err(otherwise.to_owned())
    }
}

impl Report {
    fn of(opened: &Opened) -> Self {
        Self {
            name: opened.name.to_string(),
            context: opened.cluster.context(),
            again: format!("--name {}", opened.name),
            ..Self::default()
        }
    }

    /// What keeps the images, as the cluster says, or else the host.
    fn look_at_storage(&mut self, api: &Api, record: Option<&Record>) {
        let said = |key| api.environment.get(key).cloned();
        let remembered = record.map(|record| record.storage);
        self.storage = said("storage")
            .and_then(|word| serde_json::from_value(json!(word)).ok())
            .or(remembered)
            .unwrap_or_default();
        self.node = said("node").or(record.and_then(|record| record.node.clone()));
        let data = said("data").map(PathBuf::from);
        self.data = data
            .or(record.map(|record| record.data.clone()))
            .filter(|_| self.storage == Storage::Host);
    }

    fn is_healthy(&self) -> bool {
        self.checks.iter().all(|check| check.problem.is_none())
    }

    fn check(&mut self, what: String, result: Result<(), String>) {
        self.checks.push(Check {
            what,
            problem: result.err(),
        });
    }
}

fn text(report: &Report) -> String {
    let mut lines = vec![format!(
        "cluster {} (context {})",
        report.name, report.context
    )];
    for check in &report.checks {
        lines.push(match &check.problem {
            None => format!(" {} {}", output::green("✓"), check.what),
            Some(problem) => format!(" {} {}: {problem}", output::red("✗"), check.what),
        });
    }
    if report.data.is_some() || report.storage != Storage::Host {
        let data = report.data.clone().unwrap_or_default();
        let place = report.storage.place(&data);
        lines.push(match &report.node {
            Some(node) => format!("images in {place} of node {node}"),
            None => format!("images in {place}"),
        });
    }
    if let (Some(instance), Some(version)) = (&report.instance, &report.version) {
        lines.push(format!(
            "registry {} (wharf {version}, instance {instance})",
            report.registry
        ));
    }
    if !report.is_healthy() {
        lines.push(format!(
            "Something does not work: `wharf up {}` repairs what it can.",
            report.again
        ));
    }
    lines.join("\n")
}
