//! Content for clients to push and pull, in the forms that they read: OCI layouts, and archives as
//! `docker save` writes them. No two samples share a layer: clients do not pull what they know.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use wharf_tests::content::{CONFIG, INDEX, LAYER, MANIFEST, Random, descriptor, manifest, sha256};

/// Sizes of the files in an image's layers: one that fits into a packet, one that fits into no buffer.
const FILES: [usize; 3] = [100, 70_000, 1_500_000];

/// What artifacts of the tests are.
pub(crate) const ARTIFACT: &str = "application/vnd.example.report";

/// How layers are packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

/// An image for one platform, or an artifact: a manifest and its blobs.
pub(crate) struct Sample {
    /// Spaced in a way that no serialiser would choose.
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Layer>,
}

/// A layer: a file in a tar archive.
pub(crate) struct Layer {
    /// The file's bytes; its name is `file` and the layer's number.
    pub(crate) file: Vec<u8>,
    tar: Vec<u8>,
    /// As the registry keeps it.
    pub(crate) blob: Vec<u8>,
}

impl Sample {
    /// An image for a platform of this architecture.
    pub(crate) fn image(seed: &str, architecture: &str, packing: Packing) -> Result<Self> {
        Self::image_about(seed, architecture, packing, None)
    }

    /// An image that says that it is about another.
    pub(crate) fn image_about(
        seed: &str,
        architecture: &str,
        packing: Packing,
        subject: Option<&Self>,
    ) -> Result<Self> {
        let mut random = Random::new(seed.bytes().fold(u64::from(std::process::id()), |sum, b| {
            sum.wrapping_mul(31).wrapping_add(u64::from(b))
        }));
        let mut layers = Vec::new();
        for (index, size) in FILES.into_iter().enumerate() {
            let file = random.bytes(size);
            let tar = tar_of(&format!("file{index}"), &file)?;
            let blob = packing.pack(&tar)?;
            layers.push(Layer { file, tar, blob });
        }
        let ids: Vec<_> = layers.iter().map(|layer| sha256(&layer.tar)).collect();
        let history: Vec<_> = layers
            .iter()
            .map(|_| json!({"created_by": "test"}))
            .collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/file0"]},
            "rootfs": {"type": "layers", "diff_ids": ids}, "history": history,
        });
        let config = config.to_string().into_bytes();
        let kind = format!("{LAYER}+{}", packing.suffix());
        let described: Vec<_> = layers.iter().map(|l| descriptor(&kind, &l.blob)).collect();
        let mut bytes = manifest(&descriptor(CONFIG, &config), &described);
        if let Some(subject) = subject {
            let subject = descriptor(MANIFEST, &subject.manifest);
            bytes.truncate(bytes.len() - 2);
            bytes.extend(format!(", \"subject\": {subject} }}").bytes());
        }
        Ok(Self {
            manifest: bytes,
            config,
            layers,
        })
    }

    /// An artifact about an image.
    pub(crate) fn artifact(seed: &str, subject: &Self) -> Self {
        let (config, blob) = (b"{}".to_vec(), format!("all about {seed}\n").into_bytes());
        let manifest = format!(
            "{{\"schemaVersion\": 2, \"mediaType\": \"{MANIFEST}\",\"artifactType\":\"{ARTIFACT}\",\"config\":{},\"layers\":[{}],\"subject\":{}}}\n",
            descriptor("application/vnd.oci.empty.v1+json", &config),
            descriptor("text/plain", &blob),
            descriptor(MANIFEST, &subject.manifest),
        );
        let layer = Layer {
            file: blob.clone(),
            tar: Vec::new(),
            blob,
        };
        Self {
            manifest: manifest.into_bytes(),
            config,
            layers: vec![layer],
        }
    }

    pub(crate) fn digest(&self) -> String {
        sha256(&self.manifest)
    }

    /// The digests of what is in the layers, which no client may change.
    pub(crate) fn diff_ids(&self) -> Vec<String> {
        self.layers.iter().map(|layer| sha256(&layer.tar)).collect()
    }

    /// Config and layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &[u8]> {
        let layers = self.layers.iter().map(|layer| layer.blob.as_slice());
        layers.chain([self.config.as_slice()])
    }

    /// Everything that a whole pull gets.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &[u8]> {
        self.blobs().chain([self.manifest.as_slice()])
    }

    /// Writes it as an OCI layout, under this tag.
    pub(crate) fn write_layout(&self, folder: &Path, tag: &str) -> Result<()> {
        write_layout(
            folder,
            tag,
            &descriptor(MANIFEST, &self.manifest),
            self.contents(),
        )
    }

    /// Writes it as `docker save` does, with layers that are not compressed.
    pub(crate) fn write_archive(&self, file: &Path, name: &str) -> Result<()> {
        let mut archive = tar::Builder::new(File::create(file)?);
        let mut names = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            names.push(format!("layer{index}.tar"));
            append(&mut archive, &names[index], &layer.tar)?;
        }
        append(&mut archive, "config.json", &self.config)?;
        let list = json!([{"Config": "config.json", "RepoTags": [name], "Layers": names}]);
        append(&mut archive, "manifest.json", list.to_string().as_bytes())?;
        Ok(archive.finish()?)
    }
}

