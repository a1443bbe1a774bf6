//! The nodes' side: wharf's image in containerd, and what `localhost:PORT` means to it.

use anyhow::Context;
use bytes::Bytes;
use wharf_registry::oci::Digest;

use crate::cluster::Cluster;
use crate::names::{HOSTS_DIRECTORY, registry_host};

/// containerd's label for an image that its garbage collection must leave alone.
const PINNED: &str = "io.cri-containerd.pinned=pinned";

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
    let has_hosts = read_hosts(cluster, node, port).await? == hosts(port);
    let has_image = match image {
        Some(image) => has_image(cluster, node, image).await?,
        None => true,
    };
    Ok(Equipment {
        has_image,
        has_hosts,
    })
}

/// Imports an image, pinned. A node that has it is left as it is.
pub(super) async fn import(
    cluster: &dyn Cluster,
    node: &str,
    image: &str,
    archive: Bytes,
) -> anyhow::Result<()> {
    if has_image(cluster, node, image).await? {
        return Ok(());
    }
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
    let pin = [
        "ctr",
        "--namespace=k8s.io",
        "images",
        "label",
        image,
        PINNED,
    ];
    cluster
        .run_on(node, &pin, None)
        .await
        .with_context(|| format!("pinning wharf's image on {node}"))?;
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

/// Removes an image under every name that containerd has for it: its tag, its digest and its configuration's digest.
pub(super) async fn remove_image(
    cluster: &dyn Cluster,
    node: &str,
    repository: &str,
    config: &Digest,
) -> anyhow::Result<()> {
    let listed = cluster
        .run_on(
            node,
            &["ctr", "--namespace=k8s.io", "images", "ls", "--quiet"],
            None,
        )
        .await?;
    let config = config.to_string();
    let is_it = |name: &&str| {
        *name == config
            || name
                .strip_prefix(repository)
                .is_some_and(|rest| rest.starts_with([':', '@']))
    };
    let mut remove = vec!["ctr", "--namespace=k8s.io", "images", "rm"];
    let named = listed.lines().map(str::trim).filter(is_it);
    remove.extend(named);
    cluster.run_on(node, &remove, None).await.map(|_| ())
}

async fn has_image(cluster: &dyn Cluster, node: &str, image: &str) -> anyhow::Result<bool> {
    let filter = format!("name=={image},labels.\"io.cri-containerd.pinned\"==pinned");
    let listed = cluster
        .run_on(
            node,
            &[
                "ctr",
                "--namespace=k8s.io",
                "images",
                "ls",
                "--quiet",
                &filter,
            ],
            None,
        )
        .await;
    Ok(listed
        .with_context(|| format!("listing the images of {node}"))?
        .lines()
        .any(|line| line.trim() == image))
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

fn hosts_directory(port: u16) -> String {
    format!("{HOSTS_DIRECTORY}/{}", registry_host(port))
}

/// `server` names the same place, so that an error names it too and no other is tried.
fn hosts(port: u16) -> String {
    let relay = format!("http://127.0.0.1:{port}");
    format!(
        "# Written by wharf.\nserver = \"{relay}\"\n\n[host.\"{relay}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    )
}

/// The snapshotter that the node's containerd unpacks to, as kind asks for it.
async fn snapshotter(cluster: &dyn Cluster, node: &str) -> anyhow::Result<String> {
    let config = cluster
        .run_on(node, &["containerd", "config", "dump"], None)
        .await;
    Ok(parse_snapshotter(&config.with_context(|| {
        format!("reading containerd's configuration on {node}")
    })?))
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
    fn what_containerd_is_told() {
        insta::assert_snapshot!(hosts(5055));
    }

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
}
