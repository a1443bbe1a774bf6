//! The cluster in which the ways lead to the registry.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::bed::{Bed, Cluster};
use wharf_tests::command::{self, say};
use wharf_tests::localhost;

use crate::cpu::is_wharf;
use crate::report::{line, median, target};

/// For what makes a cluster or moves gigabytes.
pub(crate) const LONG: Duration = Duration::from_secs(900);
/// What the API server is asked, for a way of its own.
const LOOKS: usize = 5;

/// A cluster that `wharf up` made.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) port: u16,
}

impl World {
    pub(crate) fn up(bed: &Bed) -> Result<Self> {
        let cluster = Cluster::reserve(bed, "ways")?;
        let port = free_port()?;
        say("ways: making a cluster of two nodes ...");
        let mut up = up(bed, &cluster, port)?;
        command::output(&mut up, LONG)?;
        let world = Self { cluster, port };
        world.converged(bed)?;
        Ok(world)
    }

    /// How long it takes to see that everything is right.
    fn converged(&self, bed: &Bed) -> Result<()> {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..LOOKS {
            took[0].push(seconds(&mut up(bed, &self.cluster, self.port)?)?);
            took[1].push(seconds(&mut self.cluster.wharf(&["status"])?)?);
        }
        line("\n## Nothing to be done\n");
        let [again, status] = took.each_ref().map(|took| median(took));
        target("`wharf up` again, s", again, "<= 2", again <= 2.0);
        target("`wharf status`, s", status, "<= 1", status <= 1.0);
        Ok(())
    }

    /// The registry's pod and its node, as the cluster has them.
    pub(crate) fn registry(&self) -> Result<Value> {
        let pods = self.cluster.get(&[
            "pods",
            "--namespace=wharf-system",
            "--selector=app.kubernetes.io/component=registry",
        ])?;
        Ok(pods["items"][0].clone())
    }

    /// The pod's own address, to which this machine is given a route as long as the result lives.
    pub(crate) fn straight(&self) -> Result<(SocketAddr, Route)> {
        let pod = self.registry()?;
        let ip = pod["status"]["podIP"].as_str().context("no address")?;
        let node = pod["spec"]["nodeName"].as_str().context("no node")?;
        let via = &self.cluster.addresses(node)?[0];
        let route = Route(format!("{ip}/32"));
        let add = ["route", "replace", &route.0, "via", via];
        command::output(Command::new("ip").args(add), LONG)?;
        Ok((SocketAddr::new(ip.parse::<IpAddr>()?, 5000), route))
    }
}

/// A route of this machine, which goes when it is dropped.
pub(crate) struct Route(String);

impl Drop for Route {
    fn drop(&mut self) {
        let _ = command::output(Command::new("ip").args(["route", "del", &self.0]), LONG);
    }
}

/// `wharf up` of two nodes.
pub(crate) fn up(bed: &Bed, cluster: &Cluster, port: u16) -> Result<Command> {
    let port = port.to_string();
    let mut up = cluster.wharf(&["up", "--nodes", "2", "--port", &port])?;
    up.arg("--data").arg(cluster.dir().join("data"));
    if let Some(image) = bed.node_image() {
        up.args(["--kubernetes-image", image]);
    }
    Ok(up)
}

/// How long a command takes that must succeed.
pub(crate) fn seconds(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    command::output(command, LONG)?;
    Ok(started.elapsed().as_secs_f64())
}

pub(crate) fn free_port() -> Result<u16> {
    localhost::free_port(5390..5400)
}

/// A figure in KiB of all programs that run this command of wharf's.
pub(crate) fn kib_of(wharfs: &str, what: &str) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        let mut given = command.split('\0');
        let program = given.next().and_then(|program| program.rsplit('/').next());
        let is_it = program.is_some_and(is_wharf) && given.next() == Some(wharfs);
        if let (true, Ok(id)) = (is_it, entry.file_name().to_string_lossy().parse()) {
            found.push(wharf_tests::wharf::kib(id, what)?);
        }
    }
    ensure!(!found.is_empty(), "no `wharf {wharfs}` runs");
    Ok(found)
}
