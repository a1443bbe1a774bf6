//! `wharf up` and `wharf down`, killed in each of their steps.

use std::cell::RefCell;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::command;
use wharf_tests::content::Random;
use wharf_tests::is_long;
use wharf_tests::steps::{Killed, Moment, Run, planned};
use wharf_tests::traces;

use super::world::{LONG, World};

/// The steps in whose middle there is no whole cluster: the next run makes it anew, which takes longer than everything else. Those moments
/// are for the long run, and for the suite `cluster`.
const WHOLE: [&str; 3] = ["createCluster", "deleteRemains", "deleteCluster"];

/// Both moments of a step, or one where it must not take long.
fn moments(step: &str, random: &mut Random) -> Vec<Moment> {
    if is_long() {
        return vec![Moment::Within, Moment::After];
    }
    match WHOLE.contains(&step) || random.percent(50) {
        true => vec![Moment::After],
        false => vec![Moment::Within],
    }
}

pub(crate) fn up_from_nothing(world: &World) -> Result<()> {
    let steps = planned(world.up()?)?;
    let made = RefCell::new(None);
    // From when the host remembers a whole cluster, it is that one.
    let is_the_same = || {
        if world.remembers("created")? {
            let now = world.identities()?;
            let made = made.borrow_mut().get_or_insert(now.clone()).clone();
            ensure!(now == made, "the cluster was made anew: {now} {made}");
        }
        Ok(())
    };
    up_in_every_step(world, 1, &is_the_same, &steps)?;
    is_the_same()?;
    ensure!(
        made.into_inner()
            .is_some_and(|ids| ids.lines().count() == 2)
    );
    Ok(())
}

/// Nodes that stand still, one of them without wharf's image and containerd's file, a kubeconfig without the context: what `up` has to do
/// where nobody has made a cluster.
pub(crate) fn up_in_a_repair(world: &World) -> Result<()> {
    let nodes = world.cluster.nodes()?;
    let worker = nodes.last().context("no nodes")?;
    let spoil = "ctr --namespace=k8s.io images ls --quiet name~=wharf/wharf | xargs ctr --namespace=k8s.io images rm && rm -r /etc/containerd/certs.d/*";
    world.cluster.docker(&["exec", worker, "sh", "-c", spoil])?;
    let names: Vec<_> = nodes.iter().map(String::as_str).collect();
    world
        .cluster
        .docker(&[&["stop", "--time=1"], &names[..]].concat())?;
    std::fs::remove_file(world.cluster.dir().join("kubeconfig"))?;
    let expected = [
        "startNodes",
        "exportContext",
        "waitForNodes",
        "importImage",
        "writeHosts",
        "install",
    ];
    let before = world.identities()?;
    let is_the_same = || {
        let now = world.identities()?;
        ensure!(now == before, "the cluster was made anew: {now} {before}");
        Ok(())
    };
    up_in_every_step(world, 2, &is_the_same, &expected.map(str::to_owned))?;
    world.works()
}

/// Kills `up` in each step, those of `expected` at least, and completes it.
fn up_in_every_step(
    world: &World,
    drill: u64,
    holds: &dyn Fn() -> Result<()>,
    expected: &[String],
) -> Result<()> {
    let mut killed = Killed {
        command: &|| world.up(),
        dir: world.cluster.dir(),
        random: world.random(drill),
        moments: &moments,
        holds,
    };
    let steps = killed.in_every_step()?;
    for step in expected {
        ensure!(
            steps.contains(step),
            "{step} was not even planned: {steps:?}"
        );
    }
    let events = Run::start(world.up()?, world.cluster.dir())?.succeeds()?;
    let made_anew = events.iter().any(|event| {
        let name = event["name"].as_str().unwrap_or_default();
        name.starts_with("Create cluster") || name.starts_with("Delete")
    });
    ensure!(!made_anew, "the cluster was made anew: {events:?}");
    // Nothing is left to be done but to look.
    let left = planned(world.up()?)?;
    ensure!(
        left == ["waitForNodes", "install", "checkHost", "storeImage"],
        "{left:?}"
    );
    command::output(&mut world.cluster.wharf(&["status"])?, LONG).map(drop)
}

