//! Docker Engine is restarted under a cluster, and `localhost:PORT` works again without a command. A suite of its own: every other
//! cluster on the machine goes with its engine.

use anyhow::{Result, ensure};
use wharf_tests::bed::{Bed, Cluster, Tool};
use wharf_tests::command::say;
use wharf_tests::example;
use wharf_tests::localhost::free_port;
use wharf_tests::walk::{Step, walk};

const STEPS: [Step<World>; 3] = [
    ("docker pushes and a kubelet pulls", pushed_and_pulled),
    ("the engine was restarted", restarted),
    ("`down --purge` deletes the cluster", purged),
];

struct World {
    bed: Bed,
    cluster: Cluster,
    port: u16,
}

#[test]
fn an_engine_that_is_restarted() -> Result<()> {
    let bed = Bed::ensure_with(&[Tool::Kind, Tool::Kubectl])?;
    let cluster = Cluster::reserve(&bed, "engine")?;
    let world = World {
        port: free_port(5400..5410)?,
        cluster,
        bed,
    };
    walk(&world.cluster, &world, &STEPS)
}

fn pushed_and_pulled(world: &World) -> Result<()> {
    let port = world.port.to_string();
    let mut up = vec!["up", "--port", &port];
    if let Some(image) = world.bed.node_image() {
        up.extend(["--kubernetes-image", image]);
    }
    world.cluster.wharf_says(&up)?;
    world.works("before")
}

/// The engine stops the nodes, and starts them when it has made its network, proxies and rules anew, by the policy that kind gives them
/// (`on-failure:1`).
fn restarted(world: &World) -> Result<()> {
    let before = world.cluster.inspected("{{.State.Pid}}")?;
    if !world.bed.restart_engine()? {
        say("engine: it is not the tests' own, and was not restarted");
        return Ok(());
    }
    world.cluster.are_started_anew(&before)?;
    example::until_answered(world.port)?;
    let now = world.cluster.inspected("{{.State.Pid}}")?;
    ensure!(now != before, "the engine let the nodes run on");
    world.works("after")
}

fn purged(world: &World) -> Result<()> {
    world.cluster.wharf_says(&["down", "--purge"]).map(drop)
}

impl World {
    /// Pushes an image that was not there before, and runs it.
    fn works(&self, tag: &str) -> Result<()> {
        let image = format!("{}:{tag}", example::image(self.port));
        example::push(&self.cluster, &image)?;
        example::run(&self.cluster, tag, &image)?;
        self.cluster.docker(&["image", "rm", &image]).map(drop)
    }
}
