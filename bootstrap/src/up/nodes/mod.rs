//! The nodes' side: wharf's image in what runs their containers, and what `localhost:PORT` means to it. Nodes out of reach have the
//! image by themselves, and the relay tells their containerd.

mod containerd;
mod dockerd;

use anyhow::bail;
use bytes::Bytes;
use wharf_registry::oci::Digest;

use crate::cluster::{Cluster, Runtime};
use crate::names::{IMAGE_REPOSITORY, PROBE_REPOSITORY, registry_host};

/// What a node has of what it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Equipment {
    pub(super) has_image: bool,
    pub(super) has_hosts: bool,
}

/// Looks at a node.
pub(super) async fn inspect(
    cluster: &dyn Cluster,
    node: &str,
    image: Option<&str>,
    port: u16,
) -> anyhow::Result<Equipment> {
    let has_hosts = match cluster.runtime()? {
        Runtime::Containerd => containerd::has_hosts(cluster, node, port).await?,
        // It takes whatever speaks plain HTTP on loopback.
        Runtime::Docker | Runtime::OutOfReach => true,
    };
    let has_image = match image {
        Some(image) => has_image(cluster, node, image).await?,
        None => true,
    };
    Ok(Equipment {
        has_image,
        has_hosts,
    })
}

/// Whether a node has an image, to keep.
pub(crate) async fn has_image(
    cluster: &dyn Cluster,
    node: &str,
    image: &str,
) -> anyhow::Result<bool> {
    match cluster.runtime()? {
        Runtime::Containerd => containerd::has_image(cluster, node, image).await,
        Runtime::Docker => dockerd::has_image(cluster, node, image).await,
        Runtime::OutOfReach => Ok(true),
    }
}

/// Imports an image, to keep.
pub(super) async fn import(
    cluster: &dyn Cluster,
    node: &str,
    image: &str,
    archive: Bytes,
) -> anyhow::Result<()> {
    match cluster.runtime()? {
        Runtime::Containerd => containerd::import(cluster, node, image, archive).await,
        Runtime::Docker => dockerd::import(cluster, node, archive).await,
        Runtime::OutOfReach => bail!("no image can be brought to {node}"),
    }
}

/// Makes a node ask its relay, over plain HTTP, without trying TLS first.
pub(super) async fn write_hosts(
    cluster: &dyn Cluster,
    node: &str,
    port: u16,
) -> anyhow::Result<()> {
    match cluster.runtime()? {
        Runtime::Containerd => containerd::write_hosts(cluster, node, port).await,
        Runtime::Docker | Runtime::OutOfReach => Ok(()),
    }
}

/// Whether a node reads what is written so.
pub(super) async fn reads_hosts(cluster: &dyn Cluster, node: &str) -> anyhow::Result<bool> {
    match cluster.runtime()? {
        Runtime::Containerd => containerd::reads_hosts(cluster, node).await,
        Runtime::Docker | Runtime::OutOfReach => Ok(false),
    }
}

/// Takes it back, if it is wharf's.
pub(crate) async fn forget_hosts(
    cluster: &dyn Cluster,
    node: &str,
    port: u16,
) -> anyhow::Result<()> {
    match cluster.runtime()? {
        Runtime::Containerd => containerd::forget_hosts(cluster, node, port).await,
        Runtime::Docker | Runtime::OutOfReach => Ok(()),
    }
}

/// Removes wharf's own images.
pub(crate) async fn forget_image(
    cluster: &dyn Cluster,
    node: &str,
    port: u16,
) -> anyhow::Result<()> {
    match cluster.runtime()? {
        Runtime::Containerd => containerd::forget_image(cluster, node, port).await,
        Runtime::Docker => dockerd::forget_image(cluster, node, port).await,
        Runtime::OutOfReach => Ok(()),
    }
}

/// Removes an image under every name that the node has for it.
pub(super) async fn remove_image(
    cluster: &dyn Cluster,
    node: &str,
    repository: &str,
    config: &Digest,
) -> anyhow::Result<()> {
    match cluster.runtime()? {
        Runtime::Containerd => containerd::remove_image(cluster, node, repository, config).await,
        Runtime::Docker => dockerd::remove_images(cluster, node, &[repository.to_owned()]).await,
        Runtime::OutOfReach => Ok(()),
    }
}

/// The repositories of wharf's own images: as they are imported, after what stands before such names, and as they are pulled.
fn repositories(default_host: &str, port: u16) -> Vec<String> {
    [default_host.to_owned(), format!("{}/", registry_host(port))]
        .iter()
        .flat_map(|host| {
            [IMAGE_REPOSITORY, PROBE_REPOSITORY].map(|repository| format!("{host}{repository}"))
        })
        .collect()
}

/// Whether a name is one of a repository's, by tag or by digest.
fn is_of(name: &str, repository: &str) -> bool {
    name.strip_prefix(repository)
        .is_some_and(|rest| rest.starts_with([':', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_repository() {
        assert!(is_of(
            "localhost:5000/wharf/probe:1",
            "localhost:5000/wharf/probe"
        ));
        assert!(is_of(
            "localhost:5000/wharf/probe@sha256:00",
            "localhost:5000/wharf/probe"
        ));
        assert!(!is_of(
            "localhost:5000/wharf/probes:1",
            "localhost:5000/wharf/probe"
        ));
        assert!(!is_of("localhost:5000/wharf", "localhost:5000/wharf/probe"));
    }
}
