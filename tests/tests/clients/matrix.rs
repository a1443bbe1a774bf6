//! The matrix: what each client does with the registry. Every cell is run, also those that say that
//! a client cannot; the table in `registry/doc/clients.md` is compared with what was seen.

mod crane;
mod ctr;
mod daemon;
mod docker;
mod layouts;
mod ranges;
mod regctl;
mod skopeo;
mod store;
mod table;

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use wharf_tests::bed::Tool;
use wharf_tests::command::{finish, say};

use crate::PATIENCE;
use crate::world::World;
use table::Column;

/// What a cell turned out to be.
pub(crate) enum Cell {
    /// The client does it, and its effect was seen.
    Does,
    /// The client cannot, for this reason, which was seen as well.
    Cannot(&'static str),
}

type Outcome = Result<Cell>;

/// A row of the matrix. None of the methods has a default: a client is asked for everything.
pub(crate) trait Client {
    /// What it calls its release.
    fn version(&self) -> Result<String>;
    fn push(&self) -> Outcome;
    fn pull(&self) -> Outcome;
    fn pull_ranges(&self) -> Outcome;
    fn mount(&self) -> Outcome;
    fn delete_tag(&self) -> Outcome;
    fn delete_manifest(&self) -> Outcome;
    fn delete_blob(&self) -> Outcome;
    fn list_tags(&self) -> Outcome;
    fn list_repositories(&self) -> Outcome;
    fn push_index(&self) -> Outcome;
    fn pull_platform(&self) -> Outcome;
    fn pull_index(&self) -> Outcome;
    fn push_artifact(&self) -> Outcome;
    fn list_referrers(&self) -> Outcome;
    fn push_zstd(&self) -> Outcome;
    fn pull_zstd(&self) -> Outcome;
}

type Verb = (&'static str, fn(&dyn Client) -> Outcome);

const VERBS: [Verb; 16] = [
    ("push", |client| client.push()),
    ("pull", |client| client.pull()),
    ("pull in parallel ranges", |client| client.pull_ranges()),
    ("copy by mount", |client| client.mount()),
    ("delete a tag", |client| client.delete_tag()),
    ("delete a manifest", |client| client.delete_manifest()),
    ("delete a blob", |client| client.delete_blob()),
    ("list tags", |client| client.list_tags()),
    ("list repositories", |client| client.list_repositories()),
    ("push an index", |client| client.push_index()),
    ("pull one platform", |client| client.pull_platform()),
    ("pull a whole index", |client| client.pull_index()),
    ("push an artifact", |client| client.push_artifact()),
    ("list referrers", |client| client.list_referrers()),
    ("push zstd layers", |client| client.push_zstd()),
    ("pull zstd layers", |client| client.pull_zstd()),
];

/// A client's name in the table, whether it mounts what it unpacks, and how it is made ready.
type Row = (&'static str, bool, fn(World) -> Result<Box<dyn Client>>);

const ROWS: [Row; 8] = [
    ("docker", false, |world| {
        Ok(Box::new(docker::Docker::new(world)))
    }),
    ("crane", false, |world| Ok(Box::new(crane::Crane(world)))),
    ("regctl", false, |world| Ok(Box::new(regctl::Regctl(world)))),
    ("skopeo", false, |world| Ok(Box::new(skopeo::Skopeo(world)))),
    ("buildah", true, |world| {
        Ok(Box::new(store::Store::new(world, "buildah")?))
    }),
    ("podman", true, |world| {
        Ok(Box::new(store::Store::new(world, "podman")?))
    }),
    ("ctr", true, |world| {
        Ok(Box::new(ctr::Ctr::of_the_machine(world)?))
    }),
    ("ctr", true, |world| {
        Ok(Box::new(ctr::Ctr::of_nodes(world)?))
    }),
];

#[test]
fn every_client_does_what_it_can() -> Result<()> {
    let may_mount = may_mount();
    let mut tools = vec![Tool::Crane, Tool::Regctl, Tool::Skopeo];
    if may_mount {
        tools.extend([
            Tool::Buildah,
            Tool::Podman,
            Tool::Containerd,
            Tool::NodeContainerd,
        ]);
    }
    let tools = &tools;
    let columns: Vec<_> = std::thread::scope(|scope| {
        let threads = ROWS.map(|(name, mounts, make)| {
            (!mounts || may_mount).then(|| scope.spawn(move || column(name, make, tools)))
        });
        let joined = threads.into_iter().map(|thread| {
            let column = thread?.join();
            Some(column.unwrap_or_else(|_| Err(anyhow!("a cell panicked"))))
        });
        joined.collect()
    });
    let mut failures = Vec::new();
    let mut measured = Vec::new();
    for (column, (name, ..)) in columns.into_iter().zip(ROWS) {
        measured.push(match column {
            Some(Ok(column)) => Some(column),
            Some(Err(error)) => {
                failures.push(format!("{error:#}"));
                None
            }
            None => {
                say(&format!(
                    "{name} is left out: it mounts what it unpacks, which is for root only"
                ));
                None
            }
        });
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    table::compare(&measured)
}

/// Whether this process may mount, as root may where nobody took it away.
fn may_mount() -> bool {
    let mut mount = Command::new("unshare");
    finish(mount.args(["--mount", "true"]), PATIENCE).is_ok_and(|done| done.status.success())
}

/// Runs all cells of a client.
fn column(
    name: &'static str,
    make: fn(World) -> Result<Box<dyn Client>>,
    tools: &[Tool],
) -> Result<Column> {
    let started = Instant::now();
    let client = make(World::new(tools)?).map_err(|e| e.context(format!("{name} is not ready")))?;
    let mut column = Column::new(format!("{name} {}", release(&client.version()?)?));
    let mut failures = Vec::new();
    for (verb, run) in VERBS {
        match run(client.as_ref()) {
            Ok(cell) => column.add(verb, &cell),
            Err(error) => failures.push(format!("{}, {verb}: {error:#}", column.client)),
        }
    }
    drop(client);
    say(&format!(
        "{}: {:.1} s",
        column.client,
        started.elapsed().as_secs_f32()
    ));
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(column)
}

/// The first two numbers of a release, without what Debian and others write around them.
fn release(version: &str) -> Result<String> {
    let words = version
        .split_whitespace()
        .map(|word| word.trim_start_matches('v'));
    let mut numbers = words.filter_map(|word| {
        let (major, rest) = word.split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let is_number = major.parse::<u32>().is_ok() && !minor.is_empty();
        is_number.then(|| format!("{major}.{minor}"))
    });
    numbers
        .next()
        .ok_or_else(|| anyhow!("no release in {version:?}"))
}