/// The same image for two platforms, and the index that names both.
pub(crate) struct Family {
    /// As the containers libraries write one: they write each anew.
    pub(crate) index: Vec<u8>,
    /// For this machine.
    pub(crate) here: Sample,
    /// For another.
    pub(crate) there: Sample,
}

impl Family {
    pub(crate) fn new(seed: &str) -> Result<Self> {
        let here = Sample::image(&format!("{seed} here"), here(), Packing::Gzip)?;
        let there = Sample::image(&format!("{seed} there"), there(), Packing::Gzip)?;
        let entry = |sample: &Sample, architecture: &str| {
            format!(
                "{{\"mediaType\":\"{MANIFEST}\",\"digest\":\"{}\",\"size\":{},\"platform\":{{\"architecture\":\"{architecture}\",\"os\":\"linux\"}}}}",
                sample.digest(),
                sample.manifest.len()
            )
        };
        let index = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{},{}]}}",
            entry(&here, self::here()),
            entry(&there, self::there())
        );
        Ok(Self {
            index: index.into_bytes(),
            here,
            there,
        })
    }

    /// Everything that a whole pull gets.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &[u8]> {
        let images = self.here.contents().chain(self.there.contents());
        images.chain([self.index.as_slice()])
    }

    /// Writes it as an OCI layout, under this tag.
    pub(crate) fn write_layout(&self, folder: &Path, tag: &str) -> Result<()> {
        write_layout(
            folder,
            tag,
            &descriptor(INDEX, &self.index),
            self.contents(),
        )
    }
}

/// This machine's architecture, as images name it.
pub(crate) fn here() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// An architecture that this machine has not.
pub(crate) fn there() -> &'static str {
    if here() == "arm64" { "amd64" } else { "arm64" }
}

/// Packs a folder into a tar archive.
pub(crate) fn pack(folder: &Path, file: &Path) -> Result<()> {
    let mut archive = tar::Builder::new(File::create(file)?);
    archive.append_dir_all(".", folder)?;
    Ok(archive.finish()?)
}

impl Packing {
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn pack(self, bytes: &[u8]) -> Result<Vec<u8>> {
        if self == Self::Zstd {
            return Ok(zstd(bytes));
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes)?;
        Ok(encoder.finish()?)
    }
}

/// A zstd frame (RFC 8878) of blocks that are not compressed: what is in it is random.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    // The magic number, then: one segment, whose size has eight bytes.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000];
    frame.extend((bytes.len() as u64).to_le_bytes());
    let blocks = bytes.chunks(128 << 10);
    let last = blocks.len() - 1;
    for (index, block) in blocks.enumerate() {
        // Whether it is the last (one bit), raw (two bits), its size.
        let header = u64::from(index == last) | ((block.len() as u64) << 3);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

fn tar_of(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, name, bytes)?;
    Ok(archive.into_inner()?)
}

fn append(archive: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    Ok(archive.append_data(&mut header, name, bytes)?)
}

fn write_layout<'a>(
    folder: &Path,
    tag: &str,
    top: &Value,
    contents: impl Iterator<Item = &'a [u8]>,
) -> Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    for content in contents {
        fs::write(
            blobs.join(sha256(content).trim_start_matches("sha256:")),
            content,
        )?;
    }
    let mut top = top.clone();
    top["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]});
    fs::write(folder.join("index.json"), index.to_string())?;
    Ok(fs::write(
        folder.join("oci-layout"),
        "{\"imageLayoutVersion\":\"1.0.0\"}",
    )?)
}
