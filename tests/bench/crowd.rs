//! Clients that work at the same time, each on a connection of its own: a closed loop, so what is measured is how long the
//! server takes, and not how long a queue of requests gets.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use wharf_tests::content::Random;

use crate::blocks::Blocks;
use crate::process::Process;
use crate::wire::Wire;

/// One client.
pub(crate) struct Worker {
    pub(crate) wire: Wire,
    pub(crate) blocks: Blocks,
    pub(crate) random: Random,
}

/// What a crowd did.
#[derive(Debug)]
pub(crate) struct Lap {
    pub(crate) took: Duration,
    pub(crate) operations: usize,
    pub(crate) bytes: u64,
    /// Of each operation, in order of size.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) server_cpu: Duration,
    pub(crate) client_cpu: Duration,
}

impl Worker {
    pub(crate) fn new(address: SocketAddr, seed: u64) -> Self {
        Self {
            wire: Wire::new(address),
            blocks: Blocks::new(),
            random: Random::new(seed),
        }
    }
}

/// Does all operations from 0 to `count`. An operation returns how many bytes it moved.
pub(crate) fn run(
    address: SocketAddr,
    server: Process,
    clients: usize,
    count: usize,
    operation: impl Fn(&mut Worker, usize) -> Result<u64> + Sync,
) -> Result<Lap> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let ready = Barrier::new(clients + 1);
    let client = |seed: usize| -> Result<(Vec<Duration>, u64)> {
        let mut worker = Worker::new(address, seed as u64);
        let mut latencies = Vec::with_capacity(count / clients * 2);
        let mut bytes = 0;
        let connected = worker.wire.connect();
        ready.wait();
        connected?;
        while !failed.load(Relaxed) {
            let index = next.fetch_add(1, Relaxed);
            if index >= count {
                break;
            }
            let started = Instant::now();
            match operation(&mut worker, index) {
                Ok(moved) => bytes += moved,
                Err(error) => {
                    failed.store(true, Relaxed);
                    return Err(error);
                }
            }
            latencies.push(started.elapsed());
        }
        Ok((latencies, bytes))
    };
    thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..clients)
            .map(|seed| scope.spawn(move || client(seed)))
            .collect();
        let before = (server.cpu(), Process::this().cpu());
        ready.wait();
        let started = Instant::now();
        let (mut latencies, mut bytes) = (Vec::with_capacity(count), 0);
        let mut ended = Ok(());
        for client in clients {
            match client.join().map_err(|_| anyhow!("a client panicked"))? {
                Ok((its, moved)) => {
                    latencies.extend(its);
                    bytes += moved;
                }
                Err(error) => ended = Err(error),
            }
        }
        let took = started.elapsed();
        ended?;
        let after = (server.cpu()?, Process::this().cpu()?);
        latencies.sort_unstable();
        Ok(Lap {
            took,
            operations: count,
            bytes,
            latencies,
            server_cpu: after.0.saturating_sub(before.0?),
            client_cpu: after.1.saturating_sub(before.1?),
        })
    })
}
