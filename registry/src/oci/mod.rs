//! The words of the OCI distribution and image specifications: names, tags, digests, references,
//! media types, manifests and byte ranges.
//!
//! A value of these types is valid by construction: the only way to get one is to parse it. This
//! module does no I/O and knows nothing of storage or HTTP, so everything in it can be fuzzed.

mod digest;
mod manifest;
mod media_type;
mod name;
mod range;
mod reference;

pub use digest::{Algorithm, Digest, Hasher, InvalidDigest};
pub use manifest::{Child, InvalidManifest, Manifest, ManifestKind};
pub use media_type::MediaType;
pub use name::{InvalidName, Name};
pub use range::{ByteRange, ContentRange, InvalidRange};
pub use reference::{InvalidReference, InvalidTag, Reference, Tag};
