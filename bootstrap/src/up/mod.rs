//! `wharf up`: look, plan, take the steps. Whatever stopped an earlier run, the next one goes on.

mod host;
mod nodes;
mod observe;
mod prove;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::{Format, UpArgs};
use crate::cluster::{self, ClusterName, Opened, Provider};
use crate::environment::Home;
use crate::exit::Code;
use crate::names::registry_host;
use crate::output::{self, Steps};
use crate::plan::{self, Desired, Plan};
pub(crate) use host::{ask_host, describe};
pub(crate) use nodes::{forget_hosts, forget_image};
pub(crate) use observe::{has_context, is_made_by_wharf, is_used_by_wharf};
use steps::Run;

/// Runs `wharf up`.
pub(crate) async fn run(mut args: UpArgs) -> anyhow::Result<ExitCode> {
    let Opened {
        docker,
        cluster,
        why,
    } = cluster::open(&args.cluster).await?;
    let provider = cluster.provider();
    if let Some(why) = why {
        output::note(&format!("Using {provider}: {why}."));
    }
    refuse_what_does_not_fit(&args, provider)?;
    let home = Home::hold(&args.cluster.name, args.wait).await?;
    args.data = args.data.map(absolute).transpose()?;

    let observed = observe::observe(&args, &docker, cluster.as_ref(), &home).await?;
    let desired = Desired {
        name: args.cluster.name.clone(),
        provider,
        port: args.port,
        nodes: args.nodes,
        data: args.data.clone(),
        kubernetes_image: args.kubernetes_image.clone(),
        arguments: args.arguments.clone(),
        adopts: args.adopt,
        brings_image: args.image.is_some(),
    };
    let plan = plan::plan(&desired, observed.found.clone())?;
    if args.dry_run {
        print_plan(&args, &plan);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(record) = &observed.recovered {
        home.write(record)?;
    }

    let (name, format, context) = (
        args.cluster.name.clone(),
        args.output.output,
        cluster.context(),
    );
    let mut progress = Steps::new(format, plan.steps.len());
    let mut run = Run::new(&args, &plan, docker, cluster.as_ref(), &home, observed);
    for step in &plan.steps {
        let taken = progress
            .run(&step.title(&name, plan.port), run.take(step))
            .await;
        if let Err(error) = taken {
            if format == Format::Text && matches!(Code::of(&error), Code::Failure | Code::Timeout) {
                output::note(&format!(
                    "Everything so far is kept: when the cause is gone, `wharf up --name {name}` goes on from here."
                ));
            }
            return Err(error);
        }
    }
    print_result(&name, &plan, &context, format);
    Ok(ExitCode::SUCCESS)
}

/// Some of what can be said is for one provider alone.
fn refuse_what_does_not_fit(args: &UpArgs, provider: Provider) -> anyhow::Result<()> {
    match provider {
        Provider::Kind if !args.arguments.is_empty() => Err(Code::Usage.error(
            "arguments after -- are for `minikube start`: kind takes none (--provider minikube?)",
        )),
        Provider::Minikube if args.image.is_some() => Err(Code::Usage.error(
            "with minikube the port is published by a container of wharf's own, which takes a binary: say --node-binary in place of --image",
        )),
        _ => cluster::refuse_arguments(provider, &args.arguments),
    }
}

/// A path that means the same tomorrow, from elsewhere. The directory need not exist yet.
fn absolute(path: PathBuf) -> anyhow::Result<PathBuf> {
    Ok(std::fs::canonicalize(&path).or_else(|_| std::path::absolute(&path))?)
}

fn print_plan(args: &UpArgs, plan: &Plan) {
    let name = &args.cluster.name;
    let mut text = format!(
        "{} cluster {name}: {}, registry at {}, images in {}",
        plan.provider,
        plan::count(plan.nodes),
        registry_host(plan.port),
        plan.data.display()
    );
    for (number, step) in plan.steps.iter().enumerate() {
        text.push_str(&format!(
            "\n {:>2}. {}",
            number + 1,
            step.title(name, plan.port)
        ));
    }
    output::outcome(args.output.output, &json!(plan), &text);
}

fn print_result(name: &ClusterName, plan: &Plan, context: &str, format: Format) {
    let registry = registry_host(plan.port);
    let value = json!({
        "name": name,
        "provider": plan.provider,
        "context": context,
        "nodes": plan.nodes,
        "registry": registry,
        "data": plan.data,
    });
    let text = format!(
        "\nCluster {name} is up (context {context}), with its registry at {registry}. Next:\n\n  \
           docker build -t {registry}/app . && docker push {registry}/app\n  \
           kubectl create deployment app --image={registry}/app\n"
    );
    output::outcome(format, &value, &text);
}
