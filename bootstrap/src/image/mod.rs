//! wharf's own image, packed from its own binary: no node ever pulls it from outside.
//!
//! The same binary packs to the same bytes, so its digest says what runs: times, owners and order are fixed.

mod elf;
mod layout;
mod probe;

use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use serde_json::{Value, json};
use wharf_registry::oci::Digest;

use crate::exit::Code;
use crate::names::IMAGE_REPOSITORY;
pub(crate) use layout::Image;
pub(crate) use probe::probe;

/// The registry's user in its own image: nobody in particular.
const USER: u64 = 65532;

/// A binary that nodes can run: static, for Linux, for their architecture.
#[derive(Debug, Clone)]
pub(crate) struct NodeBinary {
    bytes: Bytes,
    digest: Digest,
}

/// Whether an image's name is one under which a binary was packed, and not one that the user gave.
pub(crate) fn is_packed(name: &str) -> bool {
    let tag = name
        .strip_prefix("docker.io/")
        .and_then(|name| name.strip_prefix(IMAGE_REPOSITORY))
        .and_then(|name| name.strip_prefix(':'));
    let hash = tag.and_then(|tag| tag.rsplit_once('-'));
    hash.is_some_and(|(_, hash)| hash.len() == 12 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl NodeBinary {
    /// Reads the binary for the nodes: the one that was named, or this program itself.
    pub(crate) async fn read(named: Option<PathBuf>, architecture: &str) -> anyhow::Result<Self> {
        let architecture = architecture.to_owned();
        let read = move || {
            let path = match named {
                Some(path) => path,
                None => std::env::current_exe().context("finding this program's own file")?,
            };
            Self::from_file(&path, &architecture)
        };
        tokio::task::spawn_blocking(read).await?
    }

    fn from_file(path: &Path, architecture: &str) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        elf::check(&bytes, architecture).map_err(|problem| {
            Code::Prerequisite.error(format!(
                "{} cannot run on the nodes ({problem}): name a static Linux build of wharf for {architecture} with --node-binary, or an image with --image",
                path.display()
            ))
        })?;
        let digest = Digest::sha256(&bytes);
        Ok(Self {
            bytes: bytes.into(),
            digest,
        })
    }

    /// The image's tag: it names the program by its version and its content.
    pub(crate) fn tag(&self) -> String {
        let hex: String = self.digest.hex().chars().take(12).collect();
        format!("{}-{hex}", env!("CARGO_PKG_VERSION"))
    }

    /// The image's name in the nodes, written in full: a short name is another name to containerd.
    pub(crate) fn image_name(&self) -> String {
        format!("docker.io/{IMAGE_REPOSITORY}:{}", self.tag())
    }

    /// The file `wharf`, in a tar.
    pub(crate) async fn archive(&self) -> anyhow::Result<Bytes> {
        let bytes = self.bytes.clone();
        let pack = move || layout::archive(&[], &[("wharf", 0o755, &bytes)]);
        let archive = tokio::task::spawn_blocking(pack).await?;
        Ok(archive.context("packing this program")?.into())
    }

    /// Packs the image. It takes a second or two of one core.
    pub(crate) async fn pack(&self, architecture: &str) -> anyhow::Result<Image> {
        let (bytes, architecture) = (self.bytes.clone(), architecture.to_owned());
        tokio::task::spawn_blocking(move || {
            Image::new(
                &architecture,
                &settings(),
                &[("data", USER)],
                &[("wharf", 0o755, &bytes)],
            )
        })
        .await?
    }
}

/// With these, the image is a registry wherever it is run; in a cluster the manifests say otherwise. `deploy/Containerfile` has the
/// same ones.
fn settings() -> Value {
    json!({
        "User": format!("{USER}:{USER}"),
        "Env": [
            "PATH=/",
            "WHARF_LISTEN=0.0.0.0:5000,[::]:5000",
            "WHARF_DATA=/data",
            "WHARF_ALLOW_HOST=registry",
        ],
        "Entrypoint": ["/wharf"],
        "Cmd": ["serve"],
        "WorkingDir": "/",
        "ExposedPorts": {"5000/tcp": {}},
        "Volumes": {"/data": {}},
        "Labels": {
            "org.opencontainers.image.title": "wharf",
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_binary_packs_to_the_same_digest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), elf::tests::static_elf(62)).unwrap();
        let read = || NodeBinary::read(Some(file.path().to_owned()), "amd64");
        let (first, second) = (read().await.unwrap(), read().await.unwrap());
        assert_eq!(first.image_name(), second.image_name());
        assert!(is_packed(&first.image_name()));
        for theirs in [
            "docker.io/wharf/wharf:0.1.0",
            "ghcr.io/ann/wharf:1-0123456789ab",
        ] {
            assert!(!is_packed(theirs), "{theirs}");
        }
        let (first, second) = (
            first.pack("amd64").await.unwrap(),
            second.pack("amd64").await.unwrap(),
        );
        assert_eq!(
            first.archive("docker.io/wharf/wharf:1").unwrap(),
            second.archive("docker.io/wharf/wharf:1").unwrap()
        );
    }

    #[tokio::test]
    async fn a_foreign_binary_is_refused_with_the_way_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), elf::tests::static_elf(183)).unwrap();
        let error = NodeBinary::read(Some(file.path().to_owned()), "amd64")
            .await
            .unwrap_err();
        assert_eq!(Code::of(&error), Code::Prerequisite);
        let message = error.to_string();
        assert!(
            message.contains("--node-binary") && message.contains("--image"),
            "{message}"
        );
    }
}
