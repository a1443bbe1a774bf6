//! regctl, of regclient.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use wharf_tests::command::output;
use wharf_tests::content::sha256;

use super::layouts::{self, Layouts};
use super::{Cell, Client, Outcome};
use crate::PATIENCE;
use crate::sample::{ARTIFACT, Family, Packing, Sample, here};
use crate::world::World;

pub(super) struct Regctl(pub(super) World);

impl Regctl {
    fn command(&self, arguments: &[&str]) -> Command {
        let host = format!("reg={},tls=disabled", self.0.host());
        let mut command = self.0.clients.command("regctl", &["--host", &host]);
        command.args(arguments);
        // Nobody's own settings.
        command.env("REGCTL_CONFIG", self.0.scratch("regctl.json"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(arguments), PATIENCE)
    }
}

impl Layouts for Regctl {
    const NAME: &str = "regctl";

    fn world(&self) -> &World {
        &self.0
    }

    fn pull_to(&self, folder: &str, name: &str, more: &[&str]) -> Result<PathBuf> {
        let path = self.0.scratch(folder);
        let to = format!("ocidir://{}:v1", path.display());
        let name = self.0.image(name);
        self.run(&[&["image", "copy", &name, &to], more].concat())?;
        Ok(path.join("blobs/sha256"))
    }
}

impl Client for Regctl {
    fn version(&self) -> Result<String> {
        self.run(&["version", "--format", "{{.VCSTag}}"])
    }

    fn push(&self) -> Outcome {
        let sample = Sample::image("regctl push", here(), Packing::Gzip)?;
        let layout = self.0.layout("push", &sample)?;
        let from = format!("ocidir://{layout}:v1");
        self.run(&["image", "copy", &from, &self.0.image("push:v1")])?;
        self.0.has("push", "v1", &sample)?;
        Ok(Cell::Does)
    }

    fn pull(&self) -> Outcome {
        layouts::pull(self)
    }

    fn pull_ranges(&self) -> Outcome {
        layouts::pull_no_ranges(self)
    }

    fn mount(&self) -> Outcome {
        let sample = Sample::image("regctl mount", here(), Packing::Gzip)?;
        self.0.seed("mount/from", "v1", &sample)?;
        let (from, to) = (self.0.image("mount/from:v1"), self.0.image("mount/to:v1"));
        self.run(&["image", "copy", &from, &to])?;
        self.0.was_mounted("mount/to", &sample)?;
        self.0.has("mount/to", "v1", &sample)?;
        Ok(Cell::Does)
    }

    fn delete_tag(&self) -> Outcome {
        let sample = Sample::image("regctl tag", here(), Packing::Gzip)?;
        self.0.seed("tag", "gone", &sample)?;
        self.0.seed("tag", "kept", &sample)?;
        self.run(&["tag", "delete", &self.0.image("tag:gone")])?;
        ensure!(self.0.status("tag/manifests/gone")? == 404);
        self.0.has("tag", "kept", &sample)?;
        Ok(Cell::Does)
    }

    fn delete_manifest(&self) -> Outcome {
        let sample = Sample::image("regctl manifest", here(), Packing::Gzip)?;
        self.0.seed("manifest", "v1", &sample)?;
        let name = self.0.image(&format!("manifest@{}", sample.digest()));
        self.run(&["manifest", "delete", &name])?;
        ensure!(self.0.status("manifest/manifests/v1")? == 404);
        ensure!(
            self.0
                .status(&format!("manifest/manifests/{}", sample.digest()))?
                == 404
        );
        Ok(Cell::Does)
    }

    fn delete_blob(&self) -> Outcome {
        let (gone, kept) = (b"a blob for regctl", b"another one");
        self.0.seed_blob("blob", gone)?;
        self.0.seed_blob("blob", kept)?;
        self.run(&["blob", "delete", &self.0.image("blob"), &sha256(gone)])?;
        ensure!(self.0.status(&format!("blob/blobs/{}", sha256(gone)))? == 404);
        ensure!(self.0.status(&format!("blob/blobs/{}", sha256(kept)))? == 200);
        Ok(Cell::Does)
    }

