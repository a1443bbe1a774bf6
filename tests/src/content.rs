//! Content to push: bytes that repeat with a seed, and the manifests that name them.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

/// Media type of image manifests.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of indexes.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of image configs.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of layers that are not compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The digest that registries use unless told otherwise.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// The other one.
#[must_use]
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

/// Bytes as digests write them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a manifest names content.
#[must_use]
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
}

/// An image manifest of these descriptors, spaced in a way that no serialiser would choose: whoever
/// writes it anew changes its digest.
#[must_use]
pub fn manifest(config: &Value, layers: &[Value]) -> Vec<u8> {
    let layers = json!(layers);
    format!(
        "{{\"schemaVersion\" :2,\n\t\"mediaType\": \"{MANIFEST}\",\"layers\":{layers},  \"config\":{config}}}\n"
    )
    .into_bytes()
}

/// An index of these descriptors, oddly spaced as well.
#[must_use]
pub fn index(manifests: &[Value]) -> Vec<u8> {
    let manifests = json!(manifests);
    format!("{{ \"manifests\":{manifests},\n\"schemaVersion\":2,\"mediaType\":\"{INDEX}\" }}")
        .into_bytes()
}

/// A stream of random numbers (SplitMix64) that a seed repeats.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends and is never iterated over"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0. (A little uneven; nobody here minds.)
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    /// Whether an event of this many percent happens.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
