//! The command-line tools that tests use. One that the machine has is good enough; the bed makes the others.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Bed, root_debian};

/// A command-line tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Makes clusters of docker containers.
    Kind,
    /// Makes clusters too, in ways of its own; and the node image for it, where its own cannot be pulled.
    Minikube,
    /// A registry client, and the one that copies images between places.
    Crane,
    /// The client of Kubernetes.
    Kubectl,
    /// Installs charts.
    Helm,
    /// A registry client with a stricter idea of TLS.
    Skopeo,
    /// An HTTP server, as a proxy in front of a registry.
    Nginx,
    /// A registry client that knows everything of the protocol.
    Regctl,
    /// Builds images without a daemon.
    Buildah,
    /// Runs containers without a daemon.
    Podman,
    /// The containerd of the machine, with its client `ctr`.
    Containerd,
    /// A containerd as cluster nodes have it, and its client: see [`Bed::node_program`].
    NodeContainerd,
    /// Makes XFS, the file system that copies files in no time.
    Xfs,
    /// Makes system calls fail, and counts them.
    Strace,
    /// Downloads.
    Curl,
    /// wrk, which loads HTTP servers.
    Wrk,
    /// The registry that others are compared with: see [`Bed::node_program`].
    Distribution,
}

impl Tool {
    /// All that tests use here: some of them unpack images, which takes root.
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Kind,
            Self::Crane,
            Self::Kubectl,
            Self::Skopeo,
            Self::Regctl,
        ];
        if rustix::process::geteuid().is_root() {
            all.extend([
                Self::Buildah,
                Self::Podman,
                Self::Containerd,
                Self::NodeContainerd,
            ]);
        }
        all
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Minikube => "minikube",
            Self::Crane => "crane",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Skopeo => "skopeo",
            Self::Nginx => "nginx",
            Self::Regctl => "regctl",
            Self::Buildah => "buildah",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::NodeContainerd => "node-containerd",
            Self::Xfs => "mkfs.xfs",
            Self::Strace => "strace",
            Self::Curl => "curl",
            Self::Wrk => "wrk",
            // Its program is called `registry`, as others are.
            Self::Distribution => "distribution",
        }
    }
}

/// Tools that come from Debian's packages, and how others get them.
const PACKAGED: [(&str, &str); 8] = [
    (
        "skopeo",
        "https://github.com/containers/skopeo/blob/main/install.md",
    ),
    (
        "buildah",
        "https://github.com/containers/buildah/blob/main/install.md",
    ),
    ("podman", "https://podman.io/docs/installation"),
    (
        "containerd",
        "https://github.com/containerd/containerd/blob/main/docs/getting-started.md",
    ),
    ("mkfs.xfs", "https://xfs.org"),
    ("strace", "https://strace.io"),
    ("curl", "https://curl.se/download.html"),
    ("wrk", "https://github.com/wg/wrk"),
];

/// Makes those tools that the machine does not have. The script is asked about the bed's own ones too: it knows their versions.
pub(super) fn ensure(bed: &Bed, tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools
        .iter()
        .map(|tool| tool.name())
        .filter(|name| !on_path(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = PACKAGED.iter().find(|(name, _)| missing.contains(name));
    if let Some((name, page)) = by_hand
        && !root_debian()
    {
        bail!("{name} is not on PATH: install it ({page})");
    }
    bed.script("tools.sh", &missing)
}

/// Whether the machine itself has the program.
pub(super) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| executable(&dir.join(program)))
}

/// Whether this is a program that can be run.
pub(super) fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
