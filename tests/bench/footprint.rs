//! What a registry takes whatever it does, and how often it waits for the disk.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command::say;
use wharf_tests::strace::Tracer;

use crate::crowd::Worker;
use crate::loads::image_of;
use crate::results::Footprint;
use crate::servers::{Peer, Variant};

/// How long a server is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);
/// Calls that return once something is on disk.
const SYNCS: [&str; 5] = ["fsync", "fdatasync", "syncfs", "sync", "msync"];
/// Images that are pushed while they are counted.
const IMAGES: usize = 20;
/// Bytes of the one layer of such an image.
const LAYER: u64 = 1 << 20;

/// Looks at all registries, in turn.
pub(crate) fn all(peers: &[Peer], rounds: usize, scratch: &Path) -> Result<Vec<Footprint>> {
    let mut all = peers.iter().map(empty).collect::<Result<Vec<_>>>()?;
    for _ in 0..rounds {
        for (peer, footprint) in peers.iter().zip(&mut all) {
            let server = peer.start(scratch, Variant::Plain)?;
            if peer.is_ours() {
                footprint
                    .startup_ms
                    .push(server.startup.as_secs_f64() * 1e3);
                std::thread::sleep(IDLE);
                footprint
                    .idle_rss_bytes
                    .push(server.place.process.resident()?);
            }
        }
    }
    if let Err(error) = Bed::ensure_tools(&[Tool::Strace]) {
        say(&format!("nobody counts syncs: {error:#}"));
        return Ok(all);
    }
    for (peer, footprint) in peers.iter().zip(&mut all) {
        footprint.syncs_per_image = Some(syncs(peer, scratch)?);
    }
    Ok(all)
}

fn empty(peer: &Peer) -> Result<Footprint> {
    Ok(Footprint {
        name: peer.name.clone(),
        version: peer.version(),
        durability: peer.durability().to_owned(),
        binary_bytes: peer.program()?.metadata()?.len(),
        idle_rss_bytes: Vec::new(),
        startup_ms: Vec::new(),
        syncs_per_image: None,
    })
}

/// Counts them for images of one layer, pushed as docker does, one after the other.
fn syncs(peer: &Peer, scratch: &Path) -> Result<f64> {
    let server = peer.start(scratch, Variant::Plain)?;
    let traced = SYNCS.join(",");
    let process = server.place.process.0;
    let tracer = Tracer::attach(process, scratch, ["--trace", &traced])?;
    let mut worker = Worker::new(server.place.address, 1);
    for number in 0..IMAGES {
        let image = image_of(&[LAYER])?;
        image.push(&mut worker, "bench/syncs", &format!("v{number}"))?;
    }
    let log = tracer.detach()?;
    Ok(count(&log) as f64 / IMAGES as f64)
}

/// The calls in strace's log, in which a call that others interrupt has two lines: one like this, and one that begins with `<...`.
fn count(log: &str) -> usize {
    let is_call = |line: &&str| {
        let call = line.split_once(' ').map(|(_, call)| call.trim_start());
        let name = call
            .and_then(|call| call.split_once('('))
            .map(|(name, _)| name);
        name.is_some_and(|name| SYNCS.contains(&name))
    };
    log.lines().filter(is_call).count()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn a_call_is_counted_once() {
        let log = "\
101 fsync(7 <unfinished ...>
102 fdatasync(8)                      = 0
101 <... fsync resumed>)              = 0
103  fsync(9)                          = -1 EIO (Input/output error)
104 +++ exited with 0 +++
";
        assert_eq!(count(log), 3);
    }
}