    fn list_tags(&self) -> Outcome {
        let sample = Sample::image("regctl tags", here(), Packing::Gzip)?;
        let tags = self.0.seed_tags("tags", &sample)?;
        let said = self.run(&["tag", "ls", &self.0.image("tags")])?;
        let listed: BTreeSet<_> = said.lines().map(str::to_owned).collect();
        ensure!(listed == tags, "{listed:?}");
        // In pages, where it is asked to.
        let page = ["tag", "ls", "--limit", "3", "--last", "v1"];
        let said = self.run(&[&page[..], &[&self.0.image("tags")]].concat())?;
        ensure!(said.lines().eq(["v10", "v100", "v1000"]), "{said}");
        Ok(Cell::Does)
    }

    fn list_repositories(&self) -> Outcome {
        let sample = Sample::image("regctl repositories", here(), Packing::Gzip)?;
        let all = self.0.seed_repositories(&sample)?;
        let said = self.run(&["repo", "ls", &self.0.host()])?;
        let listed: Vec<_> = said.lines().collect();
        ensure!(listed == all, "{listed:?}");
        Ok(Cell::Does)
    }

    fn push_index(&self) -> Outcome {
        let family = Family::new("regctl index")?;
        let layout = self.0.index_layout("index", &family)?;
        let from = format!("ocidir://{layout}:v1");
        self.run(&["image", "copy", &from, &self.0.image("index:v1")])?;
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
        let subject = Sample::image("regctl subject", here(), Packing::Gzip)?;
        self.0.seed("artifact", "v1", &subject)?;
        let report = self.0.scratch("report");
        std::fs::write(&report, "a report")?;
        let (file, name) = (report.to_string_lossy(), self.0.image("artifact:v1"));
        let put = [
            "artifact",
            "put",
            "--artifact-type",
            ARTIFACT,
            "--file",
            &file,
        ];
        self.run(&[&put[..], &["--subject", &name]].concat())?;
        let [referrer] = &self.0.referrers("artifact", &subject)?[..] else {
            anyhow::bail!("not one referrer");
        };
        let manifest = self.0.clients.manifest("artifact", referrer)?;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
        ensure!(manifest["subject"]["digest"] == subject.digest().as_str());
        ensure!(manifest["artifactType"] == ARTIFACT);
        // And it fetches by subject what it put there.
        let get = [
            "artifact",
            "get",
            "--subject",
            &name,
            "--filter-artifact-type",
        ];
        ensure!(self.run(&[&get[..], &[ARTIFACT]].concat())? == "a report");
        // It deletes an artifact, and the list with it.
        let name = self.0.image(&format!("artifact@{referrer}"));
        self.run(&["manifest", "delete", "--referrers", &name])?;
        ensure!(self.0.referrers("artifact", &subject)?.is_empty());
        Ok(Cell::Does)
    }

    fn list_referrers(&self) -> Outcome {
        let subject = Sample::image("regctl referrers", here(), Packing::Gzip)?;
        self.0.seed("referrers", "v1", &subject)?;
        let artifact = Sample::artifact("regctl", &subject);
        self.0.seed("referrers", &artifact.digest(), &artifact)?;
        let name = self.0.image("referrers:v1");
        let listed = |kind: &str| -> Result<String> {
            let list = [
                "artifact",
                "list",
                "--format",
                "{{range .Descriptors}}{{.Digest}}{{end}}",
            ];
            self.run(&[&list[..], &["--filter-artifact-type", kind, &name]].concat())
        };
        let (this, other) = (listed(ARTIFACT)?, listed("application/vnd.example.other")?);
        ensure!(
            this.trim() == artifact.digest() && other.trim().is_empty(),
            "{this} {other}"
        );
        Ok(Cell::Does)
    }

    fn push_zstd(&self) -> Outcome {
        // It packs the layers of an image anew, and pushes them.
        let sample = Sample::image("regctl push zstd", here(), Packing::Gzip)?;
        self.0.seed("zstd", "gzip", &sample)?;
        let change = ["image", "mod", "--layer-compress", "zstd"];
        let (from, to) = (self.0.image("zstd:gzip"), self.0.image("zstd:v1"));
        self.run(&[&change[..], &["--create", &to, &from]].concat())?;
        self.0.has_packed("zstd", "v1", &sample, Packing::Zstd)?;
        Ok(Cell::Does)
    }

    fn pull_zstd(&self) -> Outcome {
        layouts::pull_zstd(self)
    }
}
