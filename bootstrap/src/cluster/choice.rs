//! Which provider's cluster is meant: the one that was named, or the one that is there, or the first that this machine has.

use super::{Cluster, ClusterName, Provider, existing, kind, minikube};
use crate::cli::ClusterArgs;
use crate::docker::Docker;
use crate::environment::{self, Record};
use crate::exit::Code;
use crate::process;

/// A cluster that may or may not exist.
pub(crate) struct Opened {
    /// The environment's name.
    pub(crate) name: ClusterName,
    /// The cluster.
    pub(crate) cluster: Box<dyn Cluster>,
    /// Why it is this provider's, where nobody said.
    pub(crate) why: Option<String>,
}

/// What the flags mean, as far as this host knows without asking anybody.
#[derive(Debug)]
pub(crate) struct Meant {
    /// The environment's name.
    pub(crate) name: ClusterName,
    /// The provider, where it was named or is remembered.
    pub(crate) provider: Option<Provider>,
    /// The context, where it was named or is remembered.
    context: Option<String>,
    /// What is remembered.
    record: Option<Record>,
}

/// Finds out which cluster is meant. Fails unless the programs and the engine are here that it takes.
pub(crate) async fn open(args: &ClusterArgs) -> anyhow::Result<Opened> {
    let mut meant = recalled(args)?;
    let mut why = None;
    if args.provider.named().is_none() {
        why = meant
            .record
            .as_ref()
            .map(|record| because_of(record.provider, &meant.name));
        if meant.record.is_none()
            && let Some(context) = &args.context
        {
            let (name, provider, because) = of_context(context, args.name.as_ref()).await?;
            (meant.name, meant.provider, why) = (name, Some(provider), Some(because));
        }
    }
    if meant.provider == Some(Provider::Existing) {
        refuse_another(&meant, Provider::Existing).await?;
        let context = meant.context.ok_or_else(existing::require_context)?;
        return Ok(Opened {
            name: meant.name,
            cluster: Box::new(existing::Existing::new(context)),
            why,
        });
    }
    process::require(
        "docker",
        "install Docker as https://docs.docker.com/engine/install says; a cluster that a context of the kubeconfig leads to needs none (--context)",
    )?;
    match args.provider.named() {
        Some(provider) => require(provider)?,
        // Whatever is found out, one of them is needed; this one is advised.
        None if !process::has("minikube") => kind::require()?,
        None => {}
    }
    let docker = Docker::connect().await?;
    let provider = match meant.provider {
        Some(provider) => {
            refuse_another(&meant, provider).await?;
            provider
        }
        None => {
            let (provider, because) = find(&meant.name, &docker).await?;
            why = Some(because);
            provider
        }
    };
    require(provider)?;
    let name = meant.name;
    let cluster: Box<dyn Cluster> = match provider {
        Provider::Minikube => Box::new(minikube::Minikube::new(name.clone(), docker)),
        Provider::Kind | Provider::Existing => Box::new(kind::Kind::new(name.clone(), docker)),
    };
    Ok(Opened { name, cluster, why })
}

fn because_of(provider: Provider, name: &ClusterName) -> String {
    match provider {
        Provider::Existing => format!("environment {name} is in a cluster that exists"),
        Provider::Kind | Provider::Minikube => format!("it made environment {name}"),
    }
}

fn require(provider: Provider) -> anyhow::Result<()> {
    match provider {
        Provider::Kind => kind::require(),
        Provider::Minikube => minikube::require(),
        Provider::Existing => Ok(()),
    }
}

/// What the flags mean, as far as this host knows without asking anybody.
pub(crate) fn recalled(args: &ClusterArgs) -> anyhow::Result<Meant> {
    let named = args.provider.named();
    let Some(context) = &args.context else {
        let name = args.name.clone().unwrap_or_default();
        let record = environment::recall(&name)?;
        let same = |record: &&Record| named.is_none_or(|named| named == record.provider);
        return Ok(Meant {
            provider: named.or(record.as_ref().map(|record| record.provider)),
            context: record.as_ref().filter(same).map(context_of),
            name,
            record,
        });
    };
    if let Some(provider @ (Provider::Kind | Provider::Minikube)) = named {
        let name = match provider {
            Provider::Kind => kind::cluster_of(context),
            _ => context.parse().ok(),
        };
        let name = agreed(provider, context, name, args.name.as_ref())?;
        return Ok(Meant {
            record: environment::recall(&name)?,
            provider: named,
            context: Some(context.clone()),
            name,
        });
    }
    let record = match &args.name {
        Some(name) => environment::recall(name)?,
        None => environment::recall_all()?
            .into_iter()
            .find(|record| is_of_context(record, context)),
    };
    let name = record.as_ref().map(|record| record.name.clone());
    let name = name
        .or_else(|| args.name.clone())
        .unwrap_or_else(|| ClusterName::of_context(context));
    if let Some(record) = &record
        && record.is_of_something()
        && context_of(record) != *context
    {
        return Err(Code::Conflict.error(format!(
            "environment {name} is in the cluster of context {}, not {context}: choose another name with --name",
            context_of(record)
        )));
    }
    let record = record.filter(|record| is_of_context(record, context));
    Ok(Meant {
        name,
        provider: named.or(record.as_ref().map(|record| record.provider)),
        context: Some(context.clone()),
        record,
    })
}

