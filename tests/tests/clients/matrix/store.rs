//! buildah and podman: two programs over the same libraries and the same store of images.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use wharf_tests::command::output;
use wharf_tests::content::sha256;

use super::{Cell, Client, Outcome};
use crate::PATIENCE;
use crate::sample::{Family, Packing, Sample, here, there};
use crate::world::{World, lacks, refused, unpacked};

const STORE: &str = "it deletes from its own store only";

pub(super) struct Store {
    world: World,
    program: &'static str,
}

impl Store {
    pub(super) fn new(world: World, program: &'static str) -> Result<Self> {
        let at = |name: &str| world.scratch(name).display().to_string();
        // Nothing of the machine's: neither its locks nor its networks.
        let settings = format!(
            "[engine]\nevents_logger = \"none\"\nlock_type = \"file\"\ncgroup_manager = \"cgroupfs\"\n\
             tmp_dir = \"{}\"\nstatic_dir = \"{}\"\nvolume_path = \"{}\"\n\
             [network]\nnetwork_config_dir = \"{}\"\n",
            at("tmp"),
            at("static"),
            at("volumes"),
            at("networks")
        );
        std::fs::write(world.scratch("containers.conf"), settings)?;
        Ok(Self { world, program })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.bed().command(self.program);
        // Files and no mounts, wherever the test runs.
        command.args(["--storage-driver", "vfs"]);
        command.arg("--root").arg(self.world.scratch("store"));
        command.arg("--runroot").arg(self.world.scratch("run"));
        command.args(arguments);
        command.env("CONTAINERS_CONF", self.world.scratch("containers.conf"));
        // It names images after the paths that they come from, and not all paths are names.
        command.current_dir(self.world.clients.server.scratch());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(arguments), PATIENCE)
    }

    /// Takes an image from a file or the registry, and returns its id.
    fn take(&self, from: &str, more: &[&str]) -> Result<String> {
        let all = [&["pull", "--quiet", "--tls-verify=false"], more, &[from]].concat();
        Ok(self.run(&all)?.trim().to_owned())
    }

    fn push_to(&self, image: &str, name: &str, more: &[&str]) -> Result<()> {
        let to = format!("docker://{}", self.world.image(name));
        let push = ["push", "--quiet", "--tls-verify=false"];
        self.run(&[&push, more, &[image, &to]].concat()).map(drop)
    }

    /// Pulls an image and compares what its files are then.
    fn pulls(&self, name: &str, sample: &Sample, more: &[&str]) -> Result<()> {
        let id = self.take(&self.world.image(name), more)?;
        ensure!(sha256(&sample.config).ends_with(&id), "it is {id}");
        let root = if self.program == "podman" {
            self.run(&["image", "mount", &id])?
        } else {
            let container = self.run(&["from", "--quiet", "--pull-never", &id])?;
            self.run(&["mount", container.trim()])?
        };
        unpacked(&PathBuf::from(root.trim()), sample)
    }

    /// Has it delete an image by this name, in vain for the registry.
    fn deletes_only_here(&self, repository: &str, name: &str, sample: &Sample) -> Outcome {
        self.pulls(&format!("{repository}:v1"), sample, &[])?;
        let name = self.world.image(name);
        let remote = format!("docker://{name}");
        refused(&mut self.command(&["rmi", &remote]))?;
        // It may know it by this name.
        wharf_tests::command::finish(&mut self.command(&["rmi", "--force", &name]), PATIENCE)?;
        lacks(
            &mut self.command(&["rmi", "--help"]),
            &["registry", "remote"],
        )?;
        self.world.has_still(repository, "v1", sample)?;
        Ok(Cell::Cannot(STORE))
    }

    fn seeded(&self, repository: &str, packing: Packing) -> Result<Sample> {
        let seed = format!("{} {repository}", self.program);
        let sample = Sample::image(&seed, here(), packing)?;
        self.world.seed(repository, "v1", &sample)?;
        Ok(sample)
    }
}

