//! `wharf status`: what is up, and whether it works, hop by hop from the host to the nodes.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::StatusArgs;
use crate::cluster::{self, Cluster, Node};
use crate::docker::Docker;
use crate::environment::{self, Record};
use crate::exit::Code;
use crate::kube::{Condition, Kube};
use crate::names::registry_host;
use crate::output;
use crate::up::{ask_host, describe, has_context};

/// An environment, looked at.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    name: String,
    context: String,
    registry: String,
    instance: Option<String>,
    version: Option<String>,
    data: Option<std::path::PathBuf>,
    checks: Vec<Check>,
}

/// One hop.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    /// What is wrong; nothing if it works.
    problem: Option<String>,
}

/// Runs `wharf status`.
pub(crate) async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    cluster::require_programs(&args.cluster)?;
    let name = &args.cluster.name;
    let cluster = cluster::named(&args.cluster, Docker::connect().await?);
    let nodes = cluster.nodes().await?;
    let record = environment::recall(name)?;
    if nodes.is_empty() {
        return Err(Code::NotFound.error(format!(
            "there is no cluster {name}: `wharf up --name {name}` makes one"
        )));
    }
    if record
        .as_ref()
        .is_some_and(|record| record.left_half_made(&nodes))
    {
        return Err(Code::Unhealthy.error(format!(
            "cluster {name} is half-made: `wharf up --name {name}` makes it anew"
        )));
    }
    let mut report = Report {
        name: name.to_string(),
        context: cluster.context(),
        ..Report::default()
    };
    look(&mut report, cluster.as_ref(), &nodes, record).await;
    let is_healthy = report.checks.iter().all(|check| check.problem.is_none());
    output::outcome(
        args.output.output,
        &serde_json::to_value(&report)?,
        &text(&report, is_healthy),
    );
    Ok(if is_healthy {
        ExitCode::SUCCESS
    } else {
        Code::Unhealthy.into()
    })
}

async fn look(report: &mut Report, cluster: &dyn Cluster, nodes: &[Node], record: Option<Record>) {
    for node in nodes.iter().filter(|node| !node.is_running) {
        report.check(
            format!("node {}", node.name),
            Err("it does not run: `wharf up` starts it".to_owned()),
        );
    }
    let connected = async {
        let kubeconfig = cluster.kubeconfig().await?;
        let kube = Kube::connect(&kubeconfig).await?;
        let (nodes, environment) = tokio::try_join!(kube.nodes(), kube.environment())?;
        anyhow::Ok((kubeconfig, kube, nodes, environment))
    };
    let (kubeconfig, kube, cluster_nodes, environment) = match connected.await {
        Ok(connected) => connected,
        Err(error) => {
            report.check("the cluster's API".to_owned(), Err(format!("{error:#}")));
            return;
        }
    };
    let context = has_context(&report.context, &kubeconfig).then_some(());
    report.check(
        format!("context {}", report.context),
        context.ok_or_else(|| {
            "the kubeconfig has none that leads here: `wharf up` writes it".to_owned()
        }),
    );
    for node in &cluster_nodes {
        report.check(
            format!("node {}", node.name),
            node.is_ready
                .then_some(())
                .ok_or_else(|| "not ready".to_owned()),
        );
    }
    let environment = environment.and_then(|map| map.data).unwrap_or_default();
    let port = environment
        .get("port")
        .and_then(|port| port.parse().ok())
        .or(record.as_ref().map(|record| record.port));
    report.data = environment
        .get("data")
        .map(Into::into)
        .or(record.map(|record| record.data));
    let Some(port) = port else {
        report.check(
            "registry".to_owned(),
            Err("wharf was never installed here: `wharf up` does it".to_owned()),
        );
        return;
    };
    report.registry = registry_host(port);
    let ready = kube
        .missing(Condition::RegistryReady)
        .await
        .map_err(|error| format!("{error:#}"));
    report.check(
        "registry".to_owned(),
        ready.and_then(|missing| missing.map_or(Ok(()), Err)),
    );
    match kube.relayed_nodes().await {
        Ok(relayed) => {
            for node in &cluster_nodes {
                let relay = relayed.contains(&node.name).then_some(());
                report.check(
                    format!("relay on {}", node.name),
                    relay.ok_or_else(|| "it does not reach the registry".to_owned()),
                );
            }
        }
        Err(error) => report.check("relays".to_owned(), Err(format!("{error:#}"))),
    }
    let health = kube.registry_health().await.ok();
    for face in ask_host(port).await {
        report.check(
            format!("http://{} on this host", face.address),
            describe(&face, health.as_ref()),
        );
    }
    report.instance = health.as_ref().map(|health| health.instance.clone());
    report.version = health.map(|health| health.version);
}

impl Report {
    fn check(&mut self, what: String, result: Result<(), String>) {
        self.checks.push(Check {
            what,
            problem: result.err(),
        });
    }
}

fn text(report: &Report, is_healthy: bool) -> String {
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
    if let Some(data) = &report.data {
        lines.push(format!("images in {}", data.display()));
    }
    if let (Some(instance), Some(version)) = (&report.instance, &report.version) {
        lines.push(format!(
            "registry {} (wharf {version}, instance {instance})",
            report.registry
        ));
    }
    if !is_healthy {
        lines.push(format!(
            "Something does not work: `wharf up --name {}` repairs what it can.",
            report.name
        ));
    }
    lines.join("\n")
}
