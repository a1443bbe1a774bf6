//! What a registry has to know of a manifest.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor};

use super::{Digest, InvalidDigest, MediaType};
use crate::limits;

/// A look into a manifest: what it references and how it describes itself.
///
/// This is never written out again. The bytes that a client pushed are what is stored and served;
/// re-serialising them would change their digest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The type that it is stored and served under.
    pub media_type: MediaType,
    /// Whether it is made of blobs or of other manifests.
    pub kind: ManifestKind,
    /// What kind of artifact it is: `artifactType`, else for images the config's media type.
    pub artifact_type: Option<String>,
    /// The manifest that this one refers to (a signature to the image that it signs). It need not
    /// be there.
    pub subject: Option<Digest>,
    /// The annotations, which lists of referrers repeat.
    pub annotations: BTreeMap<String, String>,
    /// Blobs that have to be in the repository before the manifest may be pushed, without
    /// repetitions.
    pub blobs: Vec<Digest>,
    /// Blobs that may be elsewhere (non-distributable layers), and count as referenced where they
    /// are here.
    pub foreign_blobs: Vec<Digest>,
    /// The manifests that an index lists, without repetitions. They need not be there (a sparse
    /// index).
    pub children: Vec<Child>,
}

/// The two shapes of manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// An image or artifact: a config and layers.
    Image,
    /// An image index or Docker manifest list.
    Index,
}

/// One entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Digest of the manifest listed.
    pub digest: Digest,
}

/// Why some bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// They are not the JSON that they should be.
    #[error("the manifest is not valid JSON of its kind: {0}")]
    Json(#[from] serde_json::Error),
    /// The specification fixes `schemaVersion` at 2.
    #[error("the manifest's schemaVersion is {0}, and only 2 is supported")]
    SchemaVersion(u64),
    /// Schema 1 images are refused.
    #[error(
        "Docker image manifest version 2, schema 1 is not supported; push the image again with Docker 1.10 or later, \
         or convert it with 'skopeo copy --format v2s2'"
    )]
    Schema1,
    /// The header and the field name two types. Clients that trust one and clients that trust the
    /// other would see different things (CVE-2021-41190).
    #[error("the manifest calls itself '{field}' but was sent as Content-Type '{header}'")]
    MediaTypeMismatch {
        /// The manifest's `mediaType`.
        field: String,
        /// The request's `Content-Type`.
        header: String,
    },
    /// It could be taken for an image by one client and for an index by another (CVE-2021-41190).
    #[error(
        "the manifest has both 'manifests' and 'config' or 'layers', so it is neither an image nor an index"
    )]
    Ambiguous,
    /// Its shape is not that of its media type.
    #[error("the manifest is sent as '{0}' but has not that type's fields")]
    Shape(MediaType),
    /// Neither header nor field names a usable type.
    #[error("the manifest has no usable media type; send it as Content-Type")]
    NoMediaType,
    /// A descriptor's digest cannot be checked here.
    #[error("the manifest references '{digest}': {source}")]
    Digest {
        /// As it stands in the manifest.
        digest: String,
        /// What is wrong with it.
        source: InvalidDigest,
    },
    /// More descriptors than [`limits::DESCRIPTORS_PER_MANIFEST`].
    #[error("the manifest has {0} descriptors, and {limit} are supported", limit = limits::DESCRIPTORS_PER_MANIFEST)]
    TooManyDescriptors(usize),
}

/// The fields of images, indexes and artifacts that matter here, of every generation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Descriptors>,
    /// Of the artifact manifest.
    blobs: Option<Descriptors>,
    manifests: Option<Descriptors>,
    subject: Option<Descriptor>,
    annotations: Option<Annotations>,
    /// Of schema 1, only to know it by.
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(rename = "size")]
    _size: Size,
}

/// Bytes of content. The specification has 63 bits for them, and many clients have a sign.
struct Size;

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let size = i64::deserialize(deserializer)?;
        match size < 0 {
            true => Err(D::Error::invalid_value(
                Unexpected::Signed(size),
                &"a number of bytes",
            )),
            false => Ok(Self),
        }
    }
}

