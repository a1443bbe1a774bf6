//! What is done to a server: what has to be there before, one operation, and whether what was done is true.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Result;

use crate::crowd::{self, Worker};
use crate::process::Process;
use crate::workload::{Kind, Workload};

mod image;
mod lists;
mod mixed;
mod pull;
mod push;
mod referrers;
mod small;
mod talk;

pub(crate) use image::image_of;
pub(crate) use lists::{Catalog, Tags};
pub(crate) use referrers::Referrers;

/// A workload on its way. It holds what must be known before the clock starts, such as digests, and is the same for each server.
pub(crate) trait Load: Sync {
    /// Puts there what the operations need.
    fn prepare(&self, _place: &Place) -> Result<()> {
        Ok(())
    }

    /// Does one operation, and says how many bytes of content it moved.
    fn operate(&self, place: &Place, worker: &mut Worker, index: usize) -> Result<u64>;

    /// Reads a part of it back, and compares.
    fn check(&self, _place: &Place, _worker: &mut Worker) -> Result<()> {
        Ok(())
    }
}

/// Clients that fill a registry.
const FILLERS: usize = 24;

/// Where operations go to.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    /// Where its data is, if it is one of ours.
    pub(crate) data: Option<std::path::PathBuf>,
    /// Whether it promises to store each content once, whoever pushes it at the same time.
    pub(crate) stores_once: bool,
}

impl Place {
    /// Does something many times, untimed: by many, so that registries can put transactions together.
    pub(crate) fn fill(
        &self,
        count: usize,
        operation: impl Fn(&mut Worker, usize) -> Result<u64> + Sync,
    ) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        crowd::run(
            self.address,
            self.process,
            FILLERS.min(count),
            count,
            operation,
        )
        .map(|_| ())
    }
}

/// A new load of a workload, with contents of its own: rounds and runs do not profit from each other.
pub(crate) fn load(workload: Workload) -> Result<Box<dyn Load>> {
    Ok(match workload.kind {
        Kind::Version | Kind::Wrk => Box::new(small::Version),
        Kind::Push => Box::new(push::Push::new(workload, push::Way::Whole)?),
        Kind::PushStreamed => Box::new(push::Push::new(workload, push::Way::Streamed)?),
        Kind::PushChunked => Box::new(push::Push::new(workload, push::Way::Chunked)?),
        Kind::PushSame => Box::new(push::Same::new(workload)?),
        Kind::Pull => Box::new(pull::Pull::new(workload)?),
        Kind::PullRanges => Box::new(pull::Ranges::new(workload)?),
        Kind::HeadBlob => Box::new(pull::Heads::new(workload)?),
        Kind::HeadManifest => Box::new(small::Manifests::new(workload, "HEAD")?),
        Kind::GetManifest => Box::new(small::Manifests::new(workload, "GET")?),
        Kind::PutManifest => Box::new(small::Puts::new(workload)?),
        Kind::Tags => Box::new(Tags::new(workload.size)?),
        Kind::Catalog => Box::new(Catalog::new(workload.size)?),
        Kind::Referrers => Box::new(Referrers::new(workload.size)?),
        Kind::ImagePush => Box::new(image::Push::new(workload)?),
        Kind::ImagePull => Box::new(image::Pull::new(workload)?),
        Kind::Mixed => Box::new(mixed::Mixed::new(workload)?),
    })
}

/// The first of so many numbers that no content and no repository of this process has, and hardly one of another.
pub(crate) fn numbers(count: u64) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if NEXT.load(Relaxed) == 0 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = now.map_or(1, |now| now.as_secs());
        let _ = NEXT.compare_exchange(0, seconds << 28, Relaxed, Relaxed);
    }
    NEXT.fetch_add(count, Relaxed)
}

/// Some of so many, to look at more closely.
fn some(worker: &mut Worker, count: usize, most: usize) -> Vec<usize> {
    (0..most.min(count))
        .map(|_| worker.random.below(count))
        .collect()
}
