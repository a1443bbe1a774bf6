//! A push that is cut off, because the registry's pod goes.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::Child;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::command;
use wharf_tests::content::sha256;

use crate::world::{LONG, World, big, start, until};

/// The big image has arrived to this part when the pod is deleted.
pub(crate) const PART: u64 = 10;
pub(crate) const REGISTRY_PODS: [&str; 5] = [
    "pods",
    "--namespace",
    "wharf-system",
    "--selector",
    "app.kubernetes.io/part-of=wharf,app.kubernetes.io/component=registry",
];

pub(crate) fn a_push_outlives_the_pod(world: &World) -> Result<()> {
    let image = world.image("big");
    let before = registry_pods(world)?;
    let log = world.cluster.dir().join("push.log");
    let mut push = Running(start(
        world.cluster.command("docker").args(["push", &image]),
        &log,
    )?);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until("a tenth of the image has arrived", || {
        let ended = push.0.try_wait()?;
        ensure!(
            ended.is_none(),
            "the push ended ({ended:?}) before it was disturbed:\n{}",
            said()
        );
        Ok(open_uploads(&world.data().join("uploads"))? >= big() / PART)
    })?;
    // With time enough the registry would let the push finish, and nothing would be tested.
    world.kubectl(&[&["delete", "--grace-period=1"], REGISTRY_PODS.as_slice()].concat())?;
    let ended = push.0.try_wait()?;
    ensure!(
        ended.is_none(),
        "the push ended ({ended:?}) before the pod did:\n{}",
        said()
    );

    let status = command::wait_for(&mut push.0, LONG)?;
    ensure!(
        status.is_some_and(|s| s.success()),
        "{status:?}:\n{}",
        said()
    );
    ensure!(
        said().contains("Retrying in"),
        "docker was not even cut off:\n{}",
        said()
    );
    let after = registry_pods(world)?;
    ensure!(
        before.is_disjoint(&after),
        "the pod was not replaced: {before:?}, {after:?}"
    );
    what_is_stored_is_whole(world, "big", &world.pushed(&image)?)?;
    what_comes_back_is_the_same(world, &image)
}

/// Reads everything of the big image from the registry and hashes it.
pub(crate) fn what_is_stored_is_whole(world: &World, repository: &str, digest: &str) -> Result<()> {
    let get = |path: &str| {
        let mut answers = world.get_everywhere(path)?;
        let answer = answers.swap_remove(0);
        ensure!(answer.status == 200, "{} to {path}", answer.status);
        Ok(answer.body)
    };
    let manifest = get(&format!("/v2/{repository}/manifests/{digest}"))?;
    ensure!(
        sha256(&manifest) == digest,
        "another manifest than {digest}"
    );
    let manifest: Value = serde_json::from_slice(&manifest)?;
    let layers = manifest["layers"].as_array().context("no layers")?;
    for descriptor in layers.iter().chain([&manifest["config"]]) {
        let digest = descriptor["digest"].as_str().context("no digest")?;
        let blob = get(&format!("/v2/{repository}/blobs/{digest}"))?;
        ensure!(sha256(&blob) == digest, "{digest} is corrupt");
    }
    Ok(())
}

/// Forgets the big image on the host, pulls it, and compares the file in it with the one that it
/// was made from.
fn what_comes_back_is_the_same(world: &World, image: &str) -> Result<()> {
    world.docker(&["image", "rm", image])?;
    world.docker(&["pull", image])?;
    let container = world.cluster.container("pulled");
    world.docker(&["create", "--name", &container, image])?;
    let pulled = world.cluster.dir().join("pulled");
    world.docker(&[
        "cp",
        &format!("{container}:/big"),
        &pulled.display().to_string(),
    ])?;
    world.docker(&["rm", &container])?;
    ensure!(
        is_same(&world.big_file(), &pulled)?,
        "{image} came back changed"
    );
    std::fs::remove_file(pulled)?;
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> Result<bool> {
    let (mut one, mut other) = (std::fs::File::open(one)?, std::fs::File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let length = one.read(&mut here)?;
        if length == 0 {
            return Ok(true);
        }
        other.read_exact(&mut there[..length])?;
        if here[..length] != there[..length] {
            return Ok(false);
        }
    }
}

/// Bytes of uploads that have begun and not ended.
pub(crate) fn open_uploads(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)?.flatten() {
        // What ends while it is looked at counts no more.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += match metadata.is_dir() {
            true => open_uploads(&entry.path()).unwrap_or(0),
            false => metadata.len(),
        };
    }
    Ok(bytes)
}

pub(crate) fn registry_pods(world: &World) -> Result<BTreeSet<String>> {
    let pods = world.get(&REGISTRY_PODS)?;
    let pods = pods["items"].as_array().context("no pods")?;
    let uids = pods
        .iter()
        .filter_map(|pod| pod["metadata"]["uid"].as_str());
    let uids: BTreeSet<_> = uids.map(str::to_owned).collect();
    ensure!(!uids.is_empty(), "no pod of the registry");
    Ok(uids)
}

/// A program that does not outlive the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}
