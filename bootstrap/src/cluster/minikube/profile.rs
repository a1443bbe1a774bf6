//! What minikube keeps of a cluster.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use super::super::ClusterName;

/// A profile, as far as wharf cares.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Profile {
    driver: String,
    kubernetes_config: Kubernetes,
    nodes: Option<Vec<Machine>>,
    container_volume_mounts: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kubernetes {
    container_runtime: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Machine {
    name: String,
}

impl Profile {
    /// The profile of that name, if there is one.
    pub(super) fn read(name: &ClusterName) -> anyhow::Result<Option<Self>> {
        let Some(directory) = directory() else {
            return Ok(None);
        };
        let path = directory
            .join("profiles")
            .join(name.as_str())
            .join("config.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("reading minikube's profile {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// What runs its machines.
    pub(super) fn driver(&self) -> &str {
        &self.driver
    }

    /// What runs the containers of its nodes.
    pub(super) fn runtime(&self) -> &str {
        match self.kubernetes_config.container_runtime.as_str() {
            // What minikube meant for years where nothing was said.
            "" => "docker",
            named => named,
        }
    }

    /// Its machines, the first control plane first.
    pub(super) fn machines(&self, name: &ClusterName) -> Vec<String> {
        let nodes = self.nodes.iter().flatten();
        let machine = |(number, node): (usize, &Machine)| match number {
            0 => name.to_string(),
            _ => format!("{name}-{}", node.name),
        };
        nodes.enumerate().map(machine).collect()
    }

    /// Whether its nodes have a directory of the host there.
    pub(super) fn mounts(&self, there: &str) -> bool {
        let mut mounts = self.container_volume_mounts.iter().flatten();
        mounts.any(|mount| mount.rsplit(':').next() == Some(there))
    }
}

/// Where minikube keeps its things.
fn directory() -> Option<PathBuf> {
    let set = std::env::var_os("MINIKUBE_HOME").filter(|value| !value.is_empty());
    match set {
        Some(set) => Some(below(Path::new(&set))),
        None => std::env::home_dir().map(|home| home.join(".minikube")),
    }
}

fn below(set: &Path) -> PathBuf {
    match set.ends_with(".minikube") {
        true => set.to_owned(),
        false => set.join(".minikube"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_of_two_nodes() {
        let text = r#"{"Name": "dev", "Driver": "docker", "ContainerVolumeMounts": ["/home/ann/data:/var/lib/wharf"],
            "KubernetesConfig": {"KubernetesVersion": "v1.34.4", "ContainerRuntime": "containerd"},
            "Nodes": [{"Name": "", "ControlPlane": true}, {"Name": "m02", "ControlPlane": false}], "Addons": null}"#;
        let profile: Profile = serde_json::from_str(text).unwrap();
        let name = "dev".parse().unwrap();
        assert_eq!(profile.machines(&name), ["dev", "dev-m02"]);
        assert_eq!(
            (profile.driver(), profile.runtime()),
            ("docker", "containerd")
        );
        assert!(profile.mounts("/var/lib/wharf") && !profile.mounts("/var/lib"));
    }

    #[test]
    fn a_profile_that_says_little() {
        let text = r#"{"Driver": "qemu2", "KubernetesConfig": {"ContainerRuntime": ""}, "Nodes": null, "ContainerVolumeMounts": null}"#;
        let profile: Profile = serde_json::from_str(text).unwrap();
        assert!(profile.machines(&"dev".parse().unwrap()).is_empty());
        assert_eq!(profile.runtime(), "docker");
        assert!(!profile.mounts("/var/lib/wharf"));
    }

    #[test]
    fn where_minikube_keeps_its_things() {
        assert_eq!(below(Path::new("/a")), Path::new("/a/.minikube"));
        assert_eq!(below(Path::new("/a/.minikube")), Path::new("/a/.minikube"));
    }
}
