//! `wharf up --provider minikube`, on the real program and nodes: a cluster that wharf makes, with containerd on its nodes, and one
//! that it adopts, with Docker Engines.

mod adopted;
mod made;
mod world;

use anyhow::Result;
use wharf_tests::walk::{Step, walk};
use world::World;

pub(super) fn made() -> Result<()> {
    in_order(
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

pub(super) fn adopted() -> Result<()> {
    in_order(
        &World::new("minikube-adopt", 5330..5370)?,
        &[
            ("it is adopted as it is", adopted::adopted),
            ("`down` leaves it as it was", adopted::left_as_it_was),
        ],
    )
}

fn in_order(world: &World, steps: &[Step<World>]) -> Result<()> {
    walk(&world.cluster, world, steps)
}
