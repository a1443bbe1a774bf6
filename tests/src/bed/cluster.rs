//! Names and scratch space for the tests' own clusters, and their end.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Bed, lock, open_lock};
use crate::command::{self, say};
use crate::talk::until;
use crate::wharf;

/// What every name of the tests begins with; nothing else is ever removed.
const PREFIX: &str = "wharf-test-";
/// The label that kind gives to nodes.
const LABEL: &str = "io.x-k8s.kind.cluster";
/// The label that minikube gives to nodes: their own names.
const MINIKUBE_LABEL: &str = "name.minikube.sigs.k8s.io";
const LIMIT: Duration = Duration::from_secs(120);
/// For what makes a cluster or moves hundreds of megabytes.
const LONG: Duration = Duration::from_secs(600);

/// What a cluster is to be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// kind.
    Kind,
    /// minikube, with its docker driver.
    Minikube,
}

/// The right to a cluster's name, and a directory for its files. It does not make the cluster: that is for the program under test.
/// Dropping it removes whatever carries the name, and the directory.
#[derive(Debug)]
pub struct Cluster {
    bed: Bed,
    provider: Provider,
    name: String,
    dir: PathBuf,
    // What minikube is told.
    settings: Vec<(&'static str, OsString)>,
    // Held while this lives, so that who finds a cluster can tell whether somebody still uses it.
    _lock: File,
}

impl Cluster {
    /// Takes the name `wharf-test-<suffix>`, waits while another process has it, and removes what a killed run left of it.
    ///
    /// # Errors
    /// What is left cannot be removed.
    pub fn reserve(bed: &Bed, suffix: &str) -> Result<Self> {
        Self::reserve_with(bed, suffix, Provider::Kind)
    }

    /// As [`Cluster::reserve`], for a cluster that this provider is to make.
    ///
    /// # Errors
    /// What is left cannot be removed.
    pub fn reserve_with(bed: &Bed, suffix: &str, provider: Provider) -> Result<Self> {
        ensure!(
            !suffix.is_empty()
                && suffix
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "`{suffix}` is no name for a cluster"
        );
        let name = format!("{PREFIX}{suffix}");
        let lock = lock(
            &lock_file(bed, &name),
            &format!("another process uses the cluster {name}"),
        )?;
        let dir = scratch(bed, &name);
        remove(bed, &name)?;
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let settings = match provider {
            Provider::Kind => Vec::new(),
            Provider::Minikube => bed.minikube_settings(&dir.join("minikube"))?,
        };
        Ok(Self {
            bed: bed.clone(),
            provider,
            name,
            dir,
            settings,
            _lock: lock,
        })
    }

    /// The cluster's name, for `wharf up --name` or `kind create cluster --name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The context that its provider makes for it.
    #[must_use]
    pub fn context(&self) -> String {
        match self.provider {
            Provider::Kind => format!("kind-{}", self.name),
            Provider::Minikube => self.name.clone(),
        }
    }

    /// A name for one more container of the same test. It is removed with the cluster.
    #[must_use]
    pub fn container(&self, suffix: &str) -> String {
        // kind's own names have no dot, so no other cluster's node can look like this.
        format!("{}.{suffix}", self.name)
    }

    /// An empty directory that goes when the cluster goes: for `--data`, for instance.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `wharf` with this cluster's name and kubeconfig, and with directories of its own.
    ///
    /// # Errors
    /// It does not build.
    pub fn wharf(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command(&wharf::binary()?.display().to_string());
        wharf::without_settings(&mut command)
            .env("XDG_STATE_HOME", self.dir().join("state"))
            .env("XDG_DATA_HOME", self.dir().join("share"))
            .env("WHARF_NAME", self.name())
            .args(arguments);
        Ok(command)
    }

    /// `docker`, which must succeed.
    ///
    /// # Errors
    /// It does not.
    pub fn docker(&self, arguments: &[&str]) -> Result<String> {
        command::output(self.command("docker").args(arguments), LONG)
    }

    /// `kubectl` for this cluster.
    #[must_use]
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("kubectl");
        command.args(["--context", &self.context()]).args(arguments);
        command
    }

