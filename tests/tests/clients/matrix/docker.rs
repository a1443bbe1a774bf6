//! Docker: its engine pulls and pushes, its command line handles indexes.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use serde_json::Value;
use wharf_tests::command::{finish, output};
use wharf_tests::content::sha256;

use super::{Cell, Client, Outcome};
use crate::PATIENCE;
use crate::image::image_layers;
use crate::sample::{Family, Packing, Sample, here, pack, there};
use crate::world::World;

const STORE: &str = "it deletes from its own store only";

pub(super) struct Docker {
    world: World,
    /// What is to be removed from the engine.
    images: Mutex<Vec<String>>,
}

impl Docker {
    pub(super) fn new(world: World) -> Self {
        Self {
            world,
            images: Mutex::default(),
        }
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.world.run("docker", arguments)
    }

    /// A `docker manifest` command, which works without the engine and keeps its notes beside the
    /// settings.
    fn manifest(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.clients.command("docker", &["manifest"]);
        command.args(arguments);
        command.env("DOCKER_CONFIG", self.world.scratch("docker"));
        command
    }

    /// An image's name, to be forgotten at the end.
    fn image(&self, name: &str) -> String {
        let image = self.world.image(name);
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.push(image.clone());
        image
    }

    /// Gives the engine an image and pushes it.
    fn pushes(&self, name: &str, sample: &Sample) -> Result<()> {
        let image = self.image(name);
        let file = name.replace([':', '/'], "-");
        let archive = self.world.archive(&file, sample, &image)?;
        self.run(&["load", "--quiet", "--input", &archive])?;
        let said = self.run(&["push", &image])?;
        let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
        self.world.has_content(repository, tag, sample)?;
        // It tells the digest of what it pushed.
        let answer = self.world.clients.manifest(repository, tag)?;
        let digest = sha256(&answer);
        ensure!(said.contains(&digest), "{digest} is not in: {said}");
        Ok(())
    }

    /// Pulls an image: the engine hashes what it unpacks, and says which manifest it was.
    fn pulls(&self, name: &str, sample: &Sample, digest: &str, more: &[&str]) -> Result<()> {
        let image = self.image(name);
        let said = self.run(&[&["pull"], more, &[&image]].concat())?;
        ensure!(said.contains(digest), "{digest} is not in: {said}");
        let layers = image_layers(self.world.clients.command("docker", &[]), &image)?;
        ensure!(layers == Value::from(sample.diff_ids()), "{layers}");
        Ok(())
    }

    /// Has the engine delete an image by this name, in vain for the registry.
    fn deletes_only_here(&self, repository: &str) -> Outcome {
        let sample = Sample::image(&format!("docker {repository}"), here(), Packing::Gzip)?;
        let tag = format!("{repository}:v1");
        self.world.seed(repository, "v1", &sample)?;
        self.pulls(&tag, &sample, &sample.digest(), &[])?;
        self.run(&["rmi", "--force", &self.world.image(&tag)])?;
        self.world
            .lacks("docker", &["rmi", "--help"], &["registry", "remote"])?;
        self.world.has_still(repository, "v1", &sample)?;
        Ok(Cell::Cannot(STORE))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let images = self
            .images
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let mut remove = self.world.clients.command("docker", &["rmi", "--force"]);
        // Some are gone already.
        let _ = finish(remove.args(images), PATIENCE);
    }
}

impl Client for Docker {
    fn version(&self) -> Result<String> {
        self.run(&["version", "--format", "{{.Server.Version}}"])
    }

    fn push(&self) -> Outcome {
        let sample = Sample::image("docker push", here(), Packing::Gzip)?;
        self.pushes("push:v1", &sample)?;
        Ok(Cell::Does)
    }

    fn pull(&self) -> Outcome {
        let sample = Sample::image("docker pull", here(), Packing::Gzip)?;
        self.world.seed("pull", "v1", &sample)?;
        self.pulls("pull:v1", &sample, &sample.digest(), &[])?;
        Ok(Cell::Does)
    }

    fn pull_ranges(&self) -> Outcome {
        let sample = Sample::image("docker ranges", here(), Packing::Gzip)?;
        self.world.seed("ranges", "v1", &sample)?;
        self.pulls("ranges:v1", &sample, &sample.digest(), &[])?;
        self.world.was_pulled_whole("ranges", &sample)?;
        Ok(Cell::Cannot("it reads each blob in one request"))
    }

    fn mount(&self) -> Outcome {
        let sample = Sample::image("docker mount", here(), Packing::Gzip)?;
        self.world.seed("mount/from", "v1", &sample)?;
        self.pulls("mount/from:v1", &sample, &sample.digest(), &[])?;
        let (from, to) = (self.world.image("mount/from:v1"), self.image("mount/to:v1"));
        self.run(&["tag", &from, &to])?;
        let said = self.run(&["push", &to])?;
        ensure!(said.contains("Mounted from mount/from"), "{said}");
        self.world.was_mounted("mount/to", &sample)?;
        self.world.has_content("mount/to", "v1", &sample)?;
        Ok(Cell::Does)
    }

