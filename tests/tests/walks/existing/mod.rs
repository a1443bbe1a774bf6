//! `wharf up --context` on a cluster of which wharf has a kubeconfig, and nothing else: no engine, no kind, no docker.

mod walk;
mod world;

use anyhow::Result;
use wharf_tests::walk::{Step, walk};
use world::World;

const STEPS: [Step<World>; 15] = [
    ("without an image nothing is done", walk::needs_an_image),
    (
        "the registry is brought up by the API alone",
        walk::brought_up,
    ),
    (
        "docker pushes and every kubelet pulls",
        walk::pushed_and_pulled,
    ),
    ("a second `up` changes nothing", walk::nothing_changes),
    ("what it has cannot be changed under it", walk::differences),
    (
        "what somebody changes is said, and put right",
        walk::drifted,
    ),
    ("a forward that was killed comes back", walk::forward_killed),
    ("the registry's pod may go", walk::pod_replaced),
    (
        "what is wharf's is found without a home",
        walk::without_a_home,
    ),
    ("`down` leaves the cluster, and the images", walk::left),
    ("`up` has the images again", walk::images_again),
    ("`down --purge` leaves nothing", walk::purged),
    (
        "the images may be in a directory of a node",
        walk::on_a_node,
    ),
    (
        "the images may be the registry's pod's alone",
        walk::in_the_pod_alone,
    ),
    (
        "where nothing is, nothing is taken out",
        walk::nothing_there,
    ),
];

pub(super) fn walk_through() -> Result<()> {
    let world = World::new()?;
    walk(&world.cluster, &world, &STEPS)
}
