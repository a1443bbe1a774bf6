//! What an operator does with a data directory: collect, scrub, ask why a blob is kept, and put a
//! lost catalog back. Where a server has the directory, it is the server that does it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use wharf_registry::registry::{self, DirectoryError, Settings, Why};
use wharf_registry::server::{ControlError, Order, Report, give_order};

use crate::cli::{OutputArgs, long_duration};
use crate::exit::Code;
use crate::{output, serve};

/// Which directory.
#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryArgs {
    /// The registry's data directory [default: ~/.local/share/wharf/registry]
    #[arg(long, value_name = "DIR", env = "WHARF_DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `wharf gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    directory: DirectoryArgs,
    /// Only say what would go, and why
    #[arg(long)]
    dry_run: bool,
    /// Take files that the catalog does not name, even where they are more than a crash leaves
    #[arg(long)]
    orphans: bool,
    /// How long a blob that nothing needs is kept after its last use; a running server has its own
    #[arg(long, value_name = "DURATION", env = "WHARF_GC_GRACE", default_value = "1h", value_parser = long_duration)]
    gc_grace: Duration,
}

/// What is asked of an image.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ImageCommand {
    /// Say what keeps a blob: repositories, manifests and tags
    Why {
        /// The blob's digest, as sha256:…
        digest: String,
        #[command(flatten)]
        directory: DirectoryArgs,
    },
}

/// What is done with a catalog.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CatalogCommand {
    /// Put the newest automatic copy of the catalog in force, and say what it lacks
    Restore(DirectoryArgs),
    /// Say that an older catalog is the right one: what it does not name is garbage from now on
    Accept(DirectoryArgs),
}

