//! The proof: an image that did not exist before is pushed from the host and run by the kubelet of every node.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use wharf_registry::client::Client;
use wharf_registry::oci::{Digest, MediaType, Name, Reference};

use super::nodes;
use crate::cluster::Cluster;
use crate::image::{Image, probe};
use crate::kube::{Condition, Kube, probe_pod, wait_until};
use crate::names::{PROBE_REPOSITORY, registry_host};

/// A node that cannot pull a few hundred bytes in this time cannot pull.
const PATIENCE: Duration = Duration::from_secs(90);
const PROBES: &str = "app.kubernetes.io/name=wharf,app.kubernetes.io/component=probe";

/// What a proof needs.
pub(super) struct Proof<'a> {
    pub(super) cluster: &'a dyn Cluster,
    pub(super) kube: &'a Kube,
    pub(super) client: Client,
    pub(super) port: u16,
    pub(super) architecture: &'a str,
}

impl Proof<'_> {
    /// Proves it, cleans up, and returns the uids of the nodes that have proved it.
    pub(super) async fn run(&self, wait: Duration) -> anyhow::Result<Vec<String>> {
        let nonce = nonce();
        let (name, tag): (Name, Reference) = (PROBE_REPOSITORY.parse()?, nonce.parse()?);
        let image = probe(self.architecture, &nonce)?;
        push(&self.client, &name, &tag, &image).await?;

        let repository = format!("{}/{PROBE_REPOSITORY}", registry_host(self.port));
        let cluster_nodes = self.kube.nodes().await?;
        let mut pods = Vec::new();
        for (number, node) in cluster_nodes.iter().enumerate() {
            // Not the node's name: together with a prefix it may be too long for a pod's.
            pods.push((format!("probe-{nonce}-{number}"), node.name.clone()));
        }
        let proved = self
            .pull(&format!("{repository}:{nonce}"), &pods, wait.min(PATIENCE))
            .await;
        self.clean_up(&repository, &name, &image).await;
        proved?;
        Ok(cluster_nodes.into_iter().map(|node| node.uid).collect())
    }

    async fn pull(
        &self,
        reference: &str,
        pods: &[(String, String)],
        limit: Duration,
    ) -> anyhow::Result<()> {
        for (pod, node) in pods {
            self.kube.apply(&probe_pod(pod, node, reference)?).await?;
        }
        let names: Vec<String> = pods.iter().map(|(pod, _)| pod.clone()).collect();
        let done = Condition::Done {
            component: "probe",
            pods: &names,
        };
        wait_until(self.kube, done, limit).await
    }

    /// What is left behind does no harm, so that nothing here may fail the proof.
    async fn clean_up(&self, repository: &str, name: &Name, image: &Image) {
        let pods = async {
            if let Ok(like) = probe_pod("any", "any", "any") {
                let _ = self.kube.delete_labelled(&like, PROBES).await;
            }
        };
        let digest = Reference::Digest(image.manifest.digest.clone());
        let manifest = self.client.delete_manifest(name, &digest);
        let images = async {
            if let Ok(nodes) = self.cluster.nodes().await {
                join_all(nodes.iter().map(|node| {
                    nodes::remove_image(self.cluster, &node.name, repository, &image.config.digest)
                }))
                .await;
            }
        };
        let _ = tokio::join!(pods, manifest, images);
    }
}

/// Pushes an image: blobs first, for the manifest may only name what is there.
pub(super) async fn push(
    client: &Client,
    name: &Name,
    reference: &Reference,
    image: &Image,
) -> anyhow::Result<()> {
    for blob in [&image.layer, &image.config] {
        client
            .push_blob(name, &blob.digest, blob.bytes.clone())
            .await?;
    }
    client
        .push_manifest(
            name,
            reference,
            MediaType::OCI_MANIFEST,
            image.manifest.bytes.clone(),
        )
        .await?;
    Ok(())
}

/// Twelve characters that were not used before.
fn nonce() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seed = format!("{} {}", now.as_nanos(), std::process::id());
    Digest::sha256(seed.as_bytes())
        .hex()
        .chars()
        .take(12)
        .collect()
}
