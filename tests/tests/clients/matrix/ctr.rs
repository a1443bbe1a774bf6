//! ctr, each with a containerd of its own release: the machine's, which reads whole blobs, and that
//! of cluster nodes, which reads them in parallel ranges.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wharf_tests::command::output;
use wharf_tests::content::sha256;

use super::daemon::Daemon;
use super::ranges::Meeting;
use super::{Cell, Client, Outcome};
use crate::PATIENCE;
use crate::sample::{Family, Packing, Sample, here, pack, there};
use crate::world::{World, identical, lacks};

const STORE: &str = "it deletes from its own store only";

/// Bytes of a range: a layer has some of them.
const RANGE: usize = 256 << 10;

pub(super) struct Ctr {
    daemon: Daemon,
    world: World,
    client: PathBuf,
    /// Whether its containerd reads in ranges.
    has_ranges: bool,
}

impl Ctr {
    pub(super) fn of_the_machine(world: World) -> Result<Self> {
        let containerd = PathBuf::from(world.bed().command("containerd").get_program());
        let client = PathBuf::from(world.bed().command("ctr").get_program());
        let daemon = Daemon::start(&world, &containerd, "version = 2\n")?;
        Self::ready(daemon, world, client, false)
    }

    pub(super) fn of_nodes(world: World) -> Result<Self> {
        let bed = world.bed();
        let (containerd, client) = (bed.node_program("containerd"), bed.node_program("ctr"));
        let transfer = "plugins.\"io.containerd.transfer.v1.local\"";
        let settings = format!(
            "version = 3\n[{transfer}]\nmax_concurrent_downloads = 4\n\
             concurrent_layer_fetch_buffer = {RANGE}\n\
             [[{transfer}.unpack_config]]\nplatform = \"linux/{}\"\nsnapshotter = \"native\"\n",
            here()
        );
        let daemon = Daemon::start(&world, &containerd, &settings)?;
        Self::ready(daemon, world, client, true)
    }