/// As many descriptors as are supported. Whether there are more is seen while they are read: once
/// they are in memory, a small manifest has become a large one.
#[derive(Default)]
struct Descriptors(Vec<Descriptor>);

/// As many annotations as are supported.
#[derive(Default)]
struct Annotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Descriptors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self::default())
    }
}

impl<'de> Visitor<'de> for Descriptors {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = limits::DESCRIPTORS_PER_MANIFEST;
        write!(formatter, "a list of at most {limit} descriptors")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self, A::Error> {
        while let Some(descriptor) = list.next_element()? {
            if self.0.len() >= limits::DESCRIPTORS_PER_MANIFEST {
                return Err(A::Error::invalid_length(self.0.len() + 1, &self));
            }
            self.0.push(descriptor);
        }
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Annotations {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = limits::ANNOTATIONS_PER_MANIFEST;
        write!(formatter, "a map of at most {limit} annotations")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, value)) = map.next_entry()? {
            if self.0.len() >= limits::ANNOTATIONS_PER_MANIFEST {
                return Err(A::Error::invalid_length(self.0.len() + 1, &self));
            }
            self.0.insert(key, value);
        }
        Ok(self)
    }
}

impl Manifest {
    /// Looks into a manifest's `bytes`, sent under `content_type`.
    ///
    /// # Errors
    /// [`InvalidManifest`] where clients could not agree on what the manifest is, or where it names
    /// content by digests that cannot be checked.
    pub fn parse(content_type: Option<&MediaType>, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let schema1 = |kind: &MediaType| {
            matches!(
                kind.as_str(),
                MediaType::DOCKER_SCHEMA1 | MediaType::DOCKER_SCHEMA1_SIGNED
            )
        };
        if content_type.is_some_and(schema1) {
            return Err(InvalidManifest::Schema1);
        }
        let document: Document = serde_json::from_slice(bytes)?;
        if document.fs_layers.is_some() || document.schema_version == 1 {
            return Err(InvalidManifest::Schema1);
        }
        let media_type = media_type(content_type, &document)?;
        // The field alone may say so, too.
        if schema1(&media_type) {
            return Err(InvalidManifest::Schema1);
        }
        // The artifact manifest never had a schemaVersion.
        if document.schema_version != 2 && media_type.as_str() != MediaType::OCI_ARTIFACT {
            return Err(InvalidManifest::SchemaVersion(document.schema_version));
        }
        let kind = kind(&media_type, &document)?;

        let subject = document
            .subject
            .as_ref()
            .map(Descriptor::digest)
            .transpose()?;
        let artifact_type = match (document.artifact_type, &document.config) {
            (Some(kind), _) if !kind.is_empty() => Some(kind),
            (_, Some(config)) if !config.media_type.is_empty() => Some(config.media_type.clone()),
            _ => None,
        };
        let content: Vec<Descriptor> = document
            .config
            .into_iter()
            .chain(document.layers.unwrap_or_default().0)
            .chain(document.blobs.unwrap_or_default().0)
            .collect();
        let listed = document.manifests.unwrap_or_default().0;
        let count = content.len() + listed.len();
        if count > limits::DESCRIPTORS_PER_MANIFEST {
            return Err(InvalidManifest::TooManyDescriptors(count));
        }
        let (foreign, own): (Vec<_>, Vec<_>) =
            content.into_iter().partition(Descriptor::is_foreign);
        Ok(Self {
            media_type,
            kind,
            artifact_type,
            subject,
            annotations: document.annotations.unwrap_or_default().0,
            blobs: digests(&own)?,
            foreign_blobs: digests(&foreign)?,
            children: digests(&listed)?
                .into_iter()
                .map(|digest| Child { digest })
                .collect(),
        })
    }
}

