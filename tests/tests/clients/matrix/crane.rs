//! crane, of go-containerregistry.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use wharf_tests::content::sha256;

use super::{Cell, Client, Outcome};
use crate::sample::{Family, Packing, Sample, here, there};
use crate::world::{World, identical};

pub(super) struct Crane(pub(super) World);

impl Crane {
    /// With `--insecure`, which it needs to try HTTP.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.0.run("crane", &[arguments, &["--insecure"]].concat())
    }

    /// Pulls into an OCI layout and says where its blobs are.
    fn pull_to(&self, folder: &str, name: &str, more: &[&str]) -> Result<std::path::PathBuf> {
        let path = self.0.scratch(folder);
        let to = path.to_string_lossy();
        self.run(&[&["pull", "--format", "oci", name, &to], more].concat())?;
        Ok(path.join("blobs/sha256"))
    }

    fn pushes(&self, repository: &str, sample: &Sample) -> Result<()> {
        let layout = self.0.layout(repository, sample)?;
        let name = self.0.image(&format!("{repository}:v1"));
        self.run(&["push", &layout, &name]).map(drop)
    }

    fn pulls(&self, repository: &str, sample: &Sample) -> Result<()> {
        self.0.seed(repository, "v1", sample)?;
        let name = self.0.image(&format!("{repository}:v1"));
        identical(&self.pull_to(repository, &name, &[])?, sample.contents())
    }
}

impl Client for Crane {
    fn version(&self) -> Result<String> {
        self.0.run("crane", &["version"])
    }

    fn push(&self) -> Outcome {
        let sample = Sample::image("crane push", here(), Packing::Gzip)?;
        self.pushes("push", &sample)?;
        self.0.has("push", "v1", &sample)?;
        // crane looks with its own eyes otherwise.
        let name = format!("docker://{}", self.0.image("push:v1"));
        let raw = ["inspect", "--raw", "--tls-verify=false", &name];
        ensure!(self.0.run("skopeo", &raw)?.as_bytes() == sample.manifest);
        Ok(Cell::Does)
    }

    fn pull(&self) -> Outcome {
        let sample = Sample::image("crane pull", here(), Packing::Gzip)?;
        self.pulls("pull", &sample)?;
        Ok(Cell::Does)
    }

    fn pull_ranges(&self) -> Outcome {
        let sample = Sample::image("crane ranges", here(), Packing::Gzip)?;
        self.pulls("ranges", &sample)?;
        self.0.was_pulled_whole("ranges", &sample)?;
        Ok(Cell::Cannot("it reads each blob in one request"))
    }

    fn mount(&self) -> Outcome {
        let sample = Sample::image("crane mount", here(), Packing::Gzip)?;
        self.0.seed("mount/from", "v1", &sample)?;
        let (from, to) = (self.0.image("mount/from:v1"), self.0.image("mount/to:v1"));
        self.run(&["copy", &from, &to])?;
        self.0.was_mounted("mount/to", &sample)?;
        self.0.has("mount/to", "v1", &sample)?;
        Ok(Cell::Does)
    }

    fn delete_tag(&self) -> Outcome {
        let sample = Sample::image("crane tag", here(), Packing::Gzip)?;
        self.0.seed("tag", "gone", &sample)?;
        self.0.seed("tag", "kept", &sample)?;
        self.run(&["delete", &self.0.image("tag:gone")])?;
        ensure!(self.0.status("tag/manifests/gone")? == 404);
        self.0.has("tag", "kept", &sample)?;
        Ok(Cell::Does)
    }

    fn delete_manifest(&self) -> Outcome {
        let sample = Sample::image("crane manifest", here(), Packing::Gzip)?;
        self.0.seed("manifest", "v1", &sample)?;
        let name = self.0.image(&format!("manifest@{}", sample.digest()));
        self.run(&["delete", &name])?;
        ensure!(self.0.status("manifest/manifests/v1")? == 404);
        ensure!(
            self.0
                .status(&format!("manifest/manifests/{}", sample.digest()))?
                == 404
        );
        Ok(Cell::Does)
    }

