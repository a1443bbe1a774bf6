//! Where the drills happen, and what must be so after each of them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::bed::{Bed, Cluster};
use wharf_tests::command;
use wharf_tests::content::Random;
use wharf_tests::example;
use wharf_tests::http::{Answer, Connection, Request};
use wharf_tests::localhost;
use wharf_tests::steps;
use wharf_tests::talk::until;
use wharf_tests::walk::until_well;

/// For what makes a cluster, or what Kubernetes takes its time to notice.
pub(crate) const LONG: Duration = Duration::from_secs(600);
/// What asks for the registry's pod.
pub(crate) const REGISTRY: [&str; 3] = [
    "pods",
    "--namespace=wharf-system",
    "--selector=app.kubernetes.io/component=registry",
];

/// The cluster of the drills, before, while and after it exists.
pub(crate) struct World {
    bed: Bed,
    pub(crate) cluster: Cluster,
    pub(crate) port: u16,
    seed: u64,
    /// How many images were pushed: each is another.
    round: Cell<u32>,
}

impl World {
    pub(crate) fn new(bed: Bed) -> Result<Self> {
        let cluster = Cluster::reserve(&bed, "drills")?;
        let port = localhost::free_port(5380..5390)?;
        make_network(&cluster)?;
        Ok(Self {
            bed,
            cluster,
            port,
            seed: steps::seed()?,
            round: Cell::new(0),
        })
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The choices of one drill.
    pub(crate) fn random(&self, drill: u64) -> Random {
        Random::new(self.seed.wrapping_mul(31).wrapping_add(drill))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.cluster.dir().join("data")
    }

    /// The network of the nodes: one of their own, in which nobody else takes the address of a node that stands still.
    pub(crate) fn network(&self) -> &str {
        self.cluster.name()
    }

    /// `wharf up` as the first one is typed.
    pub(crate) fn up(&self) -> Result<Command> {
        let port = self.port.to_string();
        let up = ["up", "--nodes", "2", "--port", &port];
        let mut command = self.cluster.wharf(&up)?;
        command.env("KIND_EXPERIMENTAL_DOCKER_NETWORK", self.network());
        command.arg("--data").arg(self.data());
        if let Some(image) = self.bed.node_image() {
            command.args(["--kubernetes-image", image]);
        }
        Ok(command)
    }

    /// What the nodes are as containers.
    pub(crate) fn identities(&self) -> Result<String> {
        Ok(self.cluster.inspected("{{.Id}}")?.join("\n"))
    }

    /// Whether the host remembers the cluster to be so far.
    pub(crate) fn remembers(&self, stage: &str) -> Result<bool> {
        let record = format!("state/wharf/clusters/{}.json", self.cluster.name());
        let record = match std::fs::read_to_string(self.cluster.dir().join(record)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            record => record?,
        };
        let record: Value = serde_json::from_str(&record)?;
        Ok(record["stage"]["is"] == stage)
    }

    /// The host reaches the registry, and what it pushes now every kubelet pulls. Nobody helps: until it is so, it is only waited for.
    pub(crate) fn works(&self) -> Result<()> {
        let answers = || {
            let answers = self.ask("/v2/");
            answers.is_ok_and(|answers| answers.iter().all(|answer| answer.status == 200))
        };
        until(LONG, &true, || Ok(answers()))?;
        let image = self.push()?;
        self.run_everywhere(&image)?;
        // Somebody who looks agrees, after a while.
        until_well(|| self.cluster.wharf(&["status"]))
    }

    /// Builds an image that is another each time, and pushes it. Returns its name.
    fn push(&self) -> Result<String> {
        let round = self.round.replace(self.round.get() + 1);
        let base = example::image(self.port);
        if round == 0 {
            example::push(&self.cluster, &base)?;
        }
        let image = format!("{base}:round-{round}");
        let folder = self.cluster.dir().join("round");
        std::fs::create_dir_all(&folder)?;
        let file = format!("FROM {base}\nLABEL round={round}\n");
        std::fs::write(folder.join("Dockerfile"), file)?;
        let folder = folder.display().to_string();
        self.cluster.docker(&["build", "--tag", &image, &folder])?;
        self.cluster.docker(&["push", &image])?;
        Ok(image)
    }

    /// Runs an image on every node, and sees to it that it is the one that was pushed. The API server may be on its way back.
    fn run_everywhere(&self, image: &str) -> Result<()> {
        let set = example::everywhere(image);
        until(LONG, &true, || Ok(self.cluster.apply(&set).is_ok()))?;
        let status = ["rollout", "status", "daemonset/everywhere"];
        let status = [&status[..], &["--timeout=300s"]].concat();
        until(LONG, &true, || Ok(self.cluster.kubectl(&status).is_ok()))?;
        let digests = ["image", "inspect", "--format={{json .RepoDigests}}", image];
        let digests = self.cluster.docker(&digests)?;
        let expected: BTreeMap<String, String> = self
            .cluster
            .nodes()?
            .into_iter()
            .map(|node| (node, "as it was pushed".to_owned()))
            .collect();
        // A pod of before may still be on its way out.
        until(LONG, &expected, || {
            let pods = self.cluster.get(&["pods", "--selector=app=everywhere"])?;
            let pods = pods["items"].as_array().context("no pods")?;
            let running = |pod: &Value| {
                let status = &pod["status"]["containerStatuses"][0];
                let of = status["imageID"].as_str().unwrap_or_default();
                let is_it = digests.contains(of) && !of.is_empty() && status["ready"] == true;
                let what = if is_it { "as it was pushed" } else { of };
                let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
                (node.to_owned(), what.to_owned())
            };
            Ok(pods.iter().map(running).collect())
        })
    }

    /// What is answered at `localhost`, in each family that this machine has.
    pub(crate) fn ask(&self, path: &str) -> Result<Vec<Answer>> {
        let ask = |ip| {
            let mut http = Connection::open(SocketAddr::new(ip, self.port))?;
            Ok(http.send(Request::new("GET", path))?)
        };
        localhost::addresses().into_iter().map(ask).collect()
    }

    /// The registry's pod that is there to stay, and its node.
    pub(crate) fn registry(&self) -> Result<(String, String)> {
        let pods = self.cluster.get(&REGISTRY)?;
        let pods = pods["items"].as_array().context("no pods")?;
        let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        let pod = pods.iter().find(stays).context("no registry")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok((
            text(&pod["metadata"]["name"]),
            text(&pod["spec"]["nodeName"]),
        ))
    }

    /// `wharf status`, which finds something wrong: what it says.
    pub(crate) fn complaint(&self) -> Result<String> {
        let status = command::finish(&mut self.cluster.wharf(&["status"])?, LONG)?;
        ensure!(status.status.code() == Some(7), "{status:?}");
        Ok(status.stdout)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let base = example::image(self.port);
        // Missing where the test ended before they were made.
        for round in 0..self.round.get() {
            let image = format!("{base}:round-{round}");
            let _ = self.cluster.docker(&["image", "rm", "--force", &image]);
        }
        let _ = self.cluster.docker(&["image", "rm", "--force", &base]);
    }
}

/// Makes the nodes' network: with a subnet that is said, since in others nobody can say a node's address.
fn make_network(cluster: &Cluster) -> Result<()> {
    let make = |number: u8| {
        let subnet = format!("10.231.{number}.0/24");
        cluster.docker(&["network", "create", "--subnet", &subnet, cluster.name()])
    };
    // One that somebody has already is refused.
    let made = (1..10).find_map(|number| make(number).ok());
    made.map(drop).context("no subnet is free")
}
