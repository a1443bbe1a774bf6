//! What can be typed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::cluster::{ClusterName, Provider};
use crate::storage::{Wanted, WantedParser};

/// A container registry, and the shortest way from source code to a running pod.
#[derive(Debug, Parser)]
#[command(
    name = "wharf",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring up a local cluster with a registry inside, reachable as localhost:5000 from everywhere
    Up(UpArgs),
    /// Delete the cluster that `wharf up` made, or take the registry out of one that it adopted; the images stay
    Down(DownArgs),
    /// Say what is up, and whether it works
    Status(StatusArgs),
    /// Print what tools need that do not find the registry by themselves, for a shell to read
    Env(crate::env::EnvArgs),
    /// Lead a port of this machine to the registry, or to a Service, through the cluster's API
    Forward(crate::forward::ForwardArgs),
    /// Serve a registry
    Serve(crate::serve::ServeArgs),
    /// Collect garbage now: blobs that nothing needs, abandoned uploads, orphaned files
    Gc(crate::store::GcArgs),
    /// Read all blobs of a registry again, and say which are damaged
    Scrub(crate::store::DirectoryArgs),
    /// Ask about what a registry keeps
    #[command(subcommand)]
    Image(crate::store::ImageCommand),
    /// Put a registry's catalog back that was lost
    #[command(subcommand)]
    Catalog(crate::store::CatalogCommand),
    /// Make localhost:PORT of a node lead to the registry (runs in the cluster)
    #[command(hide = true)]
    Relay(crate::relay::RelayArgs),
    /// Do on a node what nobody can do from outside (runs in the cluster)
    #[command(subcommand, hide = true)]
    Node(crate::node::NodeCommand),
    /// Print the version
    Version,
    /// Print a completion script
    Completion {
        /// The shell that it is for
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// The environment file that was named, for a command that reads one.
    pub(crate) fn environment_file(&self) -> Option<Option<&Path>> {
        let cluster = match self {
            Self::Up(args) => &args.cluster,
            Self::Down(args) => &args.cluster,
            Self::Status(args) => &args.cluster,
            Self::Env(args) => args.cluster(),
            Self::Forward(args) => args.cluster()?,
            _ => return None,
        };
        Some(cluster.file.as_deref())
    }
}

/// Arguments of `wharf up`. What an existing cluster already decided (port, nodes, data) need not be said again.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Nodes of the cluster, the control plane included [default: 1]
    #[arg(long, env = "WHARF_NODES", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) nodes: Option<u16>,
    /// The registry's port on localhost: of this machine and of every node [default: 5000]
    #[arg(long, env = "WHARF_PORT", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Where the images are kept, beyond the cluster's life: short for --storage host:DIR [default: ~/.local/share/wharf/clusters/NAME]
    #[arg(long, env = "WHARF_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// What keeps the images: a directory of this machine (in a cluster of somebody else: of a node), a volume of the cluster's, or the
    /// registry's pod alone, with which they go [default: host; with an existing context: pvc]
    #[arg(long, env = "WHARF_STORAGE", value_name = "host:DIR|pvc|emptydir", value_parser = WantedParser, hide_possible_values = true)]
    pub(crate) storage: Option<Wanted>,
    /// Put the registry into a cluster of that name that exists already, and that somebody else has made
    #[arg(long, env = "WHARF_ADOPT", conflicts_with_all = ["data", "image"])]
    pub(crate) adopt: bool,
    /// The node image, if not the provider's own default
    #[arg(long, env = "WHARF_KUBERNETES_IMAGE", value_name = "IMAGE")]
    pub(crate) kubernetes_image: Option<String>,
    /// A static Linux build of wharf for the nodes, where this program is not one
    #[arg(
        long,
        env = "WHARF_NODE_BINARY",
        value_name = "PATH",
        conflicts_with = "image"
    )]
    pub(crate) node_binary: Option<PathBuf>,
    /// An image of wharf that the nodes have or can pull, instead of one packed from this program; an existing context needs one
    #[arg(long, env = "WHARF_IMAGE", value_name = "REFERENCE")]
    pub(crate) image: Option<String>,
    /// How long to wait for the cluster, and then for the registry
    #[arg(long, env = "WHARF_WAIT", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Print the steps, and take none
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// What `minikube start` is told besides, as in `-- --memory=4g --cpus=2`
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<String>,
}

