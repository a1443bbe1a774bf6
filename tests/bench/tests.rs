//! That the program works: what it measures in a moment is worth nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::crowd::Worker;
use crate::loads::Place;
use crate::process::Process;
use crate::workload::{KINDS, Kind, Workload};

/// One of each kind, as small as can be.
const SMALLEST: [&str; 18] = [
    "version:0:20:2",
    "wrk:0:1:2",
    "push:1KiB:6:2",
    "push-streamed:70KiB:4:2",
    "push-chunked:6MiB:2:2",
    "push-same:1MiB:8:4",
    "pull:1100KiB:4:2",
    "pull-ranges:1MiB:8:4",
    "head-blob:5:10:2",
    "head-manifest:5:10:2",
    "get-manifest:5:10:2",
    "put-manifest:2:6:2",
    "tags:120:10:2",
    "catalog:120:10:2",
    "referrers:5:10:2",
    "image-push:2:2:1",
    "image-pull:2:2:1",
    "mixed:1KiB:20:2",
];

/// A directory beside the test program: the temporary one may be in memory, which is refused.
fn on_disk() -> Result<TempDir> {
    let program = std::env::current_exe()?;
    Ok(tempfile::tempdir_in(
        program.parent().context("a program in no directory")?,
    )?)
}

#[test]
fn each_kind_of_workload_is_measured_and_reported() -> Result<()> {
    let dir = on_disk()?;
    let (json, chart) = (
        dir.path().join("results.json"),
        dir.path().join("chart.svg"),
    );
    let mut options = Options::parse(["--alone", "--rounds", "1"].map(str::to_owned))?;
    options.workloads = SMALLEST
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_>>()?;
    for (kind, name, _) in KINDS {
        ensure!(
            options
                .workloads
                .iter()
                .any(|workload| workload.kind == kind),
            "{name}"
        );
    }
    options.dir = dir.path().to_owned();
    options.json = Some(json.clone());
    options.chart = Some(chart.clone());
    run(&options)?;

    // A second run adds to the first.
    let mut options =
        Options::parse(["--alone", "--footprint", "--rounds", "1"].map(str::to_owned))?;
    options.dir = dir.path().to_owned();
    options.json = Some(json.clone());
    run(&options)?;

    let results = Results::read(&json)?;
    ensure!(results.rows.len() == SMALLEST.len());
    for row in &results.rows {
        ensure!(row.rate(SUBJECT).is_some_and(|rate| rate > 0.0), "{row:?}");
        let rounds = &row.peer(SUBJECT).context("no rounds")?.rounds;
        // wrk is told how long, and not how many.
        let counts = row.workload.kind != Kind::Wrk;
        ensure!(
            rounds.len() == 1 && (!counts || rounds[0].operations == row.workload.count),
            "{row:?}"
        );
        ensure!(rounds.iter().all(|round| round.peak_rss_bytes > 1 << 20));
    }
    let footprint = results.footprints.first().context("no footprint")?;
    ensure!(footprint.startup_ms.iter().all(|ms| *ms > 0.0));
    // A push that is acknowledged waits for the disk: with the file, its folder and the catalog, for each of two blobs and a
    // manifest.
    ensure!(
        footprint.syncs_per_image.is_some_and(|syncs| syncs >= 3.0),
        "{footprint:?}"
    );
    let table = report::table::all(&results);
    ensure!(
        SMALLEST.iter().all(|label| table.contains(label)),
        "{table}"
    );
    ensure!(std::fs::read_to_string(&chart)?.ends_with("</svg>\n"));
    Ok(())
}

#[test]
fn growth_is_measured_at_three_sizes() -> Result<()> {
    let dir = on_disk()?;
    let words = ["--growth", "--quick", "--only", "tags", "--only", "blobs"];
    let mut options = Options::parse(words.map(str::to_owned))?;
    options.dir = dir.path().to_owned();
    options.json = Some(dir.path().join("results.json"));
    run(&options)?;
    let growth = Results::read(&dir.path().join("results.json"))?.growth;
    for label in [
        "tags of a repository: page of 100 tags, µs",
        "blobs: resident memory, MB",
    ] {
        let one = growth.iter().find(|one| one.label == label);
        let one = one.with_context(|| format!("no {label} in {growth:?}"))?;
        ensure!(
            one.points.len() == 3 && one.slope.is_some_and(f64::is_finite),
            "{one:?}"
        );
    }
    Ok(())
}

#[test]
fn a_server_that_serves_something_else_is_found_out() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; 4096];
        let read = stream.read(&mut request)?;
        ensure!(request[..read].starts_with(b"GET /v2/"));
        Ok(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")?)
    });
    let workload: Workload = "pull:1KiB:3:1".parse()?;
    let place = Place {
        address,
        process: Process::this(),
        data: None,
        stores_once: false,
    };
    let checked = loads::load(workload)?.check(&place, &mut Worker::new(address, 1));
    server.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    let error = format!("{:#}", checked.unwrap_err());
    ensure!(error.contains("has content of sha256:"), "{error}");
    Ok(())
}

#[test]
fn rows_are_chosen_by_their_words() -> Result<()> {
    let options =
        Options::parse(["--only", "push 1 MiB", "--only", "head-blob"].map(str::to_owned))?;
    let labels: Vec<_> = chosen(&options)?.into_iter().map(|row| row.label).collect();
    ensure!(
        labels == ["push 1 MiB, c=4", "blob HEAD, 1,000 blobs, c=8"],
        "{labels:?}"
    );
    let options = Options::parse(["--only", "nothing"].map(str::to_owned))?;
    ensure!(chosen(&options).is_err());
    Ok(())
}

#[test]
fn only_what_a_run_left_that_is_over_is_taken_away() {
    let this = std::process::id();
    assert!(is_abandoned("bench-peers-4294967295-x1Y2z3"));
    assert!(!is_abandoned(&format!("bench-peers-{this}-x1Y2z3")));
    assert!(!is_abandoned("bench-peers-results-1"));
    assert!(!is_abandoned("4294967295-x1Y2z3"));
}
