//! Nodes with containerd: wharf's image in it, and what `localhost:PORT` means to it.

use anyhow::Context;
use bytes::Bytes;
use wharf_registry::oci::Digest;

use super::{is_of, repositories};
use crate::cluster::Cluster;
use crate::hosts::hosts;
use crate::names::{HOSTS_DIRECTORY, registry_host};

/// containerd's label for an image that must not be cleaned up.
const PINNED: &str = "io.cri-containerd.pinned";
const PINNED_FILTER: &str = r#"labels."io.cri-containerd.pinned"==pinned"#;

/// Whether containerd is told where localhost is.
pub(super) async fn has_hosts(
    cluster: &dyn Cluster,
    node: &str,
    port: u16,
) -> anyhow::Result<bool> {
    Ok(read_hosts(cluster, node, port).await? == hosts(port))
}

/// Imports an image and pins it. Pins of its former versions are taken off: the kubelet may then clean them up.
pub(super) async fn import(
    cluster: &dyn Cluster,
    node: &str,
    image: &str,
    archive: Bytes,
) -> anyhow::Result<()> {
    let snapshotter = snapshotter(cluster, node).await?;
    let import = [
        "ctr",
        "--namespace=k8s.io",
        "images",
        "import",
        "--snapshotter",
        &snapshotter,
        "-",
    ];
    cluster
        .run_on(node, &import, Some(archive))
        .await
        .with_context(|| format!("importing wharf's image into {node}"))?;
    label(cluster, node, image, "pinned")
        .await
        .with_context(|| format!("pinning wharf's image on {node}"))?;
    let repository = image
        .rsplit_once(':')
        .map_or(image, |(repository, _)| repository);
    for former in list(cluster, node, PINNED_FILTER).await? {
        if former != image && is_of(&former, repository) {
            label(cluster, node, &former, "")
                .await
                .with_context(|| format!("letting go of {former} on {node}"))?;
        }
    }
    Ok(())
}

/// Makes containerd ask the node's relay, over plain HTTP, without trying TLS first. It reads the file at each pull.
pub(super) async fn write_hosts(
    cluster: &dyn Cluster,
    node: &str,
    port: u16,
) -> anyhow::Result<()> {
    if read_hosts(cluster, node, port).await? == hosts(port) {
        return Ok(());
    }
    let directory = hosts_directory(port);
    // Replaced as a whole: a pull that comes now reads the old file or the new one.
    let script =
        r#"mkdir -p "$1" && cat > "$1/.hosts.toml.new" && mv "$1/.hosts.toml.new" "$1/hosts.toml""#;
    let write = ["sh", "-c", script, "sh", &directory];
    cluster
        .run_on(node, &write, Some(hosts(port).into()))
        .await
        .with_context(|| format!("writing {directory}/hosts.toml on {node}"))?;
    Ok(())
}

/// Whether containerd reads such a file: where it is told to look into that one directory. It is not told anything else
/// here, and without the file it finds out by itself that the relay speaks plain HTTP.
pub(super) async fn reads_hosts(cluster: &dyn Cluster, node: &str) -> anyhow::Result<bool> {
    Ok(has_hosts_directory(&configuration(cluster, node).await?))
}

fn has_hosts_directory(config: &str) -> bool {
    let mut named = config
        .lines()
        .filter_map(|line| line.trim().strip_prefix("config_path = "));
    named.any(|value| value.trim_matches(['"', '\'']) == HOSTS_DIRECTORY)
}

/// Removes the file again, if it is wharf's.
pub(super) async fn forget_hosts(
    cluster: &dyn Cluster,
    node: &str,
    port: u16,
) -> anyhow::Result<()> {
    if read_hosts(cluster, node, port).await? == hosts(port) {
        let directory = hosts_directory(port);
        cluster
            .run_on(node, &["rm", "-r", &directory], None)
            .await?;
    }
    Ok(())
}

/// Removes wharf's own images, under every name that containerd has for them.
pub(super) async fn forget_image(
    cluster: &dyn Cluster,
    node: &str,
    port: u16,
) -> anyhow::Result<()> {
    let list = ["ctr", "--namespace=k8s.io", "images", "ls"];
    let listed = cluster
        .run_on(node, &list, None)
        .await
        .with_context(|| format!("listing the images of {node}"))?;
    let names = names_of_ours(&listed, port);
    if names.is_empty() {
        return Ok(());
    }
    let mut remove = vec!["ctr", "--namespace=k8s.io", "images", "rm"];
    remove.extend(names);
    cluster.run_on(node, &remove, None).await.map(|_| ())
}

/// The names of all images that have one of wharf's, from containerd's table: name, type, digest, ….
fn names_of_ours(table: &str, port: u16) -> Vec<&str> {
    let images: Vec<(&str, &str)> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            Some((columns.next()?, columns.nth(1)?))
        })
        .collect();
    let repositories = repositories("docker.io/", port);
    let is_ours = |name: &str| repositories.iter().any(|r| is_of(name, r));
    let digests: Vec<&str> = images
        .iter()
        .filter(|(name, _)| is_ours(name))
        .map(|(_, digest)| *digest)
        .collect();
    let mut names = images;
    names.retain(|(_, digest)| digests.contains(digest));
    names.into_iter().map(|(name, _)| name).collect()
}

