//! `wharf down`, and what comes after.

use std::path::Path;

use anyhow::{Result, ensure};
use wharf_tests::command::{self, Output};

use crate::up::Up;
use crate::world::{LONG, World};

pub(crate) fn down_keeps_the_images(world: &World) -> Result<()> {
    let before = files(&world.data().join("blobs"))?;
    let said = down(world, &[])?;
    let data = world.data();
    ensure!(
        said.stdout.contains(&data.display().to_string()),
        "it does not say where: {said:?}"
    );
    ensure!(world.nodes()?.is_empty(), "nodes are left");
    let contexts = world
        .cluster
        .command("kubectl")
        .args(["config", "get-contexts", "--output=name"])
        .output()?;
    ensure!(
        contexts.status.success() && contexts.stdout.is_empty(),
        "{contexts:?}"
    );
    let after = files(&data.join("blobs"))?;
    ensure!(
        before == after && !after.is_empty(),
        "before {before:?}\nafter {after:?}"
    );
    let status = command::finish(&mut world.wharf(&["status"])?, LONG)?;
    ensure!(status.status.code() == Some(5), "{status:?}");
    Ok(())
}

pub(crate) fn up_has_them_again(world: &World) -> Result<()> {
    Up::start(world)?.succeeds()?;
    // Docker on the host pushes nothing: what the new nodes pull is what the former cluster left.
    let image = world.image("python-server");
    world.kubectl(&[
        "run",
        "again",
        &format!("--image={image}"),
        "--image-pull-policy=Always",
    ])?;
    world.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod/again",
        "--timeout=120s",
    ])?;
    let pod = world.get(&["pod", "again"])?;
    let pulled = &pod["status"]["containerStatuses"][0]["imageID"];
    let pushed = format!("{image}@{}", world.pushed(&image)?);
    ensure!(*pulled == pushed, "{pulled} instead of {pushed}");
    Ok(())
}

pub(crate) fn purge_deletes_them(world: &World) -> Result<()> {
    down(world, &["--purge"])?;
    ensure!(world.nodes()?.is_empty(), "nodes are left");
    ensure!(!world.data().exists(), "{} is left", world.data().display());
    let forwards = world.cluster.dir().join("state/wharf/forwards");
    let left = std::fs::read_dir(forwards)?.count();
    ensure!(left == 0, "a forward into nowhere is left");
    Ok(())
}

pub(crate) fn down_again(world: &World) -> Result<()> {
    for flags in [[].as_slice(), &["--purge"]] {
        let said = down(world, flags)?;
        ensure!(said.stdout.contains("There is no cluster"), "{said:?}");
    }
    Ok(())
}

fn down(world: &World, flags: &[&str]) -> Result<Output> {
    let output = command::finish(world.wharf(&["down"])?.args(flags), LONG)?;
    ensure!(output.status.success(), "{output:?}");
    Ok(output)
}

/// All files below a folder, with their lengths.
fn files(folder: &Path) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push((entry.path().display().to_string(), metadata.len()));
        }
    }
    found.sort();
    Ok(found)
}
