//! The command-line tools that tests use. One that the machine has is good enough; the bed makes the others.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Bed, root_debian};

/// A command-line tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Makes clusters of docker containers.
    Kind,
    /// A registry client, and the one that copies images between places.
    Crane,
    /// The client of Kubernetes.
    Kubectl,
    /// A registry client with a stricter idea of TLS.
    Skopeo,
}

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Crane => "crane",
            Self::Kubectl => "kubectl",
            Self::Skopeo => "skopeo",
        }
    }
}

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
    if missing.contains(&"skopeo") && !root_debian() {
        bail!(
            "skopeo is not on PATH: install it (https://github.com/containers/skopeo/blob/main/install.md)"
        );
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