    /// `kubectl`, which must succeed.
    ///
    /// # Errors
    /// It does not.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        command::output(&mut self.kubectl_command(arguments), LONG)
    }

    /// What `kubectl get` knows.
    ///
    /// # Errors
    /// There is no such thing.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "--output", "json"], arguments].concat())?;
        serde_json::from_str(&text).context("kubectl's JSON is none")
    }

    /// Applies an object.
    ///
    /// # Errors
    /// The cluster refuses it.
    pub fn apply(&self, object: &Value) -> Result<()> {
        let file = self.dir().join("object.json");
        std::fs::write(&file, object.to_string())?;
        self.kubectl(&["apply", "--filename", &file.display().to_string()])
            .map(drop)
    }

    /// The containers that are the cluster's nodes, running or not, the control plane first.
    ///
    /// # Errors
    /// Docker does not answer.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let filter = match self.provider {
            Provider::Kind => format!("label={LABEL}={}", self.name),
            Provider::Minikube => minikube_nodes(&self.name),
        };
        let listed =
            self.docker(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])?;
        let mut nodes: Vec<_> = listed.lines().map(str::to_owned).collect();
        nodes.sort();
        Ok(nodes)
    }

    /// What the engine says of each node.
    ///
    /// # Errors
    /// Docker does not answer.
    pub fn inspected(&self, format: &str) -> Result<Vec<String>> {
        let nodes = self.nodes()?;
        let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
        let inspect = ["container", "inspect", "--format", format];
        let said = self.docker(&[&inspect[..], &nodes].concat())?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// A node's addresses on its network, IPv4 first.
    ///
    /// # Errors
    /// It has none, or Docker does not answer.
    pub fn addresses(&self, node: &str) -> Result<Vec<String>> {
        let format = "{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{println .GlobalIPv6Address}}{{end}}";
        let inspected = self.docker(&["container", "inspect", "--format", format, node])?;
        let addresses: Vec<_> = inspected.split_whitespace().map(str::to_owned).collect();
        ensure!(!addresses.is_empty(), "{node} has no address");
        Ok(addresses)
    }

    /// What runs for wharf in the cluster, and how often what is wished of each has changed.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn generations(&self) -> Result<String> {
        self.kubectl(&[
            "get",
            "deployments,daemonsets,services,configmaps",
            "--namespace=wharf-system",
            "--output=jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.generation} {end}",
        ])
    }

    /// Waits until the engine runs each node in another process than one of these.
    ///
    /// # Errors
    /// It does not within a minute.
    pub fn are_started_anew(&self, before: &[String]) -> Result<()> {
        let are_anew = || -> Result<bool> {
            let now = self.inspected("{{.State.Running}} {{.State.Pid}}")?;
            let is_anew = |line: &String| {
                let pid = line.strip_prefix("true ");
                pid.is_some_and(|pid| !before.iter().any(|old| old == pid))
            };
            Ok(now.iter().all(is_anew))
        };
        until(Duration::from_secs(60), &true, are_anew).context("the engine starts them again")
    }

    /// What `wharf` says that must succeed.
    ///
    /// # Errors
    /// It does not, or says nothing.
    pub fn wharf_says(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.wharf(arguments)?;
        let said = command::output(command.args(["--output", "json"]), LONG)?;
        let last = said.lines().last().context("it says nothing")?;
        Ok(serde_json::from_str::<Value>(last)?["result"].take())
    }

    /// A command in the bed's environment with a kubeconfig of the cluster's own: tests do not touch anybody's current context.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.bed.command(program);
        command.env("KUBECONFIG", self.dir.join("kubeconfig"));
        command.envs(self.settings.iter().cloned());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::env::var_os("WHARF_BED_KEEP").is_some() {
            say(&format!(
                "bed: {} is kept: export KUBECONFIG={}/kubeconfig",
                self.name,
                self.dir.display()
            ));
        } else if let Err(error) = remove(&self.bed, &self.name) {
            say(&format!(
                "bed: {} could not be removed: {error:#}",
                self.name
            ));
        }
    }
}

/// Removes the tests' clusters that no living process has reserved. Called before anything is made, with the bed's lock held.
pub(super) fn remove_abandoned(bed: &Bed) -> Result<()> {
    let format =
        format!("{{{{.Label \"{LABEL}\"}}}}\t{{{{.Label \"{MINIKUBE_LABEL}\"}}}}\t{{{{.Names}}}}");
    let filter = format!("name=^{PREFIX}");
    let listed = bed.docker(
        &["ps", "--all", "--filter", &filter, "--format", &format],
        LIMIT,
    )?;
    let clusters = listed.lines().filter_map(|line| {
        let [kind, minikube, container] = line.split('\t').collect::<Vec<_>>()[..] else {
            return None;
        };
        let name = match (kind, minikube) {
            // A container beside the cluster, or what is left of one.
            ("", "") => container.split_once('.')?.0,
            ("", node) => first_node(node),
            (cluster, _) => cluster,
        };
        name.starts_with(PREFIX).then_some(name)
    });
    for name in clusters.collect::<BTreeSet<_>>() {
        let lock = open_lock(&lock_file(bed, name))?;
        if lock.try_lock().is_ok() {
            say(&format!("bed: removing {name}, which an earlier run left"));
            remove(bed, name)?;
        }
    }
    Ok(())
}

/// Removes a cluster's containers with their volumes, its network, and its files. `kind delete cluster` would also edit the user's kubeconfig, and
/// fails on containers that are half alive.
fn remove(bed: &Bed, name: &str) -> Result<()> {
    let mut containers = BTreeSet::new();
    for filter in [
        format!("label={LABEL}={name}"),
        minikube_nodes(name),
        format!("name=^{}[.]", name),
    ] {
        let listed = bed.docker(&["ps", "--all", "--quiet", "--filter", &filter], LIMIT)?;
        containers.extend(listed.lines().map(str::to_owned));
    }
    for container in &containers {
        let remove = || bed.docker(&["rm", "--force", "--volumes", container], LIMIT);
        // The first attempt at one whose processes died with an earlier engine may only find that out.
        if remove().is_err() {
            remove().with_context(|| {
                format!("cannot remove a container of {name}: restart Docker and try again")
            })?;
        }
    }
    for (what, of) in [
        ("network", format!("name=^{name}$")),
        ("volume", minikube_nodes(name)),
    ] {
        let listed = bed.docker(&[what, "ls", "--quiet", "--filter", &of], LIMIT)?;
        for id in listed.lines() {
            bed.docker(&[what, "rm", id], LIMIT)?;
        }
    }
    let dir = scratch(bed, name);
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// A filter for minikube's nodes of a cluster, and for their volumes: the first has the cluster's name, the others a number.
fn minikube_nodes(name: &str) -> String {
    format!("name=^{name}(-m[0-9]+)?$")
}

/// The cluster of a node of minikube's.
fn first_node(node: &str) -> &str {
    match node.rsplit_once("-m") {
        Some((name, number)) if number.parse::<u8>().is_ok() => name,
        _ => node,
    }
}

fn lock_file(bed: &Bed, name: &str) -> PathBuf {
    bed.dir().join("locks").join(name)
}

fn scratch(bed: &Bed, name: &str) -> PathBuf {
    bed.dir().join("clusters").join(name)
}
