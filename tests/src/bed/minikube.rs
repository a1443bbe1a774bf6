//! What minikube is told, so that it finds here what it would otherwise download.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Bed;

/// The programs of a node that minikube puts there itself.
const PROGRAMS: [&str; 3] = ["kubeadm", "kubelet", "kubectl"];

/// What runs the containers of minikube's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRuntime {
    /// containerd.
    Containerd,
    /// A Docker Engine.
    Docker,
}

/// The node images that the bed has made for minikube.
#[derive(Clone, Debug)]
pub(super) struct MinikubeImages {
    pub(super) containerd: String,
    pub(super) docker: String,
}

impl Bed {
    /// The node image that minikube is to use for nodes with this runtime; `None` where its own can be pulled.
    #[must_use]
    pub fn minikube_image(&self, runtime: NodeRuntime) -> Option<&str> {
        let images = self.minikube_images.as_ref()?;
        Some(match runtime {
            NodeRuntime::Containerd => &images.containerd,
            NodeRuntime::Docker => &images.docker,
        })
    }

    /// Makes a directory for the state of minikube's clusters, and returns the variables with which minikube keeps it there and, on a
    /// machine that reaches no image registry, starts nodes of the bed's image, with containerd where nothing else is said.
    /// minikube takes each of its flags from such a variable.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn minikube_settings(&self, home: &Path) -> Result<Vec<(&'static str, OsString)>> {
        let mut settings: Vec<(&str, OsString)> = vec![
            ("MINIKUBE_HOME", home.into()),
            ("MINIKUBE_WANTUPDATENOTIFICATION", "false".into()),
        ];
        if rustix::process::geteuid().is_root() {
            // Its docker driver is not for root otherwise.
            settings.push(("MINIKUBE_FORCE", "true".into()));
        }
        let Some(image) = self.minikube_image(NodeRuntime::Containerd) else {
            return Ok(settings);
        };
        let version = self.fill_cache(&home.join(".minikube"))?;
        let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("bed/node/default-cni.yaml");
        settings.extend([
            ("MINIKUBE_BASE_IMAGE", image.into()),
            ("MINIKUBE_KUBERNETES_VERSION", version.into()),
            ("MINIKUBE_PRELOAD", "false".into()),
            ("MINIKUBE_CNI", network.into()),
            // As the bed's nodes for kind: go on where a sysctl may not be set.
            (
                "MINIKUBE_FEATURE_GATES",
                "KubeletInUserNamespace=true".into(),
            ),
        ]);
        Ok(settings)
    }

    /// What `minikube start` is told besides when it makes a cluster: flags that it takes from no variable.
    #[must_use]
    pub fn minikube_arguments(&self) -> &[&str] {
        match self.minikube_images {
            // What the nodes need is in their image; minikube would take it off to put what it has cached there.
            Some(_) => &["--cache-images=false"],
            None => &[],
        }
    }

    /// The programs of kind's node image, for the nodes of minikube, and `version`.
    pub(super) fn node_files(&self) -> PathBuf {
        self.dir.join("node-files")
    }

    /// Puts the node's programs where minikube looks for what it has downloaded, and returns their version.
    fn fill_cache(&self, minikube: &Path) -> Result<String> {
        let version = self.node_files().join("version");
        let version = std::fs::read_to_string(&version)
            .with_context(|| format!("cannot read {}", version.display()))?;
        let version = version.trim();
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let cache = minikube
            .join("cache/linux")
            .join(architecture)
            .join(version);
        std::fs::create_dir_all(&cache)
            .with_context(|| format!("cannot make {}", cache.display()))?;
        for program in PROGRAMS {
            let there = cache.join(program);
            if !there.exists() {
                std::fs::hard_link(self.node_files().join(program), &there)
                    .with_context(|| format!("cannot link {}", there.display()))?;
            }
        }
        Ok(version.to_owned())
    }
}