/// The one type that header and field agree on; what a manifest without either is, its shape tells.
fn media_type(
    header: Option<&MediaType>,
    document: &Document,
) -> Result<MediaType, InvalidManifest> {
    // What tools that know nothing of manifests send says nothing about them.
    let header = header.filter(|kind| {
        !matches!(
            kind.as_str(),
            "application/json" | MediaType::OCTET_STREAM | "application/x-www-form-urlencoded"
        )
    });
    match (
        header,
        document
            .media_type
            .as_deref()
            .filter(|field| !field.is_empty()),
    ) {
        (Some(header), Some(field)) if header.as_str() != field => {
            Err(InvalidManifest::MediaTypeMismatch {
                field: field.to_owned(),
                header: header.to_string(),
            })
        }
        (Some(header), _) => Ok(header.clone()),
        // As it stands: with parameters, it would be served as another type than it calls itself.
        (None, Some(field)) => MediaType::parse(field)
            .filter(|kind| kind.as_str() == field)
            .ok_or(InvalidManifest::NoMediaType),
        (None, None) => {
            let shape = if document.manifests.is_some() {
                MediaType::OCI_INDEX
            } else if document.config.is_some() {
                MediaType::OCI_MANIFEST
            } else {
                return Err(InvalidManifest::NoMediaType);
            };
            MediaType::parse(shape).ok_or(InvalidManifest::NoMediaType)
        }
    }
}

/// Whether the document is an image or an index, where it can be only one of them and its media
/// type says the same.
fn kind(media_type: &MediaType, document: &Document) -> Result<ManifestKind, InvalidManifest> {
    let image = document.config.is_some() || document.layers.is_some() || document.blobs.is_some();
    let index = document.manifests.is_some();
    let expected = match media_type.as_str() {
        MediaType::OCI_MANIFEST | MediaType::DOCKER_MANIFEST | MediaType::OCI_ARTIFACT => {
            Some(ManifestKind::Image)
        }
        MediaType::OCI_INDEX | MediaType::DOCKER_LIST => Some(ManifestKind::Index),
        _ => None,
    };
    let kind = match (image, index) {
        (true, true) => return Err(InvalidManifest::Ambiguous),
        (_, true) => ManifestKind::Index,
        (true, _) => ManifestKind::Image,
        // An artifact manifest may have no content at all.
        (false, false) if media_type.as_str() == MediaType::OCI_ARTIFACT || expected.is_none() => {
            ManifestKind::Image
        }
        (false, false) => return Err(InvalidManifest::Shape(media_type.clone())),
    };
    let lacks_config = matches!(
        media_type.as_str(),
        MediaType::OCI_MANIFEST | MediaType::DOCKER_MANIFEST
    ) && document.config.is_none();
    if lacks_config || expected.is_some_and(|expected| expected != kind) {
        return Err(InvalidManifest::Shape(media_type.clone()));
    }
    Ok(kind)
}

/// The descriptors' digests, each once, in order.
fn digests(descriptors: &[Descriptor]) -> Result<Vec<Digest>, InvalidManifest> {
    let mut seen = std::collections::HashSet::new();
    let mut digests = Vec::with_capacity(descriptors.len());
    for descriptor in descriptors {
        let digest = descriptor.digest()?;
        if seen.insert(digest.clone()) {
            digests.push(digest);
        }
    }
    Ok(digests)
}

impl Descriptor {
    fn digest(&self) -> Result<Digest, InvalidManifest> {
        self.digest
            .parse()
            .map_err(|source| InvalidManifest::Digest {
                digest: self.digest.chars().take(200).collect(),
                source,
            })
    }

