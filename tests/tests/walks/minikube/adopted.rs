//! A cluster that somebody else has made with minikube, whose nodes have a Docker Engine of their own.

use anyhow::{Result, ensure};
use wharf_tests::bed::NodeRuntime;
use wharf_tests::example::{self, Shape};

use super::world::World;

pub(crate) fn adopted(world: &World) -> Result<()> {
    let start = ["start", "--driver=docker", "--container-runtime=docker"];
    let image = world.image_flag(NodeRuntime::Docker);
    let image: Vec<&str> = image.iter().map(String::as_str).collect();
    world.minikube(&[&start[..], &image, world.arguments()].concat())?;
    let before = Shape::of(&world.cluster)?;
    let said = world.refused(&["up"], 6)?;
    ensure!(
        said.contains("Using minikube: it has a profile") && said.contains("--adopt"),
        "{said}"
    );
    ensure!(Shape::of(&world.cluster)? == before, "something changed");
    world.wharf(&["up", "--adopt", "--port", &world.port.to_string()])?;
    let now = Shape::of(&world.cluster)?;
    ensure!(
        now.node == before.node && now.runtime == before.runtime,
        "the node is another, or its engine was told something: {now:?}"
    );
    world.before.get_or_init(|| before);
    example::push(&world.cluster, &world.image())?;
    world.run("pushed")?;
    world.wharf(&["status"])?;
    let delete = ["delete", "pod", "pushed", "--grace-period=1"];
    world.cluster.kubectl(&delete).map(drop)
}

pub(crate) fn left_as_it_was(world: &World) -> Result<()> {
    world.wharf(&["down"])?;
    let hosting = example::hosting(&world.cluster)?;
    ensure!(
        hosting.contains("help:") && !hosting.contains("host"),
        "it still says that there is a registry: {hosting}"
    );
    let (now, before) = (Shape::of(&world.cluster)?, world.before.get());
    ensure!(before == Some(&now), "{now:#?}\n{before:#?}");
    let said = world.refused(&["down"], 6)?;
    ensure!(said.contains("--delete-cluster"), "{said}");
    world.wharf(&["down", "--delete-cluster"])?;
    let traces = world.traces()?;
    ensure!(traces.is_empty(), "{traces:?}");
    Ok(())
}
