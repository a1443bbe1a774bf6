//! What a cluster has left on the machine: nothing, once it was purged.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::bed::Cluster;
use crate::command;
use crate::talk::files;

const LIMIT: Duration = Duration::from_secs(120);

/// What Docker, the kubeconfig and the process table have of a cluster: containers, networks, volumes, contexts, clusters, users, programs.
///
/// # Errors
/// One of them does not answer.
pub fn traces(cluster: &Cluster) -> Result<Vec<String>> {
    let name = cluster.name();
    let filter = format!("name=^{name}");
    let mut traces = Vec::new();
    for what in [
        &["ps", "--all", "--format={{.Names}}"][..],
        &["network", "ls", "--format={{.Name}}"],
        &["volume", "ls", "--quiet"],
    ] {
        let said = cluster.docker(&[what, &["--filter", &filter]].concat())?;
        traces.extend(said.lines().map(|line| format!("{}: {line}", what[0])));
    }
    for what in ["get-contexts", "get-clusters", "get-users"] {
        let mut kubectl = cluster.command("kubectl");
        let said = command::output(kubectl.args(["config", what]), LIMIT)?;
        let lines = said.lines().filter(|line| line.contains(name));
        traces.extend(lines.map(|line| format!("{what}: {line}")));
    }
    traces.extend(processes(cluster.dir())?);
    Ok(traces)
}

/// The volumes without a name that a cluster's nodes have: afterwards, nothing says whose they were.
///
/// # Errors
/// Docker does not answer.
pub fn volumes(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let mut volumes = cluster.inspected("{{range .Mounts}}{{println .Name}}{{end}}")?;
    // What is a directory of the host has no name.
    volumes.retain(|name| !name.is_empty());
    Ok(volumes.into_iter().collect())
}

/// Those of these volumes that are still there.
///
/// # Errors
/// Docker does not answer.
pub fn left_of(cluster: &Cluster, volumes: &BTreeSet<String>) -> Result<Vec<String>> {
    let said = cluster.docker(&["volume", "ls", "--quiet"])?;
    let left = said.lines().filter(|volume| volumes.contains(*volume));
    Ok(left.map(str::to_owned).collect())
}

/// The files that the program under test keeps of a cluster, by what [`Cluster::wharf`] tells it.
///
/// # Errors
/// They cannot be looked at.
pub fn files_of(cluster: &Cluster) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["state", "share"] {
        found.extend(files(&cluster.dir().join(folder))?);
    }
    Ok(found
        .iter()
        .map(|path| path.display().to_string())
        .collect())
}

/// The programs that were started for a cluster: its directory is in their environment, or they were told of it.
fn processes(dir: &Path) -> Result<Vec<String>> {
    let dir = dir.as_os_str().as_encoded_bytes();
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if id == own || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // What belongs to somebody else cannot be read, and what ends meanwhile is gone.
        let read = |name| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let command = read("cmdline");
        let has_dir = |text: &[u8]| text.windows(dir.len()).any(|part| part == dir);
        if has_dir(&read("environ")) || has_dir(&command) {
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(format!("process {id}: {command}"));
        }
    }
    Ok(found)
}
