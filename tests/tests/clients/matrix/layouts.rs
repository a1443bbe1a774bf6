//! What clients have in common that pull into OCI layouts: their cells, each called by name.

use std::path::PathBuf;

use anyhow::Result;

use super::{Cell, Outcome};
use crate::sample::{Family, Packing, Sample, here, there};
use crate::world::{World, identical};

/// A client that pulls into an OCI layout.
pub(super) trait Layouts {
    /// By which its samples are told from others.
    const NAME: &str;

    fn world(&self) -> &World;

    /// Pulls into a folder and says where its blobs are.
    fn pull_to(&self, folder: &str, name: &str, more: &[&str]) -> Result<PathBuf>;
}

/// Seeds an image, has it pulled, and compares.
pub(super) fn pulls(client: &impl Layouts, repository: &str, sample: &Sample) -> Result<()> {
    client.world().seed(repository, "v1", sample)?;
    let folder = repository.replace('/', "-");
    let blobs = client.pull_to(&folder, &format!("{repository}:v1"), &[])?;
    identical(&blobs, sample.contents())
}

pub(super) fn pull<C: Layouts>(client: &C) -> Outcome {
    let sample = Sample::image(&format!("{} pull", C::NAME), here(), Packing::Gzip)?;
    pulls(client, "pull", &sample)?;
    Ok(Cell::Does)
}

pub(super) fn pull_zstd<C: Layouts>(client: &C) -> Outcome {
    let sample = Sample::image(&format!("{} pull zstd", C::NAME), here(), Packing::Zstd)?;
    pulls(client, "zstd/pull", &sample)?;
    Ok(Cell::Does)
}

/// For those that do not.
pub(super) fn pull_no_ranges<C: Layouts>(client: &C) -> Outcome {
    let sample = Sample::image(&format!("{} ranges", C::NAME), here(), Packing::Gzip)?;
    pulls(client, "ranges", &sample)?;
    client.world().was_pulled_whole("ranges", &sample)?;
    Ok(Cell::Cannot("it reads each blob in one request"))
}

/// For those that have an option `--platform`.
pub(super) fn pull_platform<C: Layouts>(client: &C) -> Outcome {
    let (world, family) = (
        client.world(),
        Family::new(&format!("{} platform", C::NAME))?,
    );
    world.seed_index("platform", "v1", &family)?;
    let platform = format!("linux/{}", there());
    let blobs = client.pull_to("platform", "platform:v1", &["--platform", &platform])?;
    identical(&blobs, family.there.contents())?;
    world.was_pulled_alone("platform", &family.there, &family.here)?;
    Ok(Cell::Does)
}

/// With the options that a client needs to take all of an index.
pub(super) fn pull_index<C: Layouts>(client: &C, all: &[&str]) -> Outcome {
    let family = Family::new(&format!("{} whole", C::NAME))?;
    client.world().seed_index("whole", "v1", &family)?;
    let blobs = client.pull_to("whole", "whole:v1", all)?;
    identical(&blobs, family.contents())?;
    Ok(Cell::Does)
}
