//! An image in memory, and the archive that containerd and Docker import (OCI image layout in a tar).

use std::io::Write;

use anyhow::Context;
use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use wharf_registry::oci::{Digest, MediaType};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Bytes and the digest that names them.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    /// What the bytes are called.
    pub(crate) digest: Digest,
    /// The bytes.
    pub(crate) bytes: Bytes,
}

/// A file of a layer: its path, its mode, its content.
pub(crate) type File<'a> = (&'a str, u32, &'a [u8]);

/// A folder of a layer: its path, the user and group that own it.
pub(crate) type Folder<'a> = (&'a str, u64);

/// An image: a manifest, and the two blobs that it names.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The manifest.
    pub(crate) manifest: Blob,
    /// The configuration.
    pub(crate) config: Blob,
    /// The one layer.
    pub(crate) layer: Blob,
}

impl Image {
    /// Packs folders and files, to be run with these settings. No clock and no map with an order of its own has a say in the result.
    pub(crate) fn new(
        architecture: &str,
        settings: &Value,
        folders: &[Folder<'_>],
        files: &[File<'_>],
    ) -> anyhow::Result<Self> {
        let tar = archive(folders, files).context("packing a layer")?;
        let layer = blob(compress(&tar)?);
        let config = blob(serde_json::to_vec(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&tar).to_string()]},
        }))?);
        let manifest = blob(serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
        }))?);
        Ok(Self {
            manifest,
            config,
            layer,
        })
    }

    /// The archive, under the full name that the nodes know the image by.
    pub(crate) fn archive(&self, name: &str) -> anyhow::Result<Bytes> {
        let mut entry = descriptor(MediaType::OCI_MANIFEST, &self.manifest);
        // The first is containerd's own word for a full name, the second the standard's.
        entry["annotations"] = json!({
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rsplit(':').next(),
        });
        let index = serde_json::to_vec(
            &json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [entry]}),
        )?;
        // A Docker Engine that keeps its images itself reads this one alone.
        let path = |blob: &Blob| format!("blobs/sha256/{}", blob.digest.hex());
        let docker = serde_json::to_vec(&json!([{
            "Config": path(&self.config),
            "RepoTags": [name],
            "Layers": [path(&self.layer)],
        }]))?;
        let blobs: Vec<(String, &Bytes)> = [&self.config, &self.manifest, &self.layer]
            .into_iter()
            .map(|blob| (path(blob), &blob.bytes))
            .collect();
        let mut files: Vec<File<'_>> = vec![
            ("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#),
            ("index.json", 0o644, &index),
            ("manifest.json", 0o644, &docker),
        ];
        files.extend(
            blobs
                .iter()
                .map(|(path, bytes)| (path.as_str(), 0o644, &bytes[..])),
        );
        Ok(archive(&[], &files).context("packing the image")?.into())
    }
}

fn blob(bytes: Vec<u8>) -> Blob {
    Blob {
        digest: Digest::sha256(&bytes),
        bytes: bytes.into(),
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.bytes.len()})
}

/// Folders and files in a tar.
pub(super) fn archive(folders: &[Folder<'_>], files: &[File<'_>]) -> std::io::Result<Vec<u8>> {
    let size: usize = files
        .iter()
        .map(|(_, _, content)| content.len() + 1024)
        .sum();
    let mut tar = tar::Builder::new(Vec::with_capacity(size + 1024));
    for (path, owner) in folders {
        let mut header = header(0o755, *owner);
        header.set_entry_type(tar::EntryType::Directory);
        tar.append_data(&mut header, path, std::io::empty())?;
    }
    for (path, mode, content) in files {
        let mut header = header(*mode, 0);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, *content)?;
    }
    tar.into_inner()
}

fn header(mode: u32, owner: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(owner);
    header.set_gid(owner);
    header
}

fn compress(tar: &[u8]) -> anyhow::Result<Vec<u8>> {
    // The header's time and system stay at "unknown".
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), Compression::new(6));
    gzip.write_all(tar)?;
    Ok(gzip.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn an_archive_holds_what_its_index_names() {
        let image = Image::new(
            "amd64",
            &json!({}),
            &[("data", 65532)],
            &[("wharf", 0o755, b"program")],
        )
        .unwrap();
        let archive = image.archive("docker.io/wharf/wharf:0.1.0-abc").unwrap();
        let mut files = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(path, content);
        }
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        assert_eq!(
            index["manifests"][0]["annotations"]["io.containerd.image.name"],
            "docker.io/wharf/wharf:0.1.0-abc"
        );
        assert_eq!(
            index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
            "0.1.0-abc"
        );
        for blob in [&image.manifest, &image.config, &image.layer] {
            assert_eq!(
                Digest::sha256(&files[&format!("blobs/sha256/{}", blob.digest.hex())]),
                blob.digest
            );
        }
        let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(docker[0]["RepoTags"][0], "docker.io/wharf/wharf:0.1.0-abc");
        for path in [&docker[0]["Config"], &docker[0]["Layers"][0]] {
            assert!(files.contains_key(path.as_str().unwrap()), "{path}");
        }
        assert_eq!(files.len(), 6);
    }
}
