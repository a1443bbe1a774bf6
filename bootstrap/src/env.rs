//! `wharf env`: what tools must be told that do not read the cluster's own word about its registry (KEP-1755).

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::time::timeout;

use crate::cli::{ClusterArgs, Format, OutputArgs};
use crate::cluster::{self, Meant, Provider};
use crate::environment::{self, Stage};
use crate::exit::Code;
use crate::kube::Kube;
use crate::names::registry_host;
use crate::output;

/// A control plane that does not answer within this is not there.
const API_PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `wharf env`.
#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    /// The shell that is to read it [default: the one in SHELL]
    #[arg(long, value_enum)]
    shell: Option<Shell>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl EnvArgs {
    /// Which cluster is meant.
    pub(crate) fn cluster(&self) -> &ClusterArgs {
        &self.cluster
    }
}

/// Shells, by how they set a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// sh, bash, zsh
    #[value(aliases = ["bash", "zsh"])]
    Sh,
    /// fish
    Fish,
    /// PowerShell
    #[value(alias = "pwsh")]
    Powershell,
}

impl Shell {
    fn of_user() -> Self {
        let shell = std::env::var("SHELL").unwrap_or_default();
        match shell.rsplit('/').next() {
            Some("fish") => Self::Fish,
            Some("pwsh") => Self::Powershell,
            Some("") | None if cfg!(windows) => Self::Powershell,
            _ => Self::Sh,
        }
    }

    fn set(self, name: &str, value: &str) -> String {
        // No name of a cluster or a host has a quote in it.
        match self {
            Self::Sh => format!("export {name}='{value}'"),
            Self::Fish => format!("set -gx {name} '{value}'"),
            Self::Powershell => format!("$env:{name} = '{value}'"),
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Sh => "# eval \"$(wharf env)\"",
            Self::Fish => "# wharf env --shell fish | source",
            Self::Powershell => "# wharf env --shell powershell | Out-String | Invoke-Expression",
        }
    }
}

/// Runs `wharf env`.
pub(crate) async fn run(args: EnvArgs) -> anyhow::Result<ExitCode> {
    let meant = cluster::recalled(&args.cluster)?;
    let port = port(&args.cluster, &meant).await?;
    let variables = variables(&meant, port);
    let shell = args.shell.unwrap_or_else(Shell::of_user);
    if args.output.output == Format::Json {
        output::outcome(Format::Json, &json!(variables), "");
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in &variables {
        output::result(&shell.set(name, value));
    }
    output::result(shell.hint());
    Ok(ExitCode::SUCCESS)
}

fn variables(meant: &Meant, port: u16) -> BTreeMap<&'static str, String> {
    let registry = registry_host(port);
    let cluster = match meant.likely_provider() {
        Provider::Kind => Some("KIND_CLUSTER_NAME"),
        Provider::Minikube => Some("MINIKUBE_PROFILE"),
        Provider::Existing => None,
    };
    let mut variables = BTreeMap::from([
        ("KO_DOCKER_REPO", registry.clone()),
        ("SKAFFOLD_DEFAULT_REPO", registry.clone()),
        ("WHARF_REGISTRY", registry),
    ]);
    variables.extend(cluster.map(|cluster| (cluster, meant.name.to_string())));
    variables
}

/// The port of localhost, as this host remembers it, or else as the cluster says.
async fn port(args: &ClusterArgs, meant: &Meant) -> anyhow::Result<u16> {
    let remembered = environment::recall(&meant.name)?
        .filter(|record| matches!(record.stage, Stage::Created { .. } | Stage::Adopted { .. }));
    if let Some(record) = remembered {
        return Ok(record.port);
    }
    let ask = async {
        let kube = Kube::of_context(&cluster::context(args)?).await?;
        kube.environment().await
    };
    let said = timeout(API_PATIENCE, ask).await.ok().and_then(Result::ok);
    let port = said.and_then(|said| said.get("port")?.parse().ok());
    port.ok_or_else(|| {
        let again = args.again();
        Code::NotFound.error(match meant.likely_provider() {
            Provider::Existing => format!(
                "wharf's registry is not in that cluster: `wharf up {again} --image IMAGE` puts it there"
            ),
            Provider::Kind | Provider::Minikube => format!(
                "there is no cluster {} of wharf's: `wharf up {again}` makes one",
                meant.name
            ),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_is_told_in_its_own_words() {
        let set = |shell: Shell| shell.set("KO_DOCKER_REPO", "localhost:5000");
        assert_eq!(set(Shell::Sh), "export KO_DOCKER_REPO='localhost:5000'");
        assert_eq!(set(Shell::Fish), "set -gx KO_DOCKER_REPO 'localhost:5000'");
        assert_eq!(
            set(Shell::Powershell),
            "$env:KO_DOCKER_REPO = 'localhost:5000'"
        );
    }
}
