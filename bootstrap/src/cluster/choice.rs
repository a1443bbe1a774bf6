//! Which provider's cluster is meant: the one that was named, or the one that is there, or the first that this machine has.

use super::{Cluster, Provider, kind, minikube, named};
use crate::cli::ClusterArgs;
use crate::docker::Docker;
use crate::environment::{self, Record};
use crate::exit::Code;
use crate::process;

/// A cluster that may or may not exist, and the engine that its nodes are containers of.
pub(crate) struct Opened {
    /// The engine.
    pub(crate) docker: Docker,
    /// The cluster.
    pub(crate) cluster: Box<dyn Cluster>,
    /// Why it is this provider's, where nobody said.
    pub(crate) why: Option<String>,
}

/// Finds out which cluster is meant. Fails unless the programs and the engine are here that it takes.
pub(crate) async fn open(args: &ClusterArgs) -> anyhow::Result<Opened> {
    process::require(
        "docker",
        "install Docker as https://docs.docker.com/engine/install says",
    )?;
    match args.provider.named() {
        Some(provider) => require(provider)?,
        // Whatever is found out, one of them is needed; this one is advised.
        None if !process::has("minikube") => kind::require()?,
        None => {}
    }
    let docker = Docker::connect().await?;
    let (provider, why) = choose(args, &docker).await?;
    require(provider)?;
    Ok(Opened {
        cluster: named(provider, &args.name, docker.clone()),
        docker,
        why,
    })
}

fn require(provider: Provider) -> anyhow::Result<()> {
    match provider {
        Provider::Kind => kind::require(),
        Provider::Minikube => minikube::require(),
    }
}

async fn choose(args: &ClusterArgs, docker: &Docker) -> anyhow::Result<(Provider, Option<String>)> {
    let name = &args.name;
    let record = environment::recall(name)?;
    if let Some(provider) = args.provider.named() {
        if let Some(record) = record.filter(|record| record.provider != provider) {
            refuse_another(&record, docker).await?;
        }
        return Ok((provider, None));
    }
    let because = |provider, why: String| Ok((provider, Some(why)));
    if let Some(record) = record {
        return because(record.provider, format!("it made environment {name}"));
    }
    let of_kind = named(Provider::Kind, name, docker.clone()).nodes().await?;
    let is_minikubes = minikube::exists(name, docker).await?;
    match (of_kind.is_empty(), is_minikubes) {
        (false, true) => {
            return Err(Code::Conflict.error(format!(
                "kind has a cluster {name} and minikube a profile {name}: say which one is meant with --provider"
            )));
        }
        (false, false) => {
            return because(Provider::Kind, format!("it has a cluster {name}"));
        }
        (true, true) => {
            return because(Provider::Minikube, format!("it has a profile {name}"));
        }
        (true, false) => {}
    }
    match (process::has("kind"), process::has("minikube")) {
        (false, true) => because(Provider::Minikube, "kind is not on PATH".to_owned()),
        (true, true) => because(
            Provider::Kind,
            "the default; --provider minikube is the other".to_owned(),
        ),
        _ => because(Provider::Kind, "the default".to_owned()),
    }
}

/// Two environments cannot have one name, because what the host remembers of them is found by it.
async fn refuse_another(record: &Record, docker: &Docker) -> anyhow::Result<()> {
    let (name, provider) = (&record.name, record.provider);
    let nodes = named(provider, name, docker.clone()).nodes().await?;
    if record.is_of(&nodes) || record.left_half_made(&nodes) {
        return Err(Code::Conflict.error(format!(
            "environment {name} is one of {provider}: choose another name with --name, or take it away first with `wharf down --name {name}`"
        )));
    }
    Ok(())
}

/// The provider that is meant, as far as this host knows without asking anybody.
pub(crate) fn recalled(args: &ClusterArgs) -> anyhow::Result<Provider> {
    if let Some(provider) = args.provider.named() {
        return Ok(provider);
    }
    Ok(match environment::recall(&args.name)? {
        Some(record) => record.provider,
        None if minikube::has_profile(&args.name) => Provider::Minikube,
        None => Provider::Kind,
    })
}

/// The context of the cluster that is meant.
pub(crate) fn context(args: &ClusterArgs) -> anyhow::Result<String> {
    Ok(match recalled(args)? {
        Provider::Kind => kind::context(&args.name),
        Provider::Minikube => minikube::context(&args.name),
    })
}
