//! skopeo, of the containers libraries.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::Value;
use wharf_tests::content::sha256;

use super::layouts::{self, Layouts};
use super::{Cell, Client, Outcome};
use crate::sample::{Family, Packing, Sample, here, there};
use crate::world::{World, identical};

pub(super) struct Skopeo(pub(super) World);

impl Skopeo {
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let all = [&["--insecure-policy"], arguments].concat();
        self.0.run("skopeo", &all)
    }

    fn remote(&self, name: &str) -> String {
        format!("docker://{}", self.0.image(name))
    }

    fn copy(&self, from: &str, to: &str, more: &[&str]) -> Result<()> {
        let mut all = vec!["copy", "--quiet"];
        for (place, option) in [
            (from, "--src-tls-verify=false"),
            (to, "--dest-tls-verify=false"),
        ] {
            if place.starts_with("docker:") {
                all.push(option);
            }
        }
        self.run(&[&all[..], more, &[from, to]].concat()).map(drop)
    }
}

impl Layouts for Skopeo {
    const NAME: &str = "skopeo";

    fn world(&self) -> &World {
        &self.0
    }

    fn pull_to(&self, folder: &str, name: &str, more: &[&str]) -> Result<PathBuf> {
        let path = self.0.scratch(folder);
        self.copy(
            &self.remote(name),
            &format!("oci:{}:v1", path.display()),
            more,
        )?;
        Ok(path.join("blobs/sha256"))
    }
}

impl Client for Skopeo {
    fn version(&self) -> Result<String> {
        self.0.run("skopeo", &["--version"])
    }

    fn push(&self) -> Outcome {
        let sample = Sample::image("skopeo push", here(), Packing::Gzip)?;
        let layout = self.0.layout("push", &sample)?;
        self.copy(&format!("oci:{layout}:v1"), &self.remote("push:v1"), &[])?;
        self.0.has("push", "v1", &sample)?;
        // In the older form as well, from an archive.
        let archive = self.0.archive("push", &sample, "push:v1")?;
        let older = format!("docker-archive:{archive}");
        self.copy(&older, &self.remote("push:older"), &["--format", "v2s2"])?;
        let manifest = self.0.has_content("push", "older", &sample)?;
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        ensure!(manifest["mediaType"] == kind, "{manifest}");
        Ok(Cell::Does)
    }

    fn pull(&self) -> Outcome {
        layouts::pull(self)
    }

    fn pull_ranges(&self) -> Outcome {
        layouts::pull_no_ranges(self)
    }

    fn mount(&self) -> Outcome {
        let sample = Sample::image("skopeo mount", here(), Packing::Gzip)?;
        self.0.seed("mount/from", "v1", &sample)?;
        // It mounts what it remembers from a pull.
        self.pull_to("mount", "mount/from:v1", &[])?;
        self.copy(
            &self.remote("mount/from:v1"),
            &self.remote("mount/to:v1"),
            &[],
        )?;
        self.0.was_mounted("mount/to", &sample)?;
        self.0.has("mount/to", "v1", &sample)?;
        Ok(Cell::Does)
    }

    fn delete_tag(&self) -> Outcome {
        let sample = Sample::image("skopeo tag", here(), Packing::Gzip)?;
        self.0.seed("tag", "gone", &sample)?;
        self.0.seed("tag", "also-gone", &sample)?;
        self.run(&["delete", "--tls-verify=false", &self.remote("tag:gone")])?;
        ensure!(self.0.status("tag/manifests/gone")? == 404);
        ensure!(self.0.status("tag/manifests/also-gone")? == 404);
        Ok(Cell::Cannot(
            "it deletes the manifest behind the tag, and so all its tags",
        ))
    }

    fn delete_manifest(&self) -> Outcome {
        let sample = Sample::image("skopeo manifest", here(), Packing::Gzip)?;
        self.0.seed("manifest", "v1", &sample)?;
        let name = self.remote(&format!("manifest@{}", sample.digest()));
        self.run(&["delete", "--tls-verify=false", &name])?;
        ensure!(self.0.status("manifest/manifests/v1")? == 404);
        ensure!(
            self.0
                .status(&format!("manifest/manifests/{}", sample.digest()))?
                == 404
        );
        Ok(Cell::Does)
    }