impl Client for Store {
    fn version(&self) -> Result<String> {
        self.run(&["--version"])
    }

    fn push(&self) -> Outcome {
        let seed = format!("{} push", self.program);
        let sample = Sample::image(&seed, here(), Packing::Gzip)?;
        self.world.layout("push", &sample)?;
        let id = self.take("oci:layout-push:v1", &[])?;
        self.push_to(&id, "push:v1", &[])?;
        self.world.has_content("push", "v1", &sample)?;
        // In the older form as well.
        self.push_to(&id, "push:older", &["--format", "v2s2"])?;
        let manifest = self.world.has_content("push", "older", &sample)?;
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        ensure!(manifest["mediaType"] == kind, "{manifest}");
        Ok(Cell::Does)
    }

    fn pull(&self) -> Outcome {
        let sample = self.seeded("pull", Packing::Gzip)?;
        self.pulls("pull:v1", &sample, &[])?;
        Ok(Cell::Does)
    }

    fn pull_ranges(&self) -> Outcome {
        let sample = self.seeded("ranges", Packing::Gzip)?;
        self.pulls("ranges:v1", &sample, &[])?;
        self.world.was_pulled_whole("ranges", &sample)?;
        Ok(Cell::Cannot("it reads each blob in one request"))
    }

    fn mount(&self) -> Outcome {
        let sample = self.seeded("mount/from", Packing::Gzip)?;
        let id = self.take(&self.world.image("mount/from:v1"), &[])?;
        self.push_to(&id, "mount/to:v1", &[])?;
        self.world.was_mounted("mount/to", &sample)?;
        self.world.has_content("mount/to", "v1", &sample)?;
        Ok(Cell::Does)
    }

    fn delete_tag(&self) -> Outcome {
        let sample = self.seeded("tag", Packing::Gzip)?;
        self.deletes_only_here("tag", "tag:v1", &sample)
    }

    fn delete_manifest(&self) -> Outcome {
        let sample = self.seeded("manifest", Packing::Gzip)?;
        let name = format!("manifest@{}", sample.digest());
        self.deletes_only_here("manifest", &name, &sample)
    }

    fn delete_blob(&self) -> Outcome {
        let sample = self.seeded("blob", Packing::Gzip)?;
        let name = format!("blob@{}", sha256(&sample.config));
        self.deletes_only_here("blob", &name, &sample)
    }

    fn list_tags(&self) -> Outcome {
        if self.program == "buildah" {
            lacks(&mut self.command(&["--help"]), &["search", "list-tags"])?;
            return Ok(Cell::Cannot("it has no command for lists"));
        }
        let seed = format!("{} tags", self.program);
        let sample = Sample::image(&seed, here(), Packing::Gzip)?;
        let tags = self.world.seed_tags("tags", &sample)?;
        let search = ["search", "--tls-verify=false", "--limit", "10000"];
        let name = self.world.image("tags");
        let said = self.run(&[&search[..], &["--list-tags", &name]].concat())?;
        // A table of names and tags.
        let listed = said
            .lines()
            .skip(1)
            .filter_map(|l| Some(l.split_once(' ')?.1.trim().to_owned()));
        let listed: BTreeSet<_> = listed.collect();
        ensure!(listed == tags, "{listed:?}");
        Ok(Cell::Does)
    }

    fn list_repositories(&self) -> Outcome {
        if self.program == "buildah" {
            lacks(&mut self.command(&["--help"]), &["search", "catalog"])?;
            return Ok(Cell::Cannot("it has no command for lists"));
        }
        let seed = format!("{} repositories", self.program);
        let sample = Sample::image(&seed, here(), Packing::Gzip)?;
        let all = self.world.seed_repositories(&sample)?;
        let search = ["search", "--tls-verify=false", "--limit", "10000"];
        let host = format!("{}/", self.world.host());
        let said = self.run(&[&search[..], &["--format", "{{.Name}}", &host]].concat())?;
        let listed = said.lines().map(|name| name.strip_prefix(&host));
        ensure!(
            listed.eq(all.iter().map(|name| Some(name.as_str()))),
            "{said}"
        );
        Ok(Cell::Does)
    }