    fn delete_blob(&self) -> Outcome {
        let blob = b"a blob for crane";
        self.0.seed_blob("blob", blob)?;
        let name = self.0.image(&format!("blob@{}", sha256(blob)));
        // It takes the digest for a manifest's.
        self.0.refused("crane", &["delete", "--insecure", &name])?;
        self.0
            .lacks("crane", &["blob", "--help"], &["delete", "remove"])?;
        ensure!(self.0.status(&format!("blob/blobs/{}", sha256(blob)))? == 200);
        Ok(Cell::Cannot("it deletes manifests and tags only"))
    }

    fn list_tags(&self) -> Outcome {
        let sample = Sample::image("crane tags", here(), Packing::Gzip)?;
        let tags = self.0.seed_tags("tags", &sample)?;
        let said = self.run(&["ls", &self.0.image("tags")])?;
        let listed: BTreeSet<_> = said.lines().map(str::to_owned).collect();
        ensure!(listed == tags, "{listed:?}");
        Ok(Cell::Does)
    }

    fn list_repositories(&self) -> Outcome {
        let sample = Sample::image("crane repositories", here(), Packing::Gzip)?;
        let all = self.0.seed_repositories(&sample)?;
        let said = self.run(&["catalog", &self.0.host()])?;
        let listed: Vec<_> = said.lines().collect();
        ensure!(listed == all, "{listed:?}");
        Ok(Cell::Does)
    }

    fn push_index(&self) -> Outcome {
        let family = Family::new("crane index")?;
        let layout = self.0.index_layout("index", &family)?;
        self.run(&["push", &layout, &self.0.image("index:v1")])?;
        self.0.has_index("index", "v1", &family)?;
        Ok(Cell::Does)
    }

    fn pull_platform(&self) -> Outcome {
        let family = Family::new("crane platform")?;
        self.0.seed_index("platform", "v1", &family)?;
        let platform = format!("linux/{}", there());
        let name = self.0.image("platform:v1");
        let blobs = self.pull_to("platform", &name, &["--platform", &platform])?;
        identical(&blobs, family.there.contents())?;
        self.0
            .was_pulled_alone("platform", &family.there, &family.here)?;
        Ok(Cell::Does)
    }

    fn pull_index(&self) -> Outcome {
        let family = Family::new("crane whole")?;
        self.0.seed_index("whole", "v1", &family)?;
        let blobs = self.pull_to("whole", &self.0.image("whole:v1"), &[])?;
        identical(&blobs, family.contents())?;
        Ok(Cell::Does)
    }

    fn push_artifact(&self) -> Outcome {
        let subject = Sample::image("crane subject", here(), Packing::Gzip)?;
        self.0.seed("artifact", "v1", &subject)?;
        let artifact = Sample::artifact("crane", &subject);
        let layout = self.0.layout("artifact", &artifact)?;
        self.run(&["push", &layout, &self.0.image("artifact:report")])?;
        self.0
            .has_artifact("artifact", "report", &artifact, &subject)?;
        Ok(Cell::Does)
    }

    fn list_referrers(&self) -> Outcome {
        self.0
            .lacks("crane", &["--help"], &["referrer", "artifact "])?;
        Ok(Cell::Cannot("it has no command for referrers"))
    }

    fn push_zstd(&self) -> Outcome {
        let sample = Sample::image("crane push zstd", here(), Packing::Zstd)?;
        self.pushes("zstd", &sample)?;
        self.0.has_packed("zstd", "v1", &sample, Packing::Zstd)?;
        Ok(Cell::Does)
    }

    fn pull_zstd(&self) -> Outcome {
        let sample = Sample::image("crane pull zstd", here(), Packing::Zstd)?;
        self.pulls("zstd/pull", &sample)?;
        Ok(Cell::Does)
    }
}