    /// Whether the content need not be in the registry: layers whose licence forbids to distribute
    /// them.
    fn is_foreign(&self) -> bool {
        self.media_type
            .starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
            || self
                .media_type
                .starts_with("application/vnd.docker.image.rootfs.foreign.diff.tar")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn descriptor(text: &str) -> Value {
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest::sha256(text.as_bytes()).to_string(), "size": 3})
    }

    fn parse(content_type: &str, document: &Value) -> Result<Manifest, InvalidManifest> {
        Manifest::parse(
            MediaType::parse(content_type).as_ref(),
            document.to_string().as_bytes(),
        )
    }

    #[test]
    fn an_image_names_its_blobs_once() {
        let image = json!({"schemaVersion": 2, "config": descriptor("c"), "layers": [descriptor("a"), descriptor("b"), descriptor("a")],
            "subject": descriptor("s"), "annotations": {"k": "v"}});
        let manifest = parse(MediaType::OCI_MANIFEST, &image).unwrap();
        assert_eq!(manifest.kind, ManifestKind::Image);
        assert_eq!(
            manifest.blobs,
            ["c", "a", "b"].map(|text| Digest::sha256(text.as_bytes()))
        );
        assert_eq!(manifest.subject, Some(Digest::sha256(b"s")));
        assert_eq!(
            manifest.artifact_type.as_deref(),
            Some("application/vnd.oci.image.layer.v1.tar")
        );
        assert_eq!(manifest.annotations["k"], "v");
    }

    #[test]
    fn an_index_names_its_children() {
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [descriptor("a"), descriptor("b")]});
        let manifest = parse("", &index).unwrap();
        assert_eq!(manifest.kind, ManifestKind::Index);
        assert_eq!(manifest.children.len(), 2);
        assert!(manifest.blobs.is_empty());
        assert!(
            parse(
                MediaType::OCI_INDEX,
                &json!({"schemaVersion": 2, "manifests": []})
            )
            .unwrap()
            .children
            .is_empty()
        );
    }

    #[test]
    fn foreign_layers_may_be_elsewhere() {
        let mut layer = descriptor("a");
        layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
        let image = json!({"schemaVersion": 2, "config": descriptor("c"), "layers": [layer]});
        let manifest = parse(MediaType::DOCKER_MANIFEST, &image).unwrap();
        assert_eq!(manifest.blobs.len(), 1);
        assert_eq!(manifest.foreign_blobs.len(), 1);
    }

    #[test]
    fn confusing_manifests_are_refused() {
        let both =
            json!({"schemaVersion": 2, "config": descriptor("c"), "layers": [], "manifests": []});
        assert!(matches!(
            parse(MediaType::OCI_MANIFEST, &both),
            Err(InvalidManifest::Ambiguous)
        ));
        let image = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": descriptor("c"), "layers": []});
        assert!(matches!(
            parse(MediaType::OCI_INDEX, &image),
            Err(InvalidManifest::MediaTypeMismatch { .. })
        ));
        let bare = json!({"schemaVersion": 2, "config": descriptor("c"), "layers": []});
        assert!(matches!(
            parse(MediaType::OCI_INDEX, &bare),
            Err(InvalidManifest::Shape(_))
        ));
        assert!(matches!(
            parse(MediaType::OCI_MANIFEST, &json!({"schemaVersion": 2})),
            Err(InvalidManifest::Shape(_))
        ));
        let old = json!({"schemaVersion": 1, "fsLayers": []});
        assert!(matches!(
            parse(MediaType::DOCKER_SCHEMA1_SIGNED, &old),
            Err(InvalidManifest::Schema1)
        ));
        assert!(matches!(
            parse("application/json", &old),
            Err(InvalidManifest::Schema1)
        ));
        assert!(matches!(
            parse("", &json!({"schemaVersion": 3, "config": descriptor("c")})),
            Err(InvalidManifest::SchemaVersion(3))
        ));
        let mut bad = descriptor("c");
        bad["digest"] = "sha256:../../etc/passwd".into();
        let traversal = json!({"schemaVersion": 2, "config": bad, "layers": []});
        assert!(matches!(
            parse(MediaType::OCI_MANIFEST, &traversal),
            Err(InvalidManifest::Digest { .. })
        ));
        assert!(matches!(
            Manifest::parse(None, b"\xff{"),
            Err(InvalidManifest::Json(_))
        ));
    }
}
