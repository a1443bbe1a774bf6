//! `wharf up`: look, plan, take the steps. Whatever stopped an earlier run, the next one goes on.

mod host;
mod nodes;
mod observe;
mod prove;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::cli::{Format, UpArgs};
use crate::cluster::{self, ClusterName, Opened, Provider};
use crate::environment::Home;
use crate::exit::Code;
use crate::names::registry_host;
use crate::output::{self, Steps};
use crate::plan::{self, Desired, Plan};
use crate::storage::{Storage, Wanted};
pub(crate) use host::{ask_host, describe};
pub(crate) use nodes::{forget_hosts, forget_image, has_image};
pub(crate) use observe::{has_context, is_made_by_wharf, is_used_by_wharf};
use steps::Run;

/// Runs `wharf up`.
pub(crate) async fn run(mut args: UpArgs) -> anyhow::Result<ExitCode> {
    let Opened { name, cluster, why } = cluster::open(&args.cluster).await?;
    let provider = cluster.provider();
    if let Some(why) = why {
        output::note(&format!("Using {provider}: {why}."));
    }
    refuse_what_does_not_fit(&args, provider)?;
    // Whoever names a context means the cluster that is behind it.
    args.adopt |= provider == Provider::Existing;
    let storage = storage(&args)?;
    let home = Home::hold(&name, args.wait).await?;

    let observed = observe::observe(&args, &name, cluster.as_ref(), &home).await?;
    let desired = Desired {
        name: name.clone(),
        provider,
        port: args.port,
        nodes: args.nodes,
        storage,
        kubernetes_image: args.kubernetes_image.clone(),
        arguments: args.arguments.clone(),
        adopts: args.adopt,
        image: args.image.clone(),
    };
    let plan = plan::plan(&desired, observed.found.clone())?;
    let (format, context) = (args.output.output, cluster.context());
    if args.dry_run {
        print_plan(&name, &context, &plan, format);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(record) = &observed.recovered {
        home.write(record)?;
    }

    let mut progress = Steps::new(format, plan.steps.len());
    let mut run = Run::new(&args, &name, &plan, cluster.as_ref(), &home, observed);
    for step in &plan.steps {
        let taken = progress
            .run(&step.title(&name, plan.port), run.take(step))
            .await;
        if let Err(error) = taken {
            if format == Format::Text && matches!(Code::of(&error), Code::Failure | Code::Timeout) {
                output::note(&format!(
                    "Everything so far is kept: when the cause is gone, `wharf up {}` goes on from here.",
                    args.cluster.again()
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
        Provider::Existing => refuse_what_is_for_made_clusters(args),
        _ => cluster::refuse_arguments(provider, &args.arguments),
    }
}

/// What only who makes a cluster, or runs programs on its nodes, can do.
fn refuse_what_is_for_made_clusters(args: &UpArgs) -> anyhow::Result<()> {
    let is_given = [
        (args.nodes.is_some(), "--nodes"),
        (args.kubernetes_image.is_some(), "--kubernetes-image"),
        (args.node_binary.is_some(), "--node-binary"),
        (!args.arguments.is_empty(), "arguments after --"),
    ];
    if let Some((_, flag)) = is_given.iter().find(|(is_given, _)| *is_given) {
        return Err(Code::Usage.error(format!(
            "{flag}: of an existing cluster wharf has the API alone, so this cannot be chosen: leave it out"
        )));
    }
    if args.data.is_some() {
        return Err(Code::Usage.error(
            "--data is a directory of this machine, which the nodes of an existing cluster do not have: say --storage pvc, or --storage host:DIR for a directory of a node",
        ));
    }
    Ok(())
}

/// What is to keep the images, if that is said: in one of two ways, or in both.
fn storage(args: &UpArgs) -> anyhow::Result<Option<Wanted>> {
    let here = |path: &Path| -> anyhow::Result<Wanted> {
        Ok(Wanted::Host(match args.adopt {
            // It is another machine's.
            true => path.to_owned(),
            false => absolute(path)?,
        }))
    };
    let of_data = args.data.as_deref().map(here).transpose()?;
    let of_storage = match &args.storage {
        Some(Wanted::Host(path)) => Some(here(path)?),
        other => other.clone(),
    };
    match (of_data, of_storage) {
        (Some(data), Some(storage)) if data != storage => Err(Code::Usage.error(format!(
            "--data is short for --storage {data}, and --storage is {storage}: leave one of them out"
        ))),
        (data, storage) => Ok(storage.or(data)),
    }
}

/// A path that means the same tomorrow, from elsewhere. The directory need not exist yet.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::fs::canonicalize(path).or_else(|_| std::path::absolute(path))?)
}

fn print_plan(name: &ClusterName, context: &str, plan: &Plan, format: Format) {
    let which = match plan.provider {
        Provider::Existing => format!("{name} (context {context})"),
        Provider::Kind | Provider::Minikube => name.to_string(),
    };
    let mut text = format!(
        "{} cluster {which}: {}, registry at {}, images in {}",
        plan.provider,
        plan::count(plan.nodes),
        registry_host(plan.port),
        plan.place()
    );
    for (number, step) in plan.steps.iter().enumerate() {
        text.push_str(&format!(
            "\n {:>2}. {}",
            number + 1,
            step.title(name, plan.port)
        ));
    }
    output::outcome(format, &json!(plan), &text);
}

fn print_result(name: &ClusterName, plan: &Plan, context: &str, format: Format) {
    let registry = registry_host(plan.port);
    let value = json!({
        "name": name,
        "provider": plan.provider,
        "context": context,
        "nodes": plan.nodes,
        "registry": registry,
        "storage": plan.storage,
        "data": (plan.storage == Storage::Host).then_some(&plan.data),
    });
    let warning = match plan.storage {
        Storage::EmptyDir => "\nIts images are in its pod alone: they are lost when it goes.",
        Storage::Host | Storage::Pvc => "",
    };
    let text = format!(
        "\nCluster {name} is up (context {context}), with its registry at {registry}.{warning} Next:\n\n  \
           docker build -t {registry}/app . && docker push {registry}/app\n  \
           kubectl create deployment app --image={registry}/app\n"
    );
    output::outcome(format, &value, &text);
}
