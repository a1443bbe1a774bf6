//! The container file: on its own it is a registry, and in a cluster what the manifests make of it.

use std::net::SocketAddr;
use std::sync::PoisonError;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::bed::{Bed, Cluster, Tool};
use wharf_tests::by_hand::build;
use wharf_tests::http::Connection;
use wharf_tests::talk::{self, until};

use crate::{ENGINE, LONG};

/// What an image is run with, as docker has it.
pub(crate) fn settings(cluster: &Cluster, image: &str) -> Result<Value> {
    let inspected = cluster.docker(&["image", "inspect", "--format", "{{json .Config}}", image])?;
    let mut settings: Value = serde_json::from_str(&inspected)?;
    let fields = settings.as_object_mut().context("no settings")?;
    // What older engines write down of what nobody said.
    fields.retain(|_, value| !matches!(value, Value::Null | Value::Bool(false)) && *value != "");
    Ok(settings)
}

#[test]
fn it_serves_what_was_pushed_and_keeps_it() -> Result<()> {
    let _running = ENGINE.read().unwrap_or_else(PoisonError::into_inner);
    let bed = Bed::ensure_with(&[Tool::Kubectl])?;
    // No cluster is made; its name is that of the container, which goes with it.
    let cluster = Cluster::reserve(&bed, "container")?;
    let (image, name) = ("wharf-test-container", cluster.container("registry"));
    build(&cluster, image)?;
    // Nothing but its volume can be written to.
    let run = ["run", "--detach", "--name", &name, "--read-only"];
    let bounds = ["--cap-drop", "ALL", "--publish", "127.0.0.1::5000", image];
    cluster.docker(&[&run[..], &bounds].concat())?;
    let address = address(&cluster, &name)?;
    let pushed = format!("{address}/wharf:1");
    cluster.docker(&["tag", image, &pushed])?;
    cluster.docker(&["push", &pushed])?;
    let user = cluster.docker(&["top", &name, "-o", "pid,uid"])?;
    ensure!(user.trim_end().ends_with(" 65532"), "{user}");
    let page = talk::get("/v2/").header("Host", "pages.example.com");
    talk::refuse(&mut Connection::open(address)?, 403, "DENIED", page)?;

    cluster.docker(&["image", "rm", &pushed])?;
    cluster.docker(&["restart", &name])?;
    let again = format!("{}/wharf:1", self::address(&cluster, &name)?);
    cluster.docker(&["pull", &again])?;
    let (one, other) = (settings(&cluster, image)?, settings(&cluster, &again)?);
    ensure!(one == other, "{one} {other}");
    // The operator need not say where the images are.
    cluster.docker(&["exec", &name, "/wharf", "gc", "--dry-run"])?;
    cluster.docker(&["image", "rm", "--force", image, &again])?;
    Ok(())
}

/// Where the container's port is published, once it answers there.
fn address(cluster: &Cluster, name: &str) -> Result<SocketAddr> {
    let published = cluster.docker(&["port", name, "5000/tcp"])?;
    let address = published.lines().next().context("no port")?.parse()?;
    let get = || -> Result<u16> {
        let answer = Connection::open(address)?.send(talk::get("/"))?;
        Ok(answer.status)
    };
    until(LONG, &200, || Ok(get().unwrap_or(0)))?;
    Ok(address)
}
