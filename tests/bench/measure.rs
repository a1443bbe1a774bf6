//! Rounds: A B, B A, A B, … so that what the machine does meanwhile hits all alike.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use wharf_tests::command::say;

use crate::crowd::{self, Worker};
use crate::loads::{self, Load};
use crate::results::{PeerResult, Round, RowResult};
use crate::rows::Row;
use crate::running::Running;
use crate::servers::Peer;
use crate::workload::{Kind, Workload};
use crate::wrk;

/// Measures a row.
pub(crate) fn row(row: &Row, peers: &[Peer], rounds: usize, scratch: &Path) -> Result<RowResult> {
    let peers: Vec<_> = peers
        .iter()
        .filter(|peer| !row.alone || peer.name == crate::SUBJECT)
        .collect();
    let mut results: Vec<_> = peers.iter().map(|peer| empty(&peer.name)).collect();
    match row.workload.kind.only_reads() {
        true => reading(row, &peers, rounds, scratch, &mut results)?,
        false => writing(row, &peers, rounds, scratch, &mut results)?,
    }
    Ok(RowResult {
        label: row.label.clone(),
        workload: row.workload,
        target: row.target.clone(),
        peers: results,
    })
}

fn empty(name: &str) -> PeerResult {
    PeerResult {
        name: name.to_owned(),
        rounds: Vec::new(),
        failure: None,
    }
}

/// All servers are filled once, and asked in turn; one that is not asked does nothing.
fn reading(
    row: &Row,
    peers: &[&Peer],
    rounds: usize,
    scratch: &Path,
    results: &mut [PeerResult],
) -> Result<()> {
    let load = loads::load(row.workload)?;
    let mut servers = Vec::new();
    for (peer, result) in peers.iter().zip(results.iter_mut()) {
        let server = peer.start(scratch, row.variant)?;
        let prepared = load.prepare(&server.place);
        let tried = prepared.and_then(|()| {
            let mut worker = Worker::new(server.place.address, 1);
            load.operate(&server.place, &mut worker, 0)
        });
        keep(peer, result, tried.map(|_| None))?;
        servers.push(server);
    }
    for round in 0..rounds {
        for index in order(peers.len(), round) {
            if results[index].failure.is_none() {
                sync(scratch)?;
                let round = timed(row, load.as_ref(), &servers[index]);
                keep(peers[index], &mut results[index], round.map(Some))?;
            }
        }
    }
    Ok(())
}

/// Each round begins with empty directories, and with contents that nobody has seen.
fn writing(
    row: &Row,
    peers: &[&Peer],
    rounds: usize,
    scratch: &Path,
    results: &mut [PeerResult],
) -> Result<()> {
    for round in 0..rounds {
        let load = loads::load(row.workload)?;
        for index in order(peers.len(), round) {
            if results[index].failure.is_none() {
                let server = peers[index].start(scratch, row.variant)?;
                let prepared = load.prepare(&server.place);
                sync(scratch)?;
                let round = prepared.and_then(|()| timed(row, load.as_ref(), &server));
                keep(peers[index], &mut results[index], round.map(Some))?;
                drop(server);
                sync(scratch)?;
            }
        }
    }
    Ok(())
}

fn order(count: usize, round: usize) -> Vec<usize> {
    match round % 2 {
        0 => (0..count).collect(),
        _ => (0..count).rev().collect(),
    }
}

fn timed(row: &Row, load: &dyn Load, server: &Running) -> Result<Round> {
    let place = &server.place;
    place.process.forget_peak();
    let Workload { clients, count, .. } = row.workload;
    let lap = match row.workload.kind {
        Kind::Wrk => wrk::run(place, clients, count)?,
        _ => crowd::run(
            place.address,
            place.process,
            clients,
            count,
            |worker, index| load.operate(place, worker, index),
        )?,
    };
    let peak = place.process.peak()?;
    load.check(place, &mut Worker::new(place.address, peak))?;
    Ok(Round::new(&lap, peak))
}

/// Another registry may be unable to do what a row asks for, which is a result; wharf may not.
fn keep(peer: &Peer, result: &mut PeerResult, round: Result<Option<Round>>) -> Result<()> {
    match round {
        Ok(round) => result.rounds.extend(round),
        Err(error) if peer.name == crate::SUBJECT => return Err(error),
        Err(error) => {
            say(&format!("{}: {error:#}", peer.name));
            result.rounds.clear();
            result.failure = Some(format!("{error:#}"));
        }
    }
    Ok(())
}

/// What one server left to be written is not for the next one to wait for.
fn sync(scratch: &Path) -> Result<()> {
    rustix::fs::syncfs(File::open(scratch)?).context("cannot sync the scratch directory")
}
