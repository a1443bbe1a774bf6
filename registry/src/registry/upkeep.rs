//! What a registry does by itself, for as long as it serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Registry, Result};
use crate::blobs::Note;
use crate::clock::seconds;
use crate::limits;

impl Registry {
    /// Keeps house until [`Registry::end`]: watches the disk, collects garbage, sweeps orphans, reads blobs
    /// again, copies the catalog. What fails is logged, and tried again the next time.
    pub async fn keep_house(self: Arc<Self>) {
        // These may be cut off anywhere.
        let others = async { tokio::join!(self.copy_for_ever(), self.scrub_for_ever()) };
        tokio::select! {
            _ = self.collect_until_the_end() => {}
            _ = others => {}
        }
    }

    /// Ends house-keeping, and writes down what is known, so that the next start need not guess. Nothing may
    /// be asked of the registry after this.
    pub async fn end(&self) {
        self.stopping.cancel();
        // What is being collected is collected to its end: rows and bytes.
        let _sweeping = self.sweeping.lock().await;
        let ended = async {
            self.write_uses().await?;
            // What was lost in a crash before this start is not known by now either.
            let known = self.uses.all_known_since() + seconds(self.settings.grace);
            if known <= self.clock.now() || self.ended_well {
                self.catalog.end_well().await?;
            }
            Result::Ok(())
        };
        log("write down the use of blobs", ended.await);
    }

    async fn collect_until_the_end(&self) {
        let mut swept: Option<Instant> = None;
        while !self.stopping.is_cancelled() {
            log(
                "look at the disk",
                self.look_at_room().await.map_err(Into::into),
            );
            match self.collect_garbage(false).await {
                Ok(done) if done.blobs + done.uploads > 0 => tracing::info!(
                    blobs = done.blobs,
                    bytes = done.bytes,
                    uploads = done.uploads,
                    "collected garbage"
                ),
                done => log("collect garbage", done),
            }
            if swept.is_none_or(|last| last.elapsed() >= limits::SWEEP_EVERY) {
                self.sweep().await;
                swept = Some(Instant::now());
            }
            let pause = (self.grace() / 4).clamp(limits::SHORTEST_PAUSE, limits::LONGEST_PAUSE);
            tokio::select! {
                () = self.stopping.cancelled() => {}
                () = self.room.wait(pause) => {}
            }
        }
    }

    async fn sweep(&self) {
        match self.sweep_orphans(false, false).await {
            Ok(sweep) if sweep.orphans > 0 => tracing::warn!(
                files = sweep.orphans,
                bytes = sweep.orphan_bytes,
                left = sweep.held,
                "found files that the catalog does not name"
            ),
            sweep => log("look for orphans", sweep),
        }
    }

    async fn scrub_for_ever(&self) {
        loop {
            tokio::time::sleep(limits::SCRUB_PAUSE).await;
            let before = self.clock.now() - seconds(limits::SCRUB_EVERY);
            let scrub = self.scrub_due(before, limits::SCRUB_BYTES_PER_SECOND);
            log("verify blobs", scrub.await);
        }
    }

    async fn copy_for_ever(&self) {
        let Some(directory) = &self.directory else {
            return;
        };
        // Nobody knows whether the newest copy has all that was there before this start.
        let mut copied = None;
        loop {
            tokio::time::sleep(self.settings.copy_every).await;
            // Before the copy is made: what is committed meanwhile may be in it or not.
            let changes = Some(self.catalog.changes());
            if changes == copied {
                continue;
            }
            let copy = self.copy_catalog(directory).await;
            if copy.is_ok() {
                copied = changes;
            }
            log("copy the catalog", copy);
        }
    }

    /// Copies the catalog into `copies/`, where the two newest are kept.
    async fn copy_catalog(&self, directory: &Path) -> Result<()> {
        let folder = directory.join("copies");
        let failed = |source| crate::catalog::Error::Copy {
            to: folder.clone(),
            source,
        };
        tokio::fs::create_dir_all(&folder).await.map_err(failed)?;
        let generation = self.catalog.generation().await?;
        self.catalog
            .copy(&folder.join(copy_name(generation)))
            .await?;
        // Whoever puts the copy in force is told that it is not the newest.
        if self.newer_generation.is_none() {
            self.catalog.set_generation(generation + 1).await?;
            self.blobs
                .set_note(Note::Generation, &(generation + 1).to_string())
                .await?;
        }
        for (_, path) in copies(&folder).map_err(failed)?.into_iter().skip(2) {
            tokio::fs::remove_file(&path).await.map_err(failed)?;
        }
        Ok(())
    }

    /// How long what nothing needs is kept.
    pub(super) fn grace(&self) -> Duration {
        self.hasten(self.settings.grace)
    }

    /// How long an upload waits for its next request.
    pub(super) fn upload_expiry(&self) -> Duration {
        self.hasten(self.settings.upload_expiry)
    }

    /// On a full disk, nothing waits long.
    fn hasten(&self, patience: Duration) -> Duration {
        match self.is_full() {
            true => patience.min(limits::GRACE_WHEN_FULL),
            false => patience,
        }
    }
}

/// The copies of the catalog in a folder, the newest first, with their generations.
pub(super) fn copies(folder: &Path) -> std::io::Result<Vec<(i64, PathBuf)>> {
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let generation = name
            .and_then(|name| name.strip_prefix("catalog-")?.strip_suffix(".db"))
            .and_then(|generation| generation.parse::<i64>().ok());
        copies.extend(generation.map(|generation| (generation, path)));
    }
    copies.sort();
    copies.reverse();
    Ok(copies)
}

fn copy_name(generation: i64) -> String {
    format!("catalog-{generation}.db")
}

fn log<T>(what: &str, result: Result<T>) {
    if let Err(error) = result {
        tracing::error!(error = &error as &dyn std::error::Error, "could not {what}");
    }
}