/// Removes an image under every name that containerd has for it: its tag, its digest and its configuration's digest.
pub(super) async fn remove_image(
    cluster: &dyn Cluster,
    node: &str,
    repository: &str,
    config: &Digest,
) -> anyhow::Result<()> {
    let config = config.to_string();
    let mut names = list(cluster, node, "").await?;
    names.retain(|name| *name == config || is_of(name, repository));
    if names.is_empty() {
        return Ok(());
    }
    let mut remove = vec!["ctr", "--namespace=k8s.io", "images", "rm"];
    remove.extend(names.iter().map(String::as_str));
    cluster.run_on(node, &remove, None).await.map(|_| ())
}

/// Whether a node has an image, pinned.
pub(super) async fn has_image(
    cluster: &dyn Cluster,
    node: &str,
    image: &str,
) -> anyhow::Result<bool> {
    let listed = list(cluster, node, &format!("{PINNED_FILTER},name=={image}")).await?;
    Ok(listed.iter().any(|name| name == image))
}

async fn list(cluster: &dyn Cluster, node: &str, filter: &str) -> anyhow::Result<Vec<String>> {
    let listed = cluster
        .run_on(
            node,
            &[
                "ctr",
                "--namespace=k8s.io",
                "images",
                "ls",
                "--quiet",
                filter,
            ],
            None,
        )
        .await;
    let listed = listed.with_context(|| format!("listing the images of {node}"))?;
    Ok(listed.lines().map(|line| line.trim().to_owned()).collect())
}

async fn label(cluster: &dyn Cluster, node: &str, image: &str, value: &str) -> anyhow::Result<()> {
    let label = format!("{PINNED}={value}");
    cluster
        .run_on(
            node,
            &[
                "ctr",
                "--namespace=k8s.io",
                "images",
                "label",
                image,
                &label,
            ],
            None,
        )
        .await
        .map(|_| ())
}

fn hosts_directory(port: u16) -> String {
    format!("{HOSTS_DIRECTORY}/{}", registry_host(port))
}

async fn read_hosts(cluster: &dyn Cluster, node: &str, port: u16) -> anyhow::Result<String> {
    let script = r#"cat "$1/hosts.toml" 2>/dev/null || true"#;
    cluster
        .run_on(
            node,
            &["sh", "-c", script, "sh", &hosts_directory(port)],
            None,
        )
        .await
        .with_context(|| format!("reading hosts.toml of {node}"))
}

/// The snapshotter that the node's containerd unpacks to, as kind asks for it.
async fn snapshotter(cluster: &dyn Cluster, node: &str) -> anyhow::Result<String> {
    Ok(parse_snapshotter(&configuration(cluster, node).await?))
}

/// What containerd goes by.
async fn configuration(cluster: &dyn Cluster, node: &str) -> anyhow::Result<String> {
    let config = cluster
        .run_on(node, &["containerd", "config", "dump"], None)
        .await;
    config.with_context(|| format!("reading containerd's configuration on {node}"))
}

fn parse_snapshotter(config: &str) -> String {
    let named = config
        .lines()
        .filter_map(|line| line.trim().strip_prefix("snapshotter = "));
    let mut named = named.map(|value| value.trim_matches(['"', '\'']).to_owned());
    named
        .find(|value| !value.is_empty())
        .unwrap_or_else(|| "overlayfs".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshotter_of_both_configuration_versions() {
        assert_eq!(
            parse_snapshotter("  [plugins.x]\n    snapshotter = 'native'\n"),
            "native"
        );
        assert_eq!(
            parse_snapshotter("snapshotter = \"\"\n  snapshotter = \"fuse-overlayfs\"\n"),
            "fuse-overlayfs"
        );
        assert_eq!(parse_snapshotter(""), "overlayfs");
    }

    #[test]
    fn a_hosts_file_is_read_where_containerd_looks_into_its_directory() {
        assert!(has_hosts_directory(
            "  [x]\n    config_path = '/etc/containerd/certs.d'\n"
        ));
        let several = "config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"";
        assert!(!has_hosts_directory(several));
        assert!(!has_hosts_directory("config_path = ''"));
    }

    #[test]
    fn an_image_is_wharfs_under_all_its_names() {
        let table = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
            docker.io/library/app:1 application/x sha256:aa 1 MiB linux/amd64 -\n\
            docker.io/wharf/wharf:0.1.0-1 application/x sha256:bb 1 MiB linux/amd64 -\n\
            localhost:5055/app:1 application/x sha256:dd 1 MiB linux/amd64 -\n\
            sha256:cc application/x sha256:bb 1 MiB linux/amd64 -\n";
        let names = ["docker.io/wharf/wharf:0.1.0-1", "sha256:cc"];
        assert_eq!(names_of_ours(table, 5055), names);
        assert!(names_of_ours("", 5055).is_empty());
    }
}
