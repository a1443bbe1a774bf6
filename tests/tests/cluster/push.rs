//! From `docker push` to a pod on every node.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::command;
use wharf_tests::example;

use crate::world::{LONG, World};

pub(crate) fn everybody_reaches_it(world: &World) -> Result<()> {
    for answer in world.get_everywhere("/")? {
        ensure!(answer.status == 200, "{answer:?}");
    }
    let url = format!("http://localhost:{}/", world.port);
    for node in world.nodes()? {
        let curl = [
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--write-out",
            "%{http_code}",
        ];
        let asked = [
            &["exec", &node],
            curl.as_slice(),
            &["--output", "/dev/null", &url],
        ]
        .concat();
        let status = world.docker(&asked)?;
        ensure!(status == "200", "{status} on {node}");
    }
    let status = command::output(&mut world.wharf(&["status", "--output", "json"])?, LONG)?;
    let status: Value = serde_json::from_str(&status)?;
    let checks = status["result"]["checks"].as_array().context("no checks")?;
    ensure!(
        checks.len() > 4 && checks.iter().all(|check| check["problem"].is_null()),
        "{status}"
    );
    let yaml = command::output(&mut world.wharf(&["status", "--output", "yaml"])?, LONG)?;
    let line = format!("registry: localhost:{}", world.port);
    ensure!(
        yaml.starts_with("---\n") && yaml.lines().any(|said| said == line),
        "no `{line}` in\n{yaml}"
    );
    Ok(())
}

pub(crate) fn it_is_told(world: &World) -> Result<()> {
    let hosting = example::hosting(&world.cluster)?;
    let registry = world.image("");
    let registry = registry.trim_end_matches('/');
    for field in ["host", "hostFromContainerRuntime"] {
        let line = format!("{field}: \"{registry}\"");
        ensure!(
            hosting.lines().any(|said| said == line),
            "no `{line}` in\n{hosting}"
        );
    }
    let env = command::output(&mut world.wharf(&["env", "--shell", "sh"])?, LONG)?;
    let line = format!("export KO_DOCKER_REPO='{registry}'");
    ensure!(
        env.lines().any(|said| said == line),
        "no `{line}` in\n{env}"
    );
    for node in world.nodes()? {
        let file = format!("/etc/containerd/certs.d/{registry}/hosts.toml");
        let hosts = world.docker(&["exec", &node, "cat", &file])?;
        let relay = format!("[host.\"http://127.0.0.1:{}\"]", world.port);
        ensure!(
            hosts.lines().any(|said| said == relay),
            "no `{relay}` on {node}:\n{hosts}"
        );
    }
    Ok(())
}

/// Pushes the example and runs it on each node. The pods stay: from them, other steps look around.
pub(crate) fn every_kubelet_pulls(world: &World) -> Result<()> {
    let image = world.image("python-server");
    world.docker(&["push", &image])?;
    let digest = world.pushed(&image)?;
    world.apply(&example::everywhere(&image))?;
    world.kubectl(&[
        "rollout",
        "status",
        "daemonset/everywhere",
        "--timeout=180s",
    ])?;

    let pods = world.get(&["pods", "--selector", "app=everywhere"])?;
    let pods = pods["items"].as_array().context("no pods")?;
    let mut nodes = BTreeSet::new();
    for pod in pods {
        nodes.insert(
            pod["spec"]["nodeName"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
        let status = &pod["status"]["containerStatuses"][0];
        let is_pushed = status["imageID"] == format!("{image}@{digest}");
        ensure!(
            is_pushed && status["ready"] == true,
            "not from {digest}: {status}"
        );
        // Nobody but the kubelet says so, and only of an image that it has just pulled.
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let of_it = format!("reason=Pulled,involvedObject.name={name}");
        let events = world.get(&["events", "--field-selector", &of_it])?;
        let said = events["items"][0]["message"].as_str().unwrap_or_default();
        ensure!(
            said.starts_with(&format!("Successfully pulled image \"{image}\"")),
            "{said}"
        );
    }
    let all: BTreeSet<_> = world.nodes()?.into_iter().collect();
    ensure!(
        nodes == all && pods.len() == 2,
        "pods on {nodes:?} of {all:?}"
    );
    Ok(())
}
