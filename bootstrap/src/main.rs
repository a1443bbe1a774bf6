//! wharf: a container registry, and the shortest way from source code to a running pod.

mod allocator;
mod cli;
mod cluster;
mod code;
mod data;
mod docker;
mod door;
mod down;
mod env;
mod environment;
mod exit;
mod forward;
mod health;
mod hosts;
mod image;
mod kube;
mod names;
mod node;
mod output;
mod plan;
mod port;
mod process;
mod project;
mod relay;
mod resolve;
mod serve;
mod signals;
mod status;
mod storage;
mod store;
mod up;

use std::process::ExitCode;

use cli::{Cli, Command};
use output::LogFormat;

fn main() -> ExitCode {
    allocator::tune();
    match project::parse().and_then(run) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            exit::Code::of(&error).into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => {
            output::log_to_stderr("info", args.log);
            runtime()?.block_on(serve::run(args))
        }
        Command::Relay(args) => {
            output::log_to_stderr("info", LogFormat::Text);
            runtime()?.block_on(relay::run(args))
        }
        Command::Node(command) => node::run(&command),
        Command::Up(args) => {
            let go_on = format!("`wharf up {}` again completes it", args.cluster.again());
            interactive(up::run(args), &go_on)
        }
        Command::Down(args) => {
            let go_on = format!("`wharf down {}` again completes it", args.cluster.again());
            interactive(down::run(args), &go_on)
        }
        Command::Status(args) => interactive(status::run(args), "nothing was changed"),
        Command::Env(args) => interactive(env::run(args), "nothing was changed"),
        Command::Forward(args) => forward::run(args),
        Command::Gc(args) => operator(store::gc(args)),
        Command::Scrub(args) => operator(store::scrub(args)),
        Command::Image(command) => operator(store::image(command)),
        Command::Catalog(command) => operator(store::catalog(command)),
        Command::Version => {
            output::result(concat!("wharf ", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        Command::Completion { shell } => {
            output::result(cli::completion(shell).trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs what an operator asks of a data directory.
fn operator(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    interactive(command, "nothing was lost; the same command goes on")
}

/// Runs a command that a person may interrupt; everything it does can be done again.
fn interactive(
    command: impl Future<Output = anyhow::Result<ExitCode>>,
    go_on: &str,
) -> anyhow::Result<ExitCode> {
    output::log_to_stderr("off", LogFormat::Text);
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = command => result,
            () = signals::stop() => Err(exit::Code::Interrupted.error(format!("interrupted: {go_on}"))),
        }
    });
    // A blocking task (hashing, packing) must not hold up the end.
    runtime.shutdown_background();
    result
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}
