//! wharf
mod serve;
use clap::Parser;

/// wharf
#[derive(Parser)]
enum Cli {
    /// Serve
    Serve(serve::ServeArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match Cli::parse() {
        Cli::Serve(args) => serve::run(args).await,
    }
}
