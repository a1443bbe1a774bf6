//! Where it happens: a profile's name, a port, a data directory, and the commands that a user of them types.

use std::cell::OnceCell;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use wharf_tests::bed::{Bed, Cluster, NodeRuntime, Provider, Tool};
use wharf_tests::command::{self, Output};
use wharf_tests::example::{self, Shape};
use wharf_tests::localhost::free_port;
use wharf_tests::traces;
use wharf_tests::walk::until_well;

/// For what makes a cluster or moves hundreds of megabytes.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// The cluster of the test, before, while and after it exists.
pub(crate) struct World {
    bed: Bed,
    pub(crate) cluster: Cluster,
    pub(crate) port: u16,
    /// What a cluster of somebody else was like.
    pub(crate) before: OnceCell<Shape>,
}

impl World {
    pub(crate) fn new(suffix: &str, ports: Range<u16>) -> Result<Self> {
        // kind is there as well: which of both is meant has to be found out.
        let bed = Bed::ensure_with(&[Tool::Kind, Tool::Kubectl, Tool::Minikube])?;
        let cluster = Cluster::reserve_with(&bed, suffix, Provider::Minikube)?;
        let port = free_port(ports)?;
        Ok(Self {
            bed,
            cluster,
            port,
            before: OnceCell::new(),
        })
    }

    /// The data directory of the cluster that wharf makes.
    pub(crate) fn data(&self) -> PathBuf {
        self.cluster.dir().join("data")
    }

    /// `wharf`, which must succeed.
    pub(crate) fn wharf(&self, arguments: &[&str]) -> Result<Output> {
        let done = command::finish(&mut self.cluster.wharf(arguments)?, LONG)?;
        ensure!(done.status.success(), "{arguments:?}: {done:?}");
        Ok(done)
    }

    /// `wharf`, which must fail with this code; what it says.
    pub(crate) fn refused(&self, arguments: &[&str], code: i32) -> Result<String> {
        let done = command::finish(&mut self.cluster.wharf(arguments)?, LONG)?;
        ensure!(done.status.code() == Some(code), "{arguments:?}: {done:?}");
        Ok(done.stdout + &done.stderr)
    }

    /// Waits until it works.
    pub(crate) fn comes_to_work(&self) -> Result<()> {
        until_well(|| self.cluster.wharf(&["status"]))
    }

    /// `minikube` for this profile, which must succeed.
    pub(crate) fn minikube(&self, arguments: &[&str]) -> Result<String> {
        let mut minikube = self.cluster.command("minikube");
        minikube.args(["--profile", self.cluster.name()]);
        command::output(minikube.args(arguments), LONG)
    }

    /// What minikube is told when it makes a cluster.
    pub(crate) fn arguments(&self) -> &[&str] {
        self.bed.minikube_arguments()
    }

    /// The flag with which it makes nodes that have this runtime.
    pub(crate) fn image_flag(&self, runtime: NodeRuntime) -> Option<String> {
        let image = self.bed.minikube_image(runtime)?;
        Some(format!("--base-image={image}"))
    }

    pub(crate) fn image(&self) -> String {
        example::image(self.port)
    }

    /// Runs a pod of the image that was pushed, as the registry has it.
    pub(crate) fn run(&self, pod: &str) -> Result<()> {
        example::run(&self.cluster, pod, &self.image())
    }

    /// What the machine has of the cluster.
    pub(crate) fn traces(&self) -> Result<Vec<String>> {
        traces::traces(&self.cluster)
    }

    /// What is in minikube's directory of profiles, and in that of machines.
    pub(crate) fn profiles(&self) -> Result<Vec<PathBuf>> {
        let minikube = self.cluster.dir().join("minikube/.minikube");
        let mut found = Vec::new();
        for directory in ["profiles", "machines"] {
            for entry in std::fs::read_dir(minikube.join(directory))? {
                let path = entry?.path();
                found.extend(path.is_dir().then_some(path));
            }
        }
        Ok(found)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Missing where the test ended before it was made.
        let _ = self
            .cluster
            .docker(&["image", "rm", "--force", &self.image()]);
    }
}
