//! Nodes with a Docker Engine of their own, as minikube makes them on request.
//!
//! Its engine takes whatever speaks plain HTTP on loopback, so that nothing is written for it. It knows no images that must not be
//! cleaned up; but the kubelet cleans none up that a pod uses, as the relay on each node uses wharf's.

use anyhow::Context;
use bytes::Bytes;

use super::{is_of, repositories};
use crate::cluster::Cluster;

/// Whether a node has an image.
pub(super) async fn has_image(
    cluster: &dyn Cluster,
    node: &str,
    image: &str,
) -> anyhow::Result<bool> {
    let listed = list(cluster, node).await?;
    Ok(names(&listed).any(|name| name == short(image)))
}

/// Loads an image.
pub(super) async fn import(
    cluster: &dyn Cluster,
    node: &str,
    archive: Bytes,
) -> anyhow::Result<()> {
    let load = cluster.run_on(node, &["docker", "load"], Some(archive));
    load.await
        .map(|_| ())
        .with_context(|| format!("importing wharf's image into {node}"))
}

/// Removes wharf's own images.
pub(super) async fn forget_image(
    cluster: &dyn Cluster,
    node: &str,
    port: u16,
) -> anyhow::Result<()> {
    remove_images(cluster, node, &repositories("", port)).await
}

/// Removes all images of these repositories.
pub(super) async fn remove_images(
    cluster: &dyn Cluster,
    node: &str,
    repositories: &[String],
) -> anyhow::Result<()> {
    let listed = list(cluster, node).await?;
    let of_these = |name: &&str| repositories.iter().any(|r| is_of(name, r));
    let names: Vec<&str> = names(&listed).filter(of_these).collect();
    if names.is_empty() {
        return Ok(());
    }
    let remove = [&["docker", "image", "rm", "--force"], &names[..]].concat();
    cluster.run_on(node, &remove, None).await.map(|_| ())
}

/// All names of images, by tag and by digest; what has none is called `<none>`.
async fn list(cluster: &dyn Cluster, node: &str) -> anyhow::Result<String> {
    let format = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}";
    let list = ["docker", "image", "ls", "--digests", "--format", format];
    cluster
        .run_on(node, &list, None)
        .await
        .with_context(|| format!("listing the images of {node}"))
}

fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed
        .split_ascii_whitespace()
        .filter(|name| !name.contains("<none>"))
}

/// A name as this engine writes it: without the host that it looks into by itself.
fn short(image: &str) -> &str {
    image.strip_prefix("docker.io/").unwrap_or(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_images() {
        let listed = "wharf/wharf:0.1.0-1 wharf/wharf@<none>\nlocalhost:5055/wharf/probe:<none> localhost:5055/wharf/probe@sha256:aa\n";
        let all: Vec<&str> = names(listed).collect();
        assert_eq!(
            all,
            [
                "wharf/wharf:0.1.0-1",
                "localhost:5055/wharf/probe@sha256:aa"
            ]
        );
        assert_eq!(short("docker.io/wharf/wharf:0.1.0-1"), all[0]);
        let ours = repositories("", 5055);
        assert!(all.iter().all(|name| ours.iter().any(|r| is_of(name, r))));
    }
}