/// Collects garbage.
pub(crate) async fn gc(args: GcArgs) -> anyhow::Result<ExitCode> {
    let order = Order::Collect {
        dry_run: args.dry_run,
        orphans: args.orphans,
    };
    let report = args.directory.follow(order, args.gc_grace).await?;
    let Report::Collected { collection, sweep } = &report else {
        return Err(unexpected(&report));
    };
    let verb = if args.dry_run { "would free" } else { "freed" };
    let mut text = String::new();
    for garbage in &collection.garbage {
        text += &format!(
            "{}@{}  {}, unused for {}\n",
            garbage.repository,
            garbage.digest,
            bytes(garbage.size),
            seconds(garbage.unused_for)
        );
    }
    let unnamed = collection.blobs.saturating_sub(collection.garbage.len());
    if unnamed > 0 {
        text += &format!("and {unnamed} more\n");
    }
    text += &format!(
        "{verb} {} of {} blobs that nothing needs\n",
        bytes(collection.bytes),
        collection.blobs
    );
    if collection.uploads > 0 {
        text += &format!("{} abandoned uploads\n", collection.uploads);
    }
    if let Some(held) = &collection.held {
        text += &format!("nothing is collected now: {held}\n");
    }
    if sweep.orphans > 0 {
        let what = format!(
            "{} files ({}) that the catalog does not name",
            sweep.orphans,
            bytes(sweep.orphan_bytes)
        );
        text += &match (&sweep.held, args.dry_run) {
            (Some(held), _) => format!("{what} stay where they are: {held}\n"),
            (None, true) => format!("{what} would go into quarantine\n"),
            (None, false) => format!("{what} went into quarantine\n"),
        };
    }
    args.directory.say(&report, text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Reads all blobs again.
pub(crate) async fn scrub(args: DirectoryArgs) -> anyhow::Result<ExitCode> {
    let report = args.follow(Order::Scrub, Settings::default().grace).await?;
    let Report::Scrubbed(scrub) = &report else {
        return Err(unexpected(&report));
    };
    let mut text = format!("read {} of {} blobs\n", bytes(scrub.bytes), scrub.blobs);
    for bad in &scrub.bad {
        text += &format!(
            "{} is damaged; push again: {}\n",
            bad.digest,
            bad.needed_by.join(", ")
        );
    }
    text += match scrub.bad.is_empty() {
        true => "all of them are what their digests say",
        false => "what is damaged answers 404 until it is pushed again",
    };
    args.say(&report, &text)?;
    Ok(match scrub.bad.is_empty() {
        true => ExitCode::SUCCESS,
        false => Code::Unhealthy.into(),
    })
}

/// Answers what keeps a blob.
pub(crate) async fn image(command: ImageCommand) -> anyhow::Result<ExitCode> {
    let ImageCommand::Why { digest, directory } = command;
    let order = Order::Why {
        digest: digest.clone(),
    };
    let report = directory.follow(order, Settings::default().grace).await?;
    match &report {
        Report::Kept(Some(why)) => directory.say(&report, explain(why).trim_end())?,
        Report::Kept(None) => {
            return Err(Code::NotFound.error(format!(
                "the registry has no blob {digest} (manifests are none: they stay until they are deleted)"
            )));
        }
        other => return Err(unexpected(other)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts a catalog in force.
pub(crate) async fn catalog(command: CatalogCommand) -> anyhow::Result<ExitCode> {
    match command {
        CatalogCommand::Restore(args) => {
            let path = args.path()?;
            let copy = registry::restore_catalog(&path).await.map_err(refused)?;
            let settings = Settings::default();
            let (registry, _lock) = open(&path, settings).await?;
            let lacks = registry.sweep_orphans(false, true).await?;
            let text = format!(
                "{} is in force\nit does not name {} files ({}) of {}; images whose pushes were answered after the copy have to be \
                 pushed again\nnothing is collected until `wharf catalog accept --data {}`",
                copy.display(),
                lacks.orphans,
                bytes(lacks.orphan_bytes),
                lacks.files,
                path.display(),
            );
            args.say(&lacks, &text)?;
        }
        CatalogCommand::Accept(args) => {
            let path = args.path()?;
            registry::accept_catalog(&path).await.map_err(refused)?;
            let text = "the catalog is accepted: what it does not name is garbage from now on";
            args.say(&serde_json::json!({"accepted": true}), text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl DirectoryArgs {
    fn path(&self) -> anyhow::Result<PathBuf> {
        let path = match &self.data {
            Some(path) => path.clone(),
            None => serve::default_data()?,
        };
        // Asking must not make one.
        if !path.is_dir() {
            return Err(Code::NotFound.error(format!(
                "there is no data directory {}; name the registry's with --data DIR",
                path.display()
            )));
        }
        Ok(path)
    }

    /// Has the directory's server follow an order, or follows it here where there is none.
    async fn follow(&self, order: Order, grace: Duration) -> anyhow::Result<Report> {
        let path = self.path()?;
        let report = match give_order(&path, &order).await {
            Err(ControlError::NotRunning(_)) => {
                let settings = Settings {
                    grace,
                    // Without a server, nobody is in the middle of anything.
                    settle: Duration::ZERO,
                    ..Settings::default()
                };
                let (registry, _lock) = open(&path, settings).await?;
                let report = order.follow(&registry).await;
                registry.end().await;
                report
            }
            report => report?,
        };
        match report {
            Report::Failed(message) => Err(anyhow::anyhow!(message)),
            report => Ok(report),
        }
    }

    fn say(&self, report: &impl Serialize, text: &str) -> anyhow::Result<()> {
        let value = serde_json::to_value(report).context("the report cannot be written")?;
        output::outcome(self.output.output, &value, text);
        Ok(())
    }
}

async fn open(
    path: &Path,
    settings: Settings,
) -> anyhow::Result<(registry::Registry, registry::DirectoryLock)> {
    registry::open(path, Duration::ZERO, settings)
        .await
        .map_err(refused)
}

/// Why a directory cannot be used, with the exit code that says so.
pub(crate) fn refused(error: DirectoryError) -> anyhow::Error {
    match &error {
        DirectoryError::InUse { .. } => Code::Conflict.error(error.to_string()),
        DirectoryError::NoCopy { .. } => Code::NotFound.error(error.to_string()),
        _ => error.into(),
    }
}

fn unexpected(report: &Report) -> anyhow::Error {
    anyhow::anyhow!("the server answered something else than was asked: {report:?}")
}

fn explain(why: &Why) -> String {
    let mut text = format!("{}  {}\n", why.digest, bytes(why.size));
    if why.bad {
        text += "its bytes are damaged: it answers 404 until it is pushed again\n";
    }
    for reason in &why.reasons {
        text += &match (&reason.manifest, reason.unused_for) {
            (Some(manifest), _) if reason.tags.is_empty() => {
                format!("{}: the untagged manifest {manifest}\n", reason.repository)
            }
            (Some(manifest), _) => format!(
                "{}: {} (manifest {manifest})\n",
                reason.repository,
                reason.tags.join(", ")
            ),
            (None, unused) => format!(
                "{}: no manifest; unused for {}, kept for {}\n",
                reason.repository,
                seconds(unused.unwrap_or(0)),
                seconds(i64::try_from(reason.grace).unwrap_or(i64::MAX))
            ),
        };
    }
    text
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return match unit {
                "B" => format!("{count} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A number of seconds for people.
fn seconds(count: i64) -> String {
    match count {
        ..=119 => format!("{count} s"),
        120..=7199 => format!("{} min", count / 60),
        7200..=172_799 => format!("{} h", count / 3600),
        _ => format!("{} days", count / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_for_people() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 40), "5.0 TiB");
        assert_eq!(seconds(119), "119 s");
        assert_eq!(seconds(7199), "119 min");
        assert_eq!(seconds(7200), "2 h");
        assert_eq!(seconds(172_800), "2 days");
    }
}
