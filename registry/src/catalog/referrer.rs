//! What a list of referrers says of each.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A manifest that refers to a subject, as lists of referrers describe it. Its texts are those that were stored: taking them apart
/// and putting them together again for each reader would take longer than to read them.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// What the manifest was pushed as.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// What kind of artifact it is.
    pub artifact_type: Option<String>,
    /// Its annotations: a JSON object of strings, which is passed on and never looked into.
    #[serde(default = "none", deserialize_with = "texts")]
    pub annotations: String,
}

fn none() -> String {
    Referrer::NO_ANNOTATIONS.to_owned()
}

/// A JSON object of strings.
fn texts<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(input)?;
    serde_json::to_string(&texts).map_err(D::Error::custom)
}

impl Referrer {
    /// Annotations of which there are none.
    pub const NO_ANNOTATIONS: &str = "{}";

    /// The most bytes that it takes as JSON.
    #[must_use]
    pub fn most_bytes(&self) -> usize {
        // The members' names, and a size.
        const REST: usize = 120;
        let kind = self.artifact_type.as_ref().map_or(0, String::len);
        // Every byte of a text may have to be escaped; annotations are JSON already.
        REST + 6 * (self.media_type.len() + self.digest.len() + kind) + self.annotations.len()
    }
}
