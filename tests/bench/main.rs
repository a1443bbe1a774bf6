//! `cargo bench-peers`: wharf and other registries side by side, in one run on one machine. Wharf keeps its promise
//! meanwhile (201 means on disk); the others are as they come.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use wharf_tests::command::say;

mod answer;
mod blocks;
mod crowd;
mod footprint;
mod growth;
mod loads;
mod machine;
mod measure;
mod options;
mod process;
mod report;
mod results;
mod rows;
mod running;
mod servers;
mod statistics;
mod wire;
mod workload;
mod wrk;

use options::Options;
use results::Results;
use rows::Row;
use servers::Peer;

/// Whose targets they are, and which it is compared with.
const SUBJECT: &str = "wharf";
const REFERENCE: &str = "distribution";

/// What the names of directories with its data begin with; the process's number follows.
const SCRATCH: &str = "bench-peers-";

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) if options.help => {
            print(&options::usage());
            return ExitCode::SUCCESS;
        }
        Ok(options) => options,
        Err(error) => {
            say(&format!("{error:#}\n\n{}", options::usage()));
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let mut all = match &options.json {
        Some(file) if file.exists() => Results::read(file)?,
        _ => Results::default(),
    };
    if !options.report {
        measure(options, &mut all)?;
    }
    if let Some(file) = &options.chart {
        std::fs::write(file, report::chart::svg(&all))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    print(&report::table::all(&all));
    Ok(())
}

fn measure(options: &Options, all: &mut Results) -> Result<()> {
    let scratch = scratch(&options.dir)?;
    let wharf = Peer::wharf()?;
    let rounds = if options.quick { 1 } else { options.rounds };
    let machine = machine::this(scratch.path())?;
    // What is known is kept, should what comes next fail.
    let mut keep = |new: Results| -> Result<()> {
        all.take(Results {
            machine: machine.clone(),
            ..new
        });
        options.json.as_ref().map_or(Ok(()), |file| all.write(file))
    };
    if options.growth {
        let growth = growth::all(&wharf, options.quick, &options.only, scratch.path())?;
        return keep(Results {
            growth,
            ..Results::default()
        });
    }
    let mut peers = vec![wharf];
    if !options.alone {
        peers.push(Peer::distribution()?);
    }
    peers.extend(options.peers.iter().cloned());
    if options.footprint {
        let footprints = footprint::all(&peers, rounds, scratch.path())?;
        return keep(Results {
            footprints,
            ..Results::default()
        });
    }
    for row in chosen(options)? {
        let result = measure::row(&row, &peers, rounds, scratch.path())?;
        say(&report::table::line(&result));
        keep(Results {
            rows: vec![result],
            ..Results::default()
        })?;
    }
    Ok(())
}

/// A directory on a disk, for all that is stored meanwhile.
fn scratch(dir: &Path) -> Result<TempDir> {
    std::fs::create_dir_all(dir)?;
    ensure!(
        !machine::is_memory(dir)?,
        "{} is memory and no disk: choose another with --dir",
        dir.display()
    );
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if is_abandoned(&entry.file_name().to_string_lossy()) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(tempfile::Builder::new()
        .prefix(&format!("{SCRATCH}{}-", std::process::id()))
        .tempdir_in(dir)?)
}

/// Whether this is the directory of a run that was killed: they are large.
fn is_abandoned(name: &str) -> bool {
    let process = name
        .strip_prefix(SCRATCH)
        .and_then(|name| name.split_once('-'));
    let process = process.and_then(|(process, _)| process.parse::<u32>().ok());
    process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
}

/// The rows that are asked for.
fn chosen(options: &Options) -> Result<Vec<Row>> {
    let mut rows: Vec<_> = match options.workloads.as_slice() {
        [] => rows::all()?,
        given => given
            .iter()
            .map(|workload| Row::of(&workload.to_string(), *workload))
            .collect(),
    };
    rows.retain(|row| {
        let text = format!("{} {}", row.label, row.workload);
        options.only.is_empty() || options.only.iter().any(|only| text.contains(only))
    });
    ensure!(!rows.is_empty(), "there is no such row");
    if options.quick {
        for row in &mut rows {
            row.workload = row.workload.quick();
        }
    }
    Ok(rows)
}

/// Says something to whoever asked for it, on standard output. That nobody listens is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests;
