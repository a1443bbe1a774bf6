//! Who refers to a manifest: signatures, attestations and other artifacts.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Access, Action, Registry, Result};
use crate::catalog::{Page, Referrer};
use crate::limits;
use crate::oci::{Digest, MediaType, Name, Reference, Tag};

impl Registry {
    /// The manifests of a repository that refer to `subject`, in the order of their digests, a page
    /// at a time, starting behind `last`; only those of one artifact type if it is given. Nobody
    /// refers to what is not there, so an unknown subject or repository has an empty list.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn referrers(
        &self,
        access: &Access,
        name: &Name,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: Option<&Digest>,
        limit: Option<usize>,
    ) -> Result<Page<Referrer>> {
        access.check(Action::Pull, name)?;
        let limit = limit.unwrap_or(usize::MAX).min(self.limits().referrers);
        let declared = self
            .catalog
            .referrers(name, subject, artifact_type, last, limit)
            .await?;
        let mut more = declared.more;
        let mut listed = declared.items;

        // Before registries listed referrers, clients did so themselves, in an index under a tag.
        let by_clients = self.listed_by_clients(name, subject).await?;
        if !by_clients.is_empty() {
            let last_declared = listed.last().map(|last| last.digest.clone());
            let mut merged: BTreeMap<_, _> = listed
                .into_iter()
                .map(|one| (one.digest.clone(), one))
                .collect();
            for descriptor in by_clients {
                let digest = &descriptor.digest;
                let behind = last.is_none_or(|last| *digest > last.to_string());
                // What comes after the last of an unfinished page belongs on the next one.
                let before = !more || last_declared.as_ref().is_some_and(|end| digest <= end);
                let wanted =
                    artifact_type.is_none() || descriptor.artifact_type.as_deref() == artifact_type;
                if behind && before && wanted && !merged.contains_key(digest) {
                    merged.insert(digest.clone(), descriptor);
                }
            }
            listed = merged.into_values().collect();
        }
        // Clients read a list like a manifest, and stop where a manifest would be too large.
        let mut size = 0;
        let fitting = listed.iter().take(limit).take_while(|descriptor| {
            let is_first = size == 0;
            size += descriptor.most_bytes();
            is_first || size <= limits::REFERRERS_BYTES
        });
        let fitting = fitting.count();
        more |= fitting < listed.len();
        listed.truncate(fitting);
        Ok(Page {
            items: listed,
            more,
        })
    }

    /// What clients put under the subject's fall-back tag, as far as it is in the repository.
    async fn listed_by_clients(&self, name: &Name, subject: &Digest) -> Result<Vec<Referrer>> {
        #[derive(Deserialize)]
        struct Index {
            #[serde(default)]
            manifests: Vec<Referrer>,
        }
        let Some(tag) = fallback_tag(subject) else {
            return Ok(Vec::new());
        };
        let tag = Reference::Tag(tag);
        let Some(mut index) = self.load(name, &tag).await? else {
            return Ok(Vec::new());
        };
        let _turn = if index.payload.len() > limits::SMALL_MANIFEST_BYTES {
            // Those who wait for their turn hold nothing.
            drop(index);
            let turn = self.large_manifest().await?;
            let Some(again) = self.load(name, &tag).await? else {
                return Ok(Vec::new());
            };
            index = again;
            Some(turn)
        } else {
            None
        };
        if index.media_type.as_str() != MediaType::OCI_INDEX {
            return Ok(Vec::new());
        }
        let Ok(index) = serde_json::from_slice::<Index>(&index.payload) else {
            return Ok(Vec::new());
        };
        let digests = index
            .manifests
            .iter()
            .filter_map(|one| one.digest.parse().ok());
        let known = self
            .catalog
            .known_manifests(name, digests.collect())
            .await?;
        let is_known = |one: &Referrer| {
            one.digest
                .parse()
                .is_ok_and(|digest| known.contains(&digest))
        };
        Ok(index.manifests.into_iter().filter(is_known).collect())
    }
}

/// The tag that clients list a manifest's referrers under where the registry does not: the
/// algorithm cut at 32 characters, the digits cut at 64.
fn fallback_tag(subject: &Digest) -> Option<Tag> {
    let digits = subject.hex().get(..64)?;
    format!("{}-{digits}", subject.algorithm()).parse().ok()
}