/// A plan is printed, and nothing is done. Then `down` is killed, and what follows is an `up`.
pub(crate) fn down_and_up(world: &World) -> Result<()> {
    let before = world.identities()?;
    let steps = planned(world.cluster.wharf(&["down", "--purge"])?)?;
    ensure!(steps == ["deleteCluster", "deleteImages"], "{steps:?}");
    let text = command::output(&mut world.cluster.wharf(&["down", "--dry-run"])?, LONG)?;
    let title = format!("1. Delete cluster {}", world.cluster.name());
    ensure!(text.contains(&title), "{text}");
    ensure!(world.identities()? == before, "a dry run did something");

    let down = || world.cluster.wharf(&["down"]);
    let moment = match world.random(3).percent(50) {
        true => Moment::Within,
        false => Moment::After,
    };
    let tries = match is_long() {
        true => vec![Moment::Within, Moment::Within, Moment::After],
        false => vec![moment],
    };
    for (number, moment) in tries.into_iter().enumerate() {
        let mut killed = Killed {
            command: &down,
            dir: world.cluster.dir(),
            random: world.random(4 + number as u64),
            moments: &|_, _| vec![moment],
            holds: &|| Ok(()),
        };
        // What was killed after its last step is not planned again.
        let steps = killed.in_every_step()?;
        ensure!(steps.contains("deleteCluster"), "{steps:?}");
        let data = std::fs::read_dir(world.data().join("blobs"))?.count();
        ensure!(data > 0, "the images are gone");
        Run::start(world.up()?, world.cluster.dir())?.succeeds()?;
        world.works()?;
    }
    Ok(())
}

/// `down --purge` is killed, and what follows is a `down --purge`.
pub(crate) fn down_for_good(world: &World) -> Result<()> {
    world.cluster.wharf_says(&["forward", "start", ":5000"])?;
    let volumes = traces::volumes(&world.cluster)?;
    let purge = || world.cluster.wharf(&["down", "--purge"]);
    let mut killed = Killed {
        command: &purge,
        dir: world.cluster.dir(),
        random: world.random(9),
        // Nothing has to be made anew here.
        moments: &|_, _| match is_long() {
            true => vec![Moment::Within, Moment::After],
            false => vec![Moment::Within],
        },
        holds: &|| what_is_left_has_a_name(world),
    };
    let steps = killed.in_every_step()?;
    for step in ["deleteCluster", "stopForwards", "deleteImages"] {
        ensure!(
            steps.contains(step),
            "{step} was not even planned: {steps:?}"
        );
    }
    let said: Value = world.cluster.wharf_says(&["down", "--purge"])?;
    ensure!(said["data"].is_null(), "{said}");
    // The test's own; it cannot be removed where something is still on it.
    world.cluster.docker(&["network", "rm", world.network()])?;
    let mut left = traces::traces(&world.cluster)?;
    left.extend(traces::left_of(&world.cluster, &volumes)?);
    left.extend(traces::files_of(&world.cluster)?);
    ensure!(left.is_empty(), "left are {left:?}");
    ensure!(!world.data().exists(), "{} is left", world.data().display());
    let left = planned(purge()?)?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// A cluster whose deletion was interrupted is called so, as long as there are nodes of it.
fn what_is_left_has_a_name(world: &World) -> Result<()> {
    if !world.remembers("deleting")? || world.cluster.nodes()?.is_empty() {
        return Ok(());
    }
    let status = command::finish(&mut world.cluster.wharf(&["status"])?, LONG)?;
    // What kind was told to do may have come to its end meanwhile.
    let is_named = status.stderr.contains("was to be deleted") || status.status.code() == Some(5);
    ensure!(is_named, "{status:?}");
    Ok(())
}
