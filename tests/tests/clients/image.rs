//! An image to push, built from nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use serde_json::Value;
use tempfile::TempDir;
use wharf_tests::bed::Bed;
use wharf_tests::command::{finish, output};
use wharf_tests::content::Random;

use crate::{Clients, PATIENCE};

/// Layers of different sizes: one that fits into a packet, one that fits into no buffer.
const LAYERS: [usize; 3] = [100, 70_000, 3_000_000];

/// An image of Docker's, saved to a file as well. Docker forgets it when this is dropped.
pub(crate) struct Image {
    pub(crate) name: String,
    /// The digests of its layers' content before any compression, which no client may change.
    pub(crate) layers: Value,
    bed: Bed,
    folder: TempDir,
}

impl Image {
    /// Builds one whose layers no other image has: Docker does not pull what it knows.
    pub(crate) fn build(clients: &Clients, seed: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let id = std::process::id();
        let mut dockerfile = "FROM scratch\n".to_owned();
        for (index, size) in LAYERS.into_iter().enumerate() {
            let mut content = format!("{seed} {id} {index}\n").into_bytes();
            content.extend(Random::new(u64::from(id)).bytes(size));
            fs::write(folder.path().join(format!("file{index}")), content)?;
            dockerfile += &format!("COPY file{index} /folder/file{index}\n");
        }
        fs::write(
            folder.path().join("Dockerfile"),
            dockerfile + "CMD [\"/file0\"]\n",
        )?;
        let mut image = Self {
            name: format!("wharf-test-clients:{seed}-{id}"),
            layers: Value::Null,
            bed: clients.bed.clone(),
            folder,
        };
        let context = image.folder.path().to_string_lossy().into_owned();
        image.docker(&["build", "--quiet", "--tag", &image.name, &context])?;
        image.docker(&["save", "--output", &image.saved(), &image.name])?;
        image.layers = image_layers(image.bed.command("docker"), &image.name)?;
        Ok(image)
    }

    /// Where it is saved, in the form of `docker save`.
    pub(crate) fn saved(&self) -> String {
        let path: PathBuf = self.folder.path().join("saved.tar");
        path.to_string_lossy().into_owned()
    }

    /// Makes Docker forget it.
    pub(crate) fn forget(&self) -> Result<()> {
        self.docker(&["rmi", "--force", &self.name])
    }

    fn docker(&self, arguments: &[&str]) -> Result<()> {
        output(self.bed.command("docker").args(arguments), PATIENCE).map(drop)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // It may be gone already.
        let mut remove = self.bed.command("docker");
        let _ = finish(remove.args(["rmi", "--force", &self.name]), PATIENCE);
    }
}

/// What Docker says an image's layers contain.
pub(crate) fn image_layers(mut docker: Command, name: &str) -> Result<Value> {
    docker.args([
        "image",
        "inspect",
        "--format",
        "{{json .RootFS.Layers}}",
        name,
    ]);
    Ok(serde_json::from_str(&output(&mut docker, PATIENCE)?)?)
}