/// Arguments of `wharf down`.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Delete the images as well
    #[arg(long)]
    pub(crate) purge: bool,
    /// Delete the cluster even if somebody else has made it
    #[arg(long)]
    pub(crate) delete_cluster: bool,
    /// Print the steps, and take none
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `wharf status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Go on looking, and say whenever it is different, until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// text for people; json: one look a line; yaml: one look a document
    #[arg(long, short, env = "WHARF_OUTPUT", value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
}

/// The forms of what is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// Which cluster.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// What makes the cluster [default: what made it, or else the first that this machine has]
    #[arg(long, env = "WHARF_PROVIDER", value_enum, default_value_t = Choice::Auto, hide_default_value = true)]
    pub(crate) provider: Choice,
    /// The cluster's name [default: wharf, or one after the context]
    #[arg(long, env = "WHARF_NAME")]
    pub(crate) name: Option<ClusterName>,
    /// The context of the kubeconfig that leads to it [default: what its provider calls it]
    #[arg(long, env = "WHARF_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The environment file, which has defaults for flags of `wharf up` [default: wharf.toml, here or in a folder above]
    #[arg(long, env = "WHARF_FILE", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

impl ClusterArgs {
    /// How the same cluster is named again, for a command that is advised.
    pub(crate) fn again(&self) -> String {
        match (&self.name, &self.context) {
            (None, Some(context)) => format!("--context {context}"),
            (name, _) => format!("--name {}", name.clone().unwrap_or_default()),
        }
    }
}

/// A choice of what makes the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// What made the cluster of that name or context, or else kind, or else minikube
    Auto,
    /// kind: Kubernetes in Docker
    Kind,
    /// minikube, with its docker driver
    Minikube,
    /// Whatever a context of the kubeconfig leads to: Docker Desktop, k3d, k3s, a remote cluster
    Existing,
}

impl Choice {
    /// The provider that was named; none where it is to be found out.
    pub(crate) fn named(self) -> Option<Provider> {
        match self {
            Self::Auto => None,
            Self::Kind => Some(Provider::Kind),
            Self::Minikube => Some(Provider::Minikube),
            Self::Existing => Some(Provider::Existing),
        }
    }
}

/// How to talk.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// text for people; json: one event a line, the last one is the result, on standard output
    #[arg(long, short, env = "WHARF_OUTPUT", value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// The forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A shell's completion script.
pub(crate) fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wharf", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// `90s`, `5m`, `1h`, or seconds; a day at most.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    bounded_duration(text, 86_400).ok_or_else(|| complaint("24h"))
}

/// `90s`, `5m`, `1h`, `7d`, or seconds; ten years at most.
pub(crate) fn long_duration(text: &str) -> Result<Duration, String> {
    bounded_duration(text, 3650 * 86_400).ok_or_else(|| complaint("3650d"))
}

fn complaint(most: &str) -> String {
    format!("a duration is like 90s, 5m, 1h or 1d, from 1s to {most}")
}

fn bounded_duration(text: &str, most: u64) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(unit.unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let count: u64 = digits.parse().ok()?;
    count
        .checked_mul(seconds)
        .filter(|seconds| (1..=most).contains(seconds))
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for bad in ["", "m", "5x", "0s", "99h", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(long_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert!(long_duration("3651d").is_err());
    }

    #[test]
    fn every_shell_completes() {
        assert!(completion(clap_complete::Shell::Bash).contains("wharf"));
    }
}