    fn ready(daemon: Daemon, world: World, client: PathBuf, has_ranges: bool) -> Result<Self> {
        let ctr = Self {
            daemon,
            world,
            client,
            has_ranges,
        };
        let started = Instant::now();
        while let Err(error) = ctr.run(&["version"]) {
            if started.elapsed() > PATIENCE {
                return Err(error.context(ctr.daemon.said()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(ctr)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.client);
        command.arg("--address").arg(&self.daemon.socket);
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(arguments), PATIENCE)
    }

    fn pull_as(&self, name: &str, more: &[&str]) -> Result<()> {
        let pull = ["images", "pull", "--plain-http", "--snapshotter", "native"];
        self.run(&[&pull[..], more, &[name]].concat()).map(drop)
    }

    /// Pulls as it does unless told otherwise.
    fn pull_here(&self, name: &str, more: &[&str]) -> Result<()> {
        self.pull_as(&self.world.image(name), more)
    }

    /// Where containerd keeps content, in files named after its digest.
    fn content(&self) -> PathBuf {
        self.daemon
            .root
            .join("io.containerd.content.v1.content/blobs/sha256")
    }

    fn pulls(&self, name: &str, sample: &Sample) -> Result<()> {
        self.pull_here(name, &[])?;
        identical(&self.content(), sample.contents())
    }

    /// Takes an OCI layout into its store, as an image of this repository.
    fn import(&self, repository: &str, layout: &str) -> Result<()> {
        let archive = self.world.scratch(&format!("{repository}.tar"));
        pack(Path::new(layout), &archive)?;
        let (name, archive) = (self.world.image(repository), archive.to_string_lossy());
        let import = ["images", "import", "--no-unpack", "--all-platforms"];
        self.run(&[&import[..], &["--base-name", &name, &archive]].concat())?;
        Ok(())
    }

    fn push_to(&self, name: &str, from: &str) -> Result<()> {
        let (to, from) = (self.world.image(name), self.world.image(from));
        self.run(&["images", "push", "--plain-http", &to, &from])?;
        Ok(())
    }

    fn pushes(&self, repository: &str, sample: &Sample) -> Result<()> {
        let layout = self.world.layout(repository, sample)?;
        self.import(repository, &layout)?;
        let name = format!("{repository}:v1");
        self.push_to(&name, &name)
    }

    fn seed(&self, verb: &str) -> String {
        format!("{} {verb}", self.client.display())
    }

    fn sample(&self, verb: &str, packing: Packing) -> Result<Sample> {
        Sample::image(&self.seed(verb), here(), packing)
    }

    fn lacks(&self, words: &[&str]) -> Result<()> {
        for help in [
            &["--help"][..],
            &["images", "--help"],
            &["content", "--help"],
        ] {
            lacks(&mut self.command(help), words)?;
        }
        Ok(())
    }

    /// Has it delete an image by this name, in vain for the registry.
    fn deletes_only_here(&self, repository: &str) -> Outcome {
        let sample = self.sample(repository, Packing::Gzip)?;
        self.world.seed(repository, "v1", &sample)?;
        let name = format!("{repository}:v1");
        self.pulls(&name, &sample)?;
        let image = self.world.image(&name);
        self.run(&["images", "delete", "--sync", &image])?;
        self.run(&[
            "content",
            "delete",
            &sample.digest(),
            &sha256(&sample.config),
        ])
        .or_else(|error| {
            // The store's own collector may have been quicker.
            let gone = format!("{error:#}").contains("not found");
            gone.then(String::new).ok_or(error)
        })?;
        self.world.has_still(repository, "v1", &sample)?;
        Ok(Cell::Cannot(STORE))
    }
}

impl Client for Ctr {
    fn version(&self) -> Result<String> {
        self.run(&["--version"])
    }

    fn push(&self) -> Outcome {
        let sample = self.sample("push", Packing::Gzip)?;
        self.pushes("push", &sample)?;
        self.world.has("push", "v1", &sample)?;
        Ok(Cell::Does)
    }

    fn pull(&self) -> Outcome {
        let sample = self.sample("pull", Packing::Gzip)?;
        self.world.seed("pull", "v1", &sample)?;
        // The client itself reads whole blobs; asked to, containerd reads in ranges.
        let whole: &[&str] = if self.has_ranges { &["--local"] } else { &[] };
        self.pull_here("pull:v1", whole)?;
        identical(&self.content(), sample.contents())?;
        self.world.was_pulled_whole("pull", &sample)?;
        Ok(Cell::Does)
    }

    fn pull_ranges(&self) -> Outcome {
        let sample = self.sample("ranges", Packing::Gzip)?;
        self.world.seed("ranges", "v1", &sample)?;
        if !self.has_ranges {
            self.pulls("ranges:v1", &sample)?;
            self.world.was_pulled_whole("ranges", &sample)?;
            return Ok(Cell::Cannot("it reads each blob in one request"));
        }
        let meeting = Meeting::before(self.world.clients.server.address())?;
        self.pull_as(&format!("{}/ranges:v1", meeting.address()), &[])?;
        ensure!(meeting.took_place(), "the ranges came one after another");
        identical(&self.content(), sample.contents())?;
        let layer = &sample.layers.last().context("no layer")?.blob;
        let end = format!("/blobs/{}", sha256(layer));
        self.world.log_until("ranges", |lines| {
            let ranges = lines
                .iter()
                .filter(|l| l.path.ends_with(&end) && l.status == 206);
            ranges.count() == layer.len().div_ceil(RANGE)
        })?;
        Ok(Cell::Does)
    }

    fn mount(&self) -> Outcome {
        let sample = self.sample("mount", Packing::Gzip)?;
        self.world.seed("mount/from", "v1", &sample)?;
        self.pull_here("mount/from:v1", &[])?;
        self.push_to("mount/to:v1", "mount/from:v1")?;
        self.world.was_mounted("mount/to", &sample)?;
        self.world.has("mount/to", "v1", &sample)?;
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
        self.lacks(&["list-tags", "tags of", "remote tags"])?;
        let sample = self.sample("tags", Packing::Gzip)?;
        self.world.seed("tags", "v1", &sample)?;
        let said = self.run(&["images", "list", "--quiet"])?;
        ensure!(!said.contains(&self.world.image("tags")), "{said}");
        Ok(Cell::Cannot("it has no command for lists"))
    }

    fn list_repositories(&self) -> Outcome {
        self.lacks(&["catalog", "repositories"])?;
        Ok(Cell::Cannot("it has no command for lists"))
    }

    fn push_index(&self) -> Outcome {
        let family = Family::new(&self.seed("index"))?;
        let layout = self.world.index_layout("index", &family)?;
        self.import("index", &layout)?;
        self.push_to("index:v1", "index:v1")?;
        self.world.has_index("index", "v1", &family)?;
        Ok(Cell::Does)
    }

    fn pull_platform(&self) -> Outcome {
        let family = Family::new(&self.seed("platform"))?;
        self.world.seed_index("platform", "v1", &family)?;
        let platform = format!("linux/{}", there());
        self.pull_here("platform:v1", &["--platform", &platform])?;
        identical(&self.content(), family.there.contents())?;
        self.world
            .was_pulled_alone("platform", &family.there, &family.here)?;
        Ok(Cell::Does)
    }

    fn pull_index(&self) -> Outcome {
        let family = Family::new(&self.seed("whole"))?;
        self.world.seed_index("whole", "v1", &family)?;
        self.pull_here("whole:v1", &["--all-platforms"])?;
        identical(&self.content(), family.contents())?;
        Ok(Cell::Does)
    }

    fn push_artifact(&self) -> Outcome {
        let subject = self.sample("subject", Packing::Gzip)?;
        self.world.seed("artifact", "report", &subject)?;
        let artifact = Sample::artifact(&self.seed("artifact"), &subject);
        self.pushes("artifact", &artifact)?;
        self.world
            .has_artifact("artifact", "v1", &artifact, &subject)?;
        Ok(Cell::Does)
    }

    fn list_referrers(&self) -> Outcome {
        self.lacks(&["referrer", "artifact"])?;
        Ok(Cell::Cannot("it has no command for referrers"))
    }

    fn push_zstd(&self) -> Outcome {
        let sample = self.sample("push zstd", Packing::Zstd)?;
        self.pushes("zstd", &sample)?;
        self.world
            .has_packed("zstd", "v1", &sample, Packing::Zstd)?;
        Ok(Cell::Does)
    }

    fn pull_zstd(&self) -> Outcome {
        let sample = self.sample("pull zstd", Packing::Zstd)?;
        self.world.seed("zstd/pull", "v1", &sample)?;
        self.pulls("zstd/pull:v1", &sample)?;
        Ok(Cell::Does)
    }
}
