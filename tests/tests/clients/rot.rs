//! A layer that rots, and the client that heals it without knowing.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::command::finish;
use wharf_tests::talk::damage;
use wharf_tests::wharf;

use crate::image::Image;
use crate::{Clients, PATIENCE};

#[test]
fn docker_push_heals_an_image_whose_layer_is_damaged() -> Result<()> {
    let clients = Clients::new()?;
    let image = Image::build(&clients, "rot")?;
    let name = clients.server.image("rot:v1");
    clients.run("docker", &["tag", &image.name, &name])?;
    clients.run("docker", &["push", &name])?;
    let manifest: Value = serde_json::from_slice(&clients.manifest("rot", "v1")?)?;
    let layer = manifest["layers"][0]["digest"]
        .as_str()
        .context("no layer")?;

    damage(&clients.server, layer)?;
    let mut scrub = Command::new(wharf::binary()?);
    wharf::without_settings(&mut scrub).args(["scrub", "--data"]);
    let found = finish(scrub.arg(clients.server.data()), PATIENCE)?;
    ensure!(found.status.code() == Some(7), "{found:?}");

    // Docker has pushed all of this before, and asks again.
    clients.run("docker", &["push", &name])?;
    clients.run("docker", &["rmi", &name])?;
    image.forget()?;
    clients.all_pull("rot", &image)?;
    Ok(())
}
