//! `wharf up --provider minikube`, on the real program and nodes: a cluster that wharf makes, and one that it adopts.

mod adopted;
mod made;
mod world;

use std::time::Instant;

use anyhow::{Context, Result};
use wharf_tests::command::say;
use world::World;

/// A step: what is true after it, and what it takes to see it.
type Step = (&'static str, fn(&World) -> Result<()>);

#[test]
fn a_cluster_that_wharf_makes() -> Result<()> {
    walk(
        &World::new("minikube-made", 5291..5330)?,
        &[
            ("`up` makes a cluster", made::made),
            ("docker pushes and a kubelet pulls", made::pushed_and_pulled),
            ("a second `up` changes nothing", made::nothing_changes),
            ("a taken port of the nodes is explained", made::taken),
            ("after `minikube stop` it works again", made::stopped),
            ("after `minikube delete` it is made anew", made::deleted),
            ("a node that is added is equipped", made::node_added),
            ("`down` leaves nothing but the images", made::down),
        ],
    )
}

#[test]
fn a_cluster_of_somebody_else() -> Result<()> {
    walk(
        &World::new("minikube-adopt", 5330..5370)?,
        &[
            ("it is adopted as it is", adopted::adopted),
            ("`down` leaves it as it was", adopted::left_as_it_was),
        ],
    )
}

fn walk(world: &World, steps: &[Step]) -> Result<()> {
    for (what, step) in steps {
        let started = Instant::now();
        step(world).with_context(|| format!("not so: {what}"))?;
        let seconds = started.elapsed().as_secs_f32();
        say(&format!("{}: {what}: {seconds:.1} s", world.cluster.name()));
    }
    Ok(())
}
