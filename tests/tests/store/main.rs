//! What a store does by itself, and what its operator has it do: garbage, rot, orphans, a lost catalog.

mod catalog;
mod clock;
mod collect;
mod orphans;
mod scrub;

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::http::Connection;
use wharf_tests::talk::files;
use wharf_tests::wharf::{self, Server};

/// "Space is back on disk within a minute of the grace's end", and some patience with the machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server of the test's own with these arguments, and a connection to it.
fn serve(arguments: &[&str]) -> Result<(Server, Connection)> {
    let server = Server::start_with(arguments.iter().copied())?;
    let http = Connection::open(server.address())?;
    Ok((server, http))
}

/// The digests of all files that are blobs.
fn stored(server: &Server) -> Result<BTreeSet<String>> {
    let mut digests = BTreeSet::new();
    for algorithm in ["sha256", "sha512"] {
        for file in files(&server.data().join("blobs").join(algorithm))? {
            let hex = file.file_stem().context("no name")?.to_string_lossy();
            ensure!(
                digests.insert(format!("{algorithm}:{hex}")),
                "{} is there twice",
                file.display()
            );
        }
    }
    Ok(digests)
}

/// Runs `wharf` with a server's directory.
fn operate(server: &Server, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(wharf::binary()?);
    wharf::without_settings(&mut command);
    command.args(arguments).arg("--data").arg(server.data());
    Ok(command.output()?)
}

/// Runs `wharf` as [`operate`] does, and returns what it reports.
fn report(server: &Server, arguments: &[&str]) -> Result<Value> {
    let arguments = [arguments, &["--output", "json"]].concat();
    let output = operate(server, &arguments)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        !said.is_empty(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut report: Value = serde_json::from_str(&said)?;
    Ok(report["result"].take())
}

/// What a command says to people, on both channels.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}
