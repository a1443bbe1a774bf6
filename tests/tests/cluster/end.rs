//! `wharf down`, and what comes after.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use wharf_tests::command::{self, Output};
use wharf_tests::localhost;
use wharf_tests::traces;

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
    world.start_up()?.succeeds()?;
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

/// Whatever there was of it: a forward runs in the background.
pub(crate) fn purge_deletes_them(world: &World) -> Result<()> {
    let volumes = traces::volumes(&world.cluster)?;
    let before = traces::traces(&world.cluster)?;
    for what in ["ps: ", "get-contexts: ", "get-users: ", "process "] {
        let is_there = before.iter().any(|trace| trace.starts_with(what));
        ensure!(is_there, "no {what}in {before:?}");
    }
    ensure!(!volumes.is_empty() && !traces::files_of(&world.cluster)?.is_empty());
    down(world, &["--purge"])?;
    ensure!(!world.data().exists(), "{} is left", world.data().display());
    let left = traces::traces(&world.cluster)?;
    let volumes = traces::left_of(&world.cluster, &volumes)?;
    let files = traces::files_of(&world.cluster)?;
    ensure!(
        left.is_empty() && volumes.is_empty() && files.is_empty(),
        "left are {left:?} {volumes:?} {files:?}"
    );
    for ip in localhost::addresses() {
        TcpListener::bind((ip, world.port)).context("the port is taken still")?;
    }
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
