//! What happens to a cluster while it is used, and to `wharf up` and `wharf down` in each of their steps, on a real kind cluster of two
//! nodes. After each drill `localhost:PORT` works again on the host, and the kubelet of every node pulls an image that was only pushed
//! then; where nothing else is said, without a command of wharf's.
//!
//! Seconds; with `WHARF_LONG=1` every moment of every step, those that make a cluster included. `WHARF_SEED` repeats a run's choices.

mod images;
mod killed;
mod nodes;
mod registry;
mod world;

use anyhow::Result;
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command::say;
use wharf_tests::walk::{Step, walk};

use world::World;

const STEPS: [Step<World>; 11] = [
    (
        "`up` was killed in each of its steps, and is completed by the next one",
        killed::up_from_nothing,
    ),
    ("everybody reaches what is pushed", World::works),
    ("the registry was evicted", registry::evicted),
    ("the registry's node was drained", registry::drained),
    ("a worker was restarted", nodes::worker_restarted),
    (
        "the control plane's node was restarted",
        nodes::control_plane_restarted,
    ),
    ("all nodes died at once", nodes::died_at_once),
    (
        "`up` was killed in each step of a repair",
        killed::up_in_a_repair,
    ),
    ("a node has lost its images", images::wiped),
    (
        "`down` was killed in each of its steps, and `up` makes the cluster anew",
        killed::down_and_up,
    ),
    (
        "`down --purge` was killed in each of its steps, and leaves nothing",
        killed::down_for_good,
    ),
];

pub(super) fn walk_through() -> Result<()> {
    let bed = Bed::ensure_with(&[Tool::Kind, Tool::Kubectl])?;
    let world = World::new(bed)?;
    say(&format!("drills: WHARF_SEED={}", world.seed()));
    walk(&world.cluster, &world, &STEPS)
}