    fn push_index(&self) -> Outcome {
        let family = Family::new(&format!("{} index", self.program))?;
        self.run(&["manifest", "create", "both"])?;
        for (name, sample) in [("here", &family.here), ("there", &family.there)] {
            let layout = self.world.layout(name, sample)?;
            self.run(&["manifest", "add", "both", &format!("oci:{layout}:v1")])?;
        }
        let to = format!("docker://{}", self.world.image("index:v1"));
        let push = ["manifest", "push", "--quiet", "--all", "--tls-verify=false"];
        self.run(&[&push[..], &["--format", "oci", "both", &to]].concat())?;
        self.world.has_index("index", "v1", &family)?;
        Ok(Cell::Does)
    }

    fn pull_platform(&self) -> Outcome {
        let family = Family::new(&format!("{} platform", self.program))?;
        self.world.seed_index("platform", "v1", &family)?;
        let platform = format!("linux/{}", there());
        self.pulls("platform:v1", &family.there, &["--platform", &platform])?;
        self.world
            .was_pulled_alone("platform", &family.there, &family.here)?;
        Ok(Cell::Does)
    }

    fn pull_index(&self) -> Outcome {
        let family = Family::new(&format!("{} whole", self.program))?;
        self.world.seed_index("whole", "v1", &family)?;
        self.pulls("whole:v1", &family.here, &[])?;
        self.world
            .was_pulled_alone("whole", &family.here, &family.there)?;
        lacks(&mut self.command(&["pull", "--help"]), &["all-platforms"])?;
        Ok(Cell::Cannot("its store keeps one platform of an index"))
    }

    fn push_artifact(&self) -> Outcome {
        let subject = self.seeded("artifact", Packing::Gzip)?;
        let artifact = Sample::artifact(self.program, &subject);
        self.world.layout("artifact", &artifact)?;
        refused(&mut self.command(&["pull", "oci:layout-artifact:v1"]))?;
        // An image that is about another takes the way through the store, and stays about it.
        let seed = format!("{} about", self.program);
        let about = Sample::image_about(&seed, here(), Packing::Gzip, Some(&subject))?;
        self.world.layout("about", &about)?;
        let id = self.take("oci:layout-about:v1", &[])?;
        self.push_to(&id, "artifact:about", &[])?;
        self.world.has_content("artifact", "about", &about)?;
        let pushed = sha256(&self.world.clients.manifest("artifact", "about")?);
        let listed = self.world.referrers("artifact", &subject)?;
        ensure!(listed == [pushed], "{listed:?}");
        Ok(Cell::Cannot(
            "its store takes images only, though also those with a subject",
        ))
    }

    fn list_referrers(&self) -> Outcome {
        lacks(&mut self.command(&["--help"]), &["referrer", "artifact"])?;
        lacks(
            &mut self.command(&["manifest", "--help"]),
            &["referrer", "artifact"],
        )?;
        Ok(Cell::Cannot("it has no command for referrers"))
    }

    fn push_zstd(&self) -> Outcome {
        let seed = format!("{} push zstd", self.program);
        let sample = Sample::image(&seed, here(), Packing::Gzip)?;
        let name = format!("localhost/{}-zstd:v1", self.program);
        let archive = self.world.archive("zstd", &sample, &name)?;
        let id = self.take(&format!("docker-archive:{archive}"), &[])?;
        let form = ["--format", "oci", "--compression-format", "zstd"];
        self.push_to(&id, "zstd:v1", &form)?;
        self.world
            .has_packed("zstd", "v1", &sample, Packing::Zstd)?;
        Ok(Cell::Does)
    }

    fn pull_zstd(&self) -> Outcome {
        let sample = self.seeded("zstd/pull", Packing::Zstd)?;
        self.pulls("zstd/pull:v1", &sample, &[])
            .context("with zstd layers")?;
        Ok(Cell::Does)
    }
}
