//! Where it happens: a kind cluster of two nodes that the test has made, and a machine on which wharf finds a kubeconfig alone.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wharf_tests::bed::{Bed, Cluster, Tool};
use wharf_tests::command::{self, Output};
use wharf_tests::localhost::free_port;
use wharf_tests::{by_hand, example};

/// For what makes a cluster or moves hundreds of megabytes.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// The cluster, and what it is to have.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) port: u16,
    /// Its namespaces before wharf came.
    pub(crate) namespaces: String,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let bed = Bed::ensure_with(&[Tool::Kind, Tool::Kubectl])?;
        let cluster = Cluster::reserve(&bed, "existing")?;
        let port = free_port(5360..5380)?;
        let config = cluster.dir().join("kind.json");
        let nodes = json!({
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": [{"role": "control-plane"}, {"role": "worker"}],
        });
        std::fs::write(&config, nodes.to_string())?;
        let mut create = cluster.command("kind");
        create.args(["create", "cluster", "--name", cluster.name(), "--config"]);
        create.arg(&config).args(["--wait", "120s"]);
        // One of their own: a node elsewhere that is restarted meanwhile has its address still.
        create.env("KIND_EXPERIMENTAL_DOCKER_NETWORK", cluster.name());
        if let Some(image) = bed.node_image() {
            create.args(["--image", image]);
        }
        command::output(&mut create, LONG)?;
        std::fs::create_dir(cluster.dir().join("bin"))?;
        let mut world = Self {
            cluster,
            port,
            namespaces: String::new(),
        };
        world.namespaces = world.namespaces_now()?;
        by_hand::build(&world.cluster, &world.own_image())?;
        by_hand::load(&world.cluster, &world.own_image())?;
        by_hand::make_volume(&world.cluster, &world.cluster.nodes()?[0])?;
        Ok(world)
    }

    /// wharf's image, which the nodes have.
    pub(crate) fn own_image(&self) -> String {
        format!("docker.io/library/{}:1", self.cluster.name())
    }

    /// The name that wharf gives to the environment.
    pub(crate) fn name(&self) -> String {
        self.cluster.context()
    }

    /// `wharf` on a machine that has nothing, and a context.
    pub(crate) fn wharf(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.cluster.wharf(arguments)?;
        command
            .env("PATH", self.cluster.dir().join("bin"))
            .env("DOCKER_HOST", "unix:///nonexistent")
            .env("WHARF_CONTEXT", self.cluster.context())
            .env_remove("WHARF_NAME");
        Ok(command)
    }

    /// `wharf`, which must succeed.
    pub(crate) fn said(&self, arguments: &[&str]) -> Result<Output> {
        let done = command::finish(&mut self.wharf(arguments)?, LONG)?;
        ensure!(done.status.success(), "{arguments:?}: {done:?}");
        Ok(done)
    }

    /// `wharf`, which must fail with this code; what it says.
    pub(crate) fn refused(&self, arguments: &[&str], code: i32) -> Result<String> {
        let done = command::finish(&mut self.wharf(arguments)?, LONG)?;
        ensure!(done.status.code() == Some(code), "{arguments:?}: {done:?}");
        Ok(done.stdout + &done.stderr)
    }

    /// What the first `up` is told.
    pub(crate) fn up(&self, more: &[&str]) -> Result<Output> {
        let (port, image) = (self.port.to_string(), self.own_image());
        let up = ["up", "--port", &port, "--image", &image];
        self.said(&[&up[..], more].concat())
    }

    /// The example's image, for docker on the host and for pods alike.
    pub(crate) fn image(&self) -> String {
        example::image(self.port)
    }

    pub(crate) fn namespaces_now(&self) -> Result<String> {
        let names = "--output=jsonpath={.items[*].metadata.name}";
        self.cluster.kubectl(&["get", "namespaces", names])
    }

    /// What wharf has put into the cluster, and how often each has changed.
    pub(crate) fn objects(&self) -> Result<String> {
        let kinds = "deployments,daemonsets,services,configmaps,persistentvolumeclaims";
        let version = "--output=jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion} {end}";
        let mut all = self
            .cluster
            .kubectl(&["get", kinds, "--namespace=wharf-system", version])?;
        let version = "--output=jsonpath={.metadata.resourceVersion}";
        for one in [
            &["namespace", "wharf-system"][..],
            &[
                "configmap",
                "local-registry-hosting",
                "--namespace=kube-public",
            ],
        ] {
            all += " ";
            all += &self.cluster.kubectl(&[&["get", version], one].concat())?;
        }
        Ok(all)
    }

    /// The forward's process, as it describes itself.
    pub(crate) fn forward(&self) -> Result<Value> {
        let said = self.said(&["forward", "status", "--output=json"])?;
        let mut said: Value = serde_json::from_str(&said.stdout)?;
        Ok(said["result"]["forwards"][0].take())
    }

    /// What is in a folder of a node; nothing where there is none.
    pub(crate) fn on_node(&self, node: &str, folder: &str) -> Result<String> {
        let list = "ls -A \"$1\" 2>/dev/null || true";
        let list = ["exec", node, "sh", "-c", list, "sh", folder];
        self.cluster.docker(&list)
    }

    /// The files that wharf keeps on this machine.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let state = self.cluster.dir().join("state/wharf");
        let mut files = Vec::new();
        for folder in ["clusters", "forwards"] {
            for entry in std::fs::read_dir(state.join(folder))? {
                files.push(entry?.path());
            }
        }
        Ok(files)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(mut stop) = self.wharf(&["forward", "stop", "--all"]) {
            let _ = command::finish(&mut stop, LONG);
        }
        let images = [self.own_image(), self.image()];
        let [own, example] = images.each_ref().map(String::as_str);
        let remove = ["image", "rm", "--force", own, example];
        let _ = self.cluster.docker(&remove);
    }
}
