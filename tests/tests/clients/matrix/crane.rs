//! crane, of go-containerregistry.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use wharf_tests::content::sha256;

use super::layouts::{self, Layouts};
use super::{Cell, Client, Outcome};
use crate::sample::{Family, Packing, Sample, here};
use crate::world::World;

pub(super) struct Crane(pub(super) World);

impl Crane {
    /// With `--insecure`, which it needs to try HTTP.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.0.run("crane", &[arguments, &["--insecure"]].concat())
    }

    fn pushes(&self, repository: &str, sample: &Sample) -> Result<()> {
        let layout = self.0.layout(repository, sample)?;
        let name = self.0.image(&format!("{repository}:v1"));
        self.run(&["push", &layout, &name]).map(drop)
    }
}

impl Layouts for Crane {
    const NAME: &str = "crane";

    fn world(&self) -> &World {
        &self.0
    }

    fn pull_to(&self, folder: &str, name: &str, more: &[&str]) -> Result<PathBuf> {
        let path = self.0.scratch(folder);
        let (to, name) = (path.to_string_lossy(), self.0.image(name));
        self.run(&[&["pull", "--format", "oci", &name, &to], more].concat())?;
        Ok(path.join("blobs/sha256"))
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
        layouts::pull(self)
    }

    fn pull_ranges(&self) -> Outcome {
        layouts::pull_no_ranges(self)
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
        layouts::pull_platform(self)
    }

    fn pull_index(&self) -> Outcome {
        layouts::pull_index(self, &[])
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
        layouts::pull_zstd(self)
    }
}