    fn delete_blob(&self) -> Outcome {
        let blob = b"a blob for skopeo";
        self.0.seed_blob("blob", blob)?;
        let name = self.remote(&format!("blob@{}", sha256(blob)));
        self.0
            .refused("skopeo", &["delete", "--tls-verify=false", &name])?;
        ensure!(self.0.status(&format!("blob/blobs/{}", sha256(blob)))? == 200);
        Ok(Cell::Cannot("it deletes manifests only"))
    }

    fn list_tags(&self) -> Outcome {
        let sample = Sample::image("skopeo tags", here(), Packing::Gzip)?;
        let tags = self.0.seed_tags("tags", &sample)?;
        let said = self.run(&["list-tags", "--tls-verify=false", &self.remote("tags")])?;
        let mut said: Value = serde_json::from_str(&said)?;
        let listed: BTreeSet<String> = serde_json::from_value(said["Tags"].take())?;
        ensure!(listed == tags, "{listed:?}");
        Ok(Cell::Does)
    }

    fn list_repositories(&self) -> Outcome {
        self.0.lacks(
            "skopeo",
            &["--help"],
            &["catalog", "repositories", "search"],
        )?;
        let all = ["list-tags", "--tls-verify=false", &self.remote("")];
        self.0.refused("skopeo", &all)?;
        Ok(Cell::Cannot("it has no command for the catalog"))
    }

    fn push_index(&self) -> Outcome {
        let family = Family::new("skopeo index")?;
        let layout = self.0.index_layout("index", &family)?;
        self.copy(
            &format!("oci:{layout}:v1"),
            &self.remote("index:v1"),
            &["--all"],
        )?;
        self.0.has_index("index", "v1", &family)?;
        Ok(Cell::Does)
    }

    fn pull_platform(&self) -> Outcome {
        let family = Family::new("skopeo platform")?;
        self.0.seed_index("platform", "v1", &family)?;
        let path = self.0.scratch("platform");
        let (from, to) = (
            self.remote("platform:v1"),
            format!("oci:{}:v1", path.display()),
        );
        let platform = ["--override-os", "linux", "--override-arch", there()];
        let copy = ["copy", "--quiet", "--src-tls-verify=false", &from, &to];
        self.run(&[&platform[..], &copy].concat())?;
        identical(&path.join("blobs/sha256"), family.there.contents())?;
        self.0
            .was_pulled_alone("platform", &family.there, &family.here)?;
        Ok(Cell::Does)
    }

    fn pull_index(&self) -> Outcome {
        layouts::pull_index(self, &["--all"])
    }

    fn push_artifact(&self) -> Outcome {
        let subject = Sample::image("skopeo subject", here(), Packing::Gzip)?;
        self.0.seed("artifact", "v1", &subject)?;
        let artifact = Sample::artifact("skopeo", &subject);
        let layout = self.0.layout("artifact", &artifact)?;
        self.copy(
            &format!("oci:{layout}:v1"),
            &self.remote("artifact:report"),
            &[],
        )?;
        self.0
            .has_artifact("artifact", "report", &artifact, &subject)?;
        Ok(Cell::Does)
    }

    fn list_referrers(&self) -> Outcome {
        self.0
            .lacks("skopeo", &["--help"], &["referrer", "artifact"])?;
        Ok(Cell::Cannot("it has no command for referrers"))
    }

    fn push_zstd(&self) -> Outcome {
        let sample = Sample::image("skopeo push zstd", here(), Packing::Gzip)?;
        let archive = self.0.archive("zstd", &sample, "zstd:v1")?;
        let form = ["--format", "oci", "--dest-compress-format", "zstd"];
        self.copy(
            &format!("docker-archive:{archive}"),
            &self.remote("zstd:v1"),
            &form,
        )?;
        self.0.has_packed("zstd", "v1", &sample, Packing::Zstd)?;
        Ok(Cell::Does)
    }

    fn pull_zstd(&self) -> Outcome {
        layouts::pull_zstd(self)
    }
}
