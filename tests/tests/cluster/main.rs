//! `wharf up` to `wharf down --purge` on a real kind cluster of two nodes: one cluster for all of
//! it, because making one takes longer than everything that is done with it. What happens to a cluster while it is used, and to `up`
//! and `down` in each of their steps, is the suite `drills`.

mod again;
mod create;
mod doors;
mod end;
mod forward;
mod push;
mod restart;
mod tools;
mod walk;
mod world;

use anyhow::Result;
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::walk::{Step, walk};

use world::World;

const STEPS: [Step<World>; 23] = [
    ("the images to push are built", world::build_images),
    (
        "Ctrl-C while the cluster is made says how to go on",
        create::interrupted,
    ),
    (
        "a killed `up` cannot be overtaken by the next one",
        create::killed_while_creating,
    ),
    (
        "a killed `up` is completed by the next one",
        create::completed,
    ),
    (
        "the port of a running cluster is refused, with its owner",
        create::port_of_another,
    ),
    (
        "the host and every node reach the registry",
        push::everybody_reaches_it,
    ),
    ("tools and nodes are told where it is", push::it_is_told),
    (
        "kubelets pull from every node what docker pushed",
        push::every_kubelet_pulls,
    ),
    (
        "neighbours and pods are refused at the nodes' addresses",
        doors::strangers_are_refused,
    ),
    (
        "web pages of others are refused, by whatever name they come",
        doors::pages_of_others_are_refused,
    ),
    ("the walk of the example's README works", walk::as_written),
    (
        "tools that ask the cluster need no settings",
        tools::need_no_settings,
    ),
    ("a forward leads to the registry", forward::to_the_registry),
    (
        "the registry's operator is heard in its pod",
        again::the_operator_is_heard,
    ),
    ("a second `up` changes nothing", again::nothing_changes),
    (
        "`up` repairs what was broken",
        again::what_is_broken_is_repaired,
    ),
    (
        "a push outlives the registry's pod",
        restart::a_push_outlives_the_pod,
    ),
    (
        "a push through a forward outlives two pods",
        forward::a_push_outlives_two_pods,
    ),
    (
        "`down` deletes the cluster and keeps the images",
        end::down_keeps_the_images,
    ),
    ("`up` has the images again", end::up_has_them_again),
    (
        "the forward leads to the new cluster",
        forward::to_the_new_cluster,
    ),
    ("`down --purge` deletes everything", end::purge_deletes_them),
    ("`down` once more is harmless", end::down_again),
];

#[test]
fn a_cluster_from_nothing_to_nothing() -> Result<()> {
    let bed = Bed::ensure_with(&[Tool::Kind, Tool::Kubectl])?;
    let world = World::new(bed)?;
    walk(&world.cluster, &world, &STEPS)
}
