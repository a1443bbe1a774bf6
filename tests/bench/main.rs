//! `cargo bench-peers`: wharf and other registries side by side, in one run on one machine. Wharf keeps its promise
//! meanwhile (201 means on disk); the others are as they come.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use wharf_tests::command::say;

mod answer;
mod blocks;
mod crowd;
mod loads;
mod measure;
mod options;
mod process;
mod report;
mod results;
mod rows;
mod servers;
mod statistics;
mod wire;
mod workload;

use options::Options;
use results::Results;
use rows::Row;
use servers::Peer;

/// Whose targets they are, and which it is compared with.
const SUBJECT: &str = "wharf";
const REFERENCE: &str = "distribution";

/// Of tmpfs: nothing that is synced to it is on a disk.
const TMPFS: i64 = 0x0102_1994;

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
    std::fs::create_dir_all(&options.dir)?;
    ensure!(
        i64::from(rustix::fs::statfs(&options.dir)?.f_type) != TMPFS,
        "{} is memory and no disk: choose another with --dir",
        options.dir.display()
    );
    let scratch = tempfile::Builder::new()
        .prefix("bench-peers-")
        .tempdir_in(&options.dir)?;
    let mut peers = vec![Peer::wharf()?];
    if !options.alone {
        peers.push(Peer::distribution()?);
    }
    peers.extend(options.peers.iter().cloned());
    let rounds = if options.quick { 1 } else { options.rounds };
    let mut all = match &options.json {
        Some(file) if file.exists() => Results::read(file)?,
        _ => Results::default(),
    };
    let mut here = Results::default();
    for row in chosen(options)? {
        let result = measure::row(&row, &peers, rounds, scratch.path())?;
        say(&report::table::line(&result));
        here.rows.push(result);
        // What is known is kept, should the next row fail.
        if let Some(file) = &options.json {
            all.take(std::mem::take(&mut here));
            all.write(file)?;
        }
    }
    if options.json.is_none() {
        all = here;
    }
    print(&report::table::all(&all));
    Ok(())
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