/// A cluster of kind's or minikube's is named by its context as well as by its name, and by one alone.
fn agreed(
    provider: Provider,
    context: &str,
    of_context: Option<ClusterName>,
    named: Option<&ClusterName>,
) -> anyhow::Result<ClusterName> {
    let Some(of_context) = of_context else {
        return Err(Code::Usage.error(format!(
            "{context} is no context of {provider}'s: leave --provider out, or say --provider existing"
        )));
    };
    match named {
        Some(named) if *named != of_context => Err(Code::Usage.error(format!(
            "context {context} is that of {provider}'s cluster {of_context}, and --name is {named}: leave one of them out"
        ))),
        _ => Ok(of_context),
    }
}

fn context_of(record: &Record) -> String {
    match (record.provider, &record.context) {
        (Provider::Minikube, _) => minikube::context(&record.name),
        (Provider::Existing, Some(context)) => context.clone(),
        (Provider::Kind | Provider::Existing, _) => kind::context(&record.name),
    }
}

/// Whether a record is about the cluster of a context. One of a cluster that was deleted is about none; of one that stays, its images
/// may still be there.
fn is_of_context(record: &Record, context: &str) -> bool {
    let is_there = record.is_of_something() || record.provider == Provider::Existing;
    is_there && context_of(record) == context
}

/// Whose cluster a context leads to of which nothing is remembered. One that kind or minikube has made on this machine is theirs, as
/// if its name had been said: then programs can be run on its nodes, and no image has to be named.
async fn of_context(
    context: &str,
    named: Option<&ClusterName>,
) -> anyhow::Result<(ClusterName, Provider, String)> {
    if let Some((provider, name)) = of_this_machine(context).await {
        let name = agreed(provider, context, Some(name), named)?;
        let why = format!("context {context} leads to its cluster {name} on this machine");
        return Ok((name, provider, why));
    }
    let name = named
        .cloned()
        .unwrap_or_else(|| ClusterName::of_context(context));
    let why = format!("context {context} is of no cluster that kind or minikube has here");
    Ok((name, Provider::Existing, why))
}

async fn of_this_machine(context: &str) -> Option<(Provider, ClusterName)> {
    if !process::has("docker") {
        return None;
    }
    if process::has("kind")
        && let Some(name) = kind::cluster_of(context)
    {
        let docker = Docker::connect().await.ok()?;
        let nodes = kind::Kind::new(name.clone(), docker).nodes().await.ok()?;
        return (!nodes.is_empty()).then_some((Provider::Kind, name));
    }
    let name = minikube::cluster_of(context).filter(|_| process::has("minikube"))?;
    Some((Provider::Minikube, name))
}

/// The provider of a cluster of which only the name is known.
async fn find(name: &ClusterName, docker: &Docker) -> anyhow::Result<(Provider, String)> {
    let of_kind = kind::Kind::new(name.clone(), docker.clone())
        .nodes()
        .await?;
    let is_minikubes = minikube::exists(name, docker).await?;
    Ok(match (of_kind.is_empty(), is_minikubes) {
        (false, true) => {
            return Err(Code::Conflict.error(format!(
                "kind has a cluster {name} and minikube a profile {name}: say which one is meant with --provider"
            )));
        }
        (false, false) => (Provider::Kind, format!("it has a cluster {name}")),
        (true, true) => (Provider::Minikube, format!("it has a profile {name}")),
        (true, false) => match (process::has("kind"), process::has("minikube")) {
            (false, true) => (Provider::Minikube, "kind is not on PATH".to_owned()),
            (true, true) => (
                Provider::Kind,
                "the default; --provider minikube is the other".to_owned(),
            ),
            _ => (Provider::Kind, "the default".to_owned()),
        },
    })
}

/// Two environments cannot have one name, because what the host remembers of them is found by it.
async fn refuse_another(meant: &Meant, provider: Provider) -> anyhow::Result<()> {
    let Some(record) = &meant.record else {
        return Ok(());
    };
    if record.provider == provider || !is_there(record).await? {
        return Ok(());
    }
    let (name, provider) = (&record.name, record.provider);
    Err(Code::Conflict.error(format!(
        "environment {name} is one of {provider}: choose another name with --name, or take it away first with `wharf down --name {name}`"
    )))
}

/// Whether what is remembered is there.
async fn is_there(record: &Record) -> anyhow::Result<bool> {
    let (name, docker) = (record.name.clone(), Docker::connect().await);
    let nodes = match (record.provider, docker) {
        (Provider::Kind, Ok(docker)) => kind::Kind::new(name, docker).nodes().await?,
        (Provider::Minikube, Ok(docker)) => minikube::Minikube::new(name, docker).nodes().await?,
        // Who cannot be asked may have it.
        _ => return Ok(record.is_of_something()),
    };
    Ok(record.is_of(&nodes) || record.left_half_made(&nodes))
}

impl Meant {
    /// The provider, or the one that is likely where nobody knows.
    pub(crate) fn likely_provider(&self) -> Provider {
        let is_kinds = |context: &String| kind::cluster_of(context).is_some();
        match (self.provider, &self.context) {
            (Some(provider), _) => provider,
            (None, Some(context)) if is_kinds(context) => Provider::Kind,
            (None, _) if minikube::has_profile(&self.name) => Provider::Minikube,
            (None, Some(_)) => Provider::Existing,
            (None, None) => Provider::Kind,
        }
    }
}

/// The context of the cluster that is meant.
pub(crate) fn context(args: &ClusterArgs) -> anyhow::Result<String> {
    if let Some(context) = &args.context {
        return Ok(context.clone());
    }
    let meant = recalled(args)?;
    match (meant.likely_provider(), meant.context) {
        (Provider::Existing, None) => Err(existing::require_context()),
        (Provider::Existing, Some(context)) => Ok(context),
        (Provider::Kind, _) => Ok(kind::context(&meant.name)),
        (Provider::Minikube, _) => Ok(minikube::context(&meant.name)),
    }
}
