//! `wharf forward`: a port of this machine that leads into a cluster through its API server, for as long as it is wanted.
//!
//! Needs a kubeconfig and nothing else. Every connection has a way of its own, so none can stand in another's
//! (decisions 006 and 012); the pod is looked up for each, so a pod may go and another come.

mod background;
mod connection;
mod kept;
mod log;
mod record;
mod serve;
mod tunnel;
mod way;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::{ClusterArgs, OutputArgs};
use crate::cluster;
use crate::output::{self, LogFormat};
use words::Wish;

/// Arguments of `wharf forward`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ForwardArgs {
    #[command(subcommand)]
    command: Option<ForwardCommand>,
    #[command(flatten)]
    run: RunArgs,
}

/// What can be done with forwards. Without a word of these, `run` is meant.
#[derive(Debug, Subcommand)]
enum ForwardCommand {
    /// Forward until Ctrl-C
    Run(RunArgs),
    /// Forward in the background
    Start(RunArgs),
    /// End forwards
    Stop(StopArgs),
    /// Say what is forwarded, and whether it works
    Status(StatusArgs),
}

/// What is forwarded, and from where.
#[derive(Debug, Args)]
struct RunArgs {
    /// A Service (`app`) or a pod (`pod/app-0`), and ports as in 8080:80, 8080 or :80 [default: the registry]
    #[arg(value_name = "TARGET|PORTS")]
    words: Vec<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// How long a new connection is held while no pod is ready
    #[arg(long, env = "WHARF_HOLD", value_name = "DURATION", default_value = "30s", value_parser = crate::cli::duration)]
    hold: Duration,
    /// Where to write the log, instead of to standard error
    #[arg(long, value_name = "FILE", hide = true)]
    log: Option<PathBuf>,
    /// Leave the terminal to others
    #[arg(long, hide = true)]
    detach: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// In which cluster.
#[derive(Debug, Args)]
struct PlaceArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The namespace of the Service or pod [default: the context's own]
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
}

/// Arguments of `wharf forward stop`.
#[derive(Debug, Args)]
struct StopArgs {
    /// The Service or pod [default: the registry]
    #[arg(value_name = "TARGET", conflicts_with = "all")]
    target: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// All forwards of this user
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `wharf forward status`.
#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    output: OutputArgs,
}

impl ForwardArgs {
    /// Which cluster is meant; none where all are.
    pub(crate) fn cluster(&self) -> Option<&ClusterArgs> {
        let place = match &self.command {
            None => &self.run.place,
            Some(ForwardCommand::Run(args) | ForwardCommand::Start(args)) => &args.place,
            Some(ForwardCommand::Stop(args)) => &args.place,
            Some(ForwardCommand::Status(_)) => return None,
        };
        Some(&place.cluster)
    }
}

impl PlaceArgs {
    fn context(&self) -> anyhow::Result<String> {
        cluster::context(&self.cluster)
    }
}

impl RunArgs {
    fn wish(&self) -> anyhow::Result<Wish> {
        Wish::read(&self.words, self.place.namespace.as_deref())
    }
}

/// Runs `wharf forward`.
pub(crate) fn run(args: ForwardArgs) -> anyhow::Result<ExitCode> {
    let command = args.command.unwrap_or(ForwardCommand::Run(args.run));
    let log = match &command {
        ForwardCommand::Run(args) => args.log.as_deref(),
        _ => None,
    };
    match log {
        Some(file) => output::log_to("info", log::Log::open(file)?),
        None => output::log_to_stderr("warn", LogFormat::Text),
    }
    crate::runtime()?.block_on(async {
        match command {
            ForwardCommand::Run(args) => serve::run(args).await,
            ForwardCommand::Start(args) => background::start(args).await,
            ForwardCommand::Stop(args) => background::stop(args).await,
            ForwardCommand::Status(args) => background::status(args).await,
        }
    })
}

pub(crate) use background::{any_into, stop_all_of};
pub(crate) use kept::{Kept, State};