    fn delete_tag(&self) -> Outcome {
        self.deletes_only_here("tag")
    }

    fn delete_manifest(&self) -> Outcome {
        self.deletes_only_here("manifest")
    }

    fn delete_blob(&self) -> Outcome {
        self.deletes_only_here("blob")
    }

    fn list_tags(&self) -> Outcome {
        let sample = Sample::image("docker tags", here(), Packing::Gzip)?;
        self.world.seed("tags", "v1", &sample)?;
        self.world
            .refused("docker", &["search", &self.world.image("tags")])?;
        self.world
            .lacks("docker", &["--help"], &["list-tags", "catalog"])?;
        Ok(Cell::Cannot("its `search` knows the older protocol only"))
    }

    fn list_repositories(&self) -> Outcome {
        self.world
            .refused("docker", &["search", &self.world.image("")])?;
        self.world
            .lacks("docker", &["--help"], &["list-tags", "catalog"])?;
        Ok(Cell::Cannot("its `search` knows the older protocol only"))
    }

    fn push_index(&self) -> Outcome {
        let family = Family::new("docker index")?;
        self.pushes("index:here", &family.here)?;
        self.pushes("index:there", &family.there)?;
        let names = ["index:v1", "index:here", "index:there"].map(|name| self.world.image(name));
        let [index, here, there] = names.each_ref().map(String::as_str);
        let create = ["create", "--insecure", index, here, there];
        output(&mut self.manifest(&create), PATIENCE)?;
        let push = ["push", "--insecure", "--purge", index];
        let said = output(&mut self.manifest(&push), PATIENCE)?;
        let pushed = |tag| self.world.clients.manifest("index", tag);
        let digest = sha256(&pushed("v1")?);
        ensure!(said.contains(&digest), "{digest} is not in: {said}");
        let list: Value = serde_json::from_slice(&pushed("v1")?)?;
        for (place, tag) in ["here", "there"].into_iter().enumerate() {
            let digest = sha256(&pushed(tag)?);
            ensure!(
                list["manifests"][place]["digest"] == digest.as_str(),
                "{list}"
            );
        }
        Ok(Cell::Does)
    }

    fn pull_platform(&self) -> Outcome {
        let family = Family::new("docker platform")?;
        self.world.seed_index("platform", "v1", &family)?;
        let digest = sha256(&family.index);
        let platform = format!("linux/{}", there());
        let options = ["--platform", platform.as_str()];
        self.pulls("platform:v1", &family.there, &digest, &options)?;
        self.world
            .was_pulled_alone("platform", &family.there, &family.here)?;
        Ok(Cell::Does)
    }

    fn pull_index(&self) -> Outcome {
        let family = Family::new("docker whole")?;
        self.world.seed_index("whole", "v1", &family)?;
        let digest = sha256(&family.index);
        self.pulls("whole:v1", &family.here, &digest, &[])?;
        self.world
            .was_pulled_alone("whole", &family.here, &family.there)?;
        Ok(Cell::Cannot("its store keeps one platform of an index"))
    }

    fn push_artifact(&self) -> Outcome {
        let subject = Sample::image("docker subject", here(), Packing::Gzip)?;
        let artifact = Sample::artifact("docker", &subject);
        let layout = self.world.layout("artifact", &artifact)?;
        let archive = self.world.scratch("artifact.tar");
        pack(std::path::Path::new(&layout), &archive)?;
        let archive = archive.to_string_lossy();
        self.world
            .refused("docker", &["load", "--input", &archive])?;
        Ok(Cell::Cannot("its store takes images only"))
    }

    fn list_referrers(&self) -> Outcome {
        self.world
            .lacks("docker", &["--help"], &["referrer", "artifact"])?;
        self.world
            .lacks("docker", &["manifest", "--help"], &["referrer", "artifact"])?;
        Ok(Cell::Cannot("it has no command for referrers"))
    }

    fn push_zstd(&self) -> Outcome {
        let sample = Sample::image("docker push zstd", here(), Packing::Zstd)?;
        self.pushes("zstd:v1", &sample)?;
        self.world
            .has_packed("zstd", "v1", &sample, Packing::Gzip)?;
        self.world
            .lacks("docker", &["push", "--help"], &["compress"])?;
        Ok(Cell::Cannot("it packs layers with gzip only"))
    }

    fn pull_zstd(&self) -> Outcome {
        let sample = Sample::image("docker pull zstd", here(), Packing::Zstd)?;
        self.world.seed("zstd/pull", "v1", &sample)?;
        let image = self.image("zstd/pull:v1");
        let pulled = finish(
            &mut self.world.clients.command("docker", &["pull", &image]),
            PATIENCE,
        )?;
        if pulled.status.success() {
            self.pulls("zstd/pull:v1", &sample, &sample.digest(), &[])?;
            return Ok(Cell::Does);
        }
        let said = pulled.stdout + &pulled.stderr;
        ensure!(said.contains("failed to register layer"), "{said}");
        // It had the layers in the end; it does not know how they are packed.
        self.world.was_pulled_whole("zstd/pull", &sample)?;
        Ok(Cell::Cannot("before 23.0 it does not unpack zstd"))
    }
}
