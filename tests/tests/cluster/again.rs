//! `wharf up` on a cluster that is up.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::command;

use crate::restart::Running;
use crate::world::{LONG, PATIENCE, World, start, until};

/// What wharf is known to install; whatever else carries its label is looked at as well.
const KNOWN: [&str; 6] = [
    "Namespace /wharf-system",
    "Deployment wharf-system/registry",
    "Service wharf-system/registry",
    "DaemonSet wharf-system/relay",
    "ConfigMap wharf-system/environment",
    "ConfigMap kube-public/local-registry-hosting",
];

/// As the README says it.
pub(crate) fn the_operator_is_heard(world: &World) -> Result<()> {
    let exec = [
        "--namespace",
        "wharf-system",
        "exec",
        "deploy/registry",
        "--",
    ];
    let wharf = ["/wharf", "gc", "--dry-run", "--data", "/data"];
    let said = world.kubectl(&[&exec[..], &wharf[..]].concat())?;
    ensure!(said.contains("that nothing needs"), "{said}");
    Ok(())
}

pub(crate) fn nothing_changes(world: &World) -> Result<()> {
    // What Kubernetes itself still writes down about the first `up` is no change of the second.
    let mut before = versions(world)?;
    until("the cluster came to rest", || {
        let now = versions(world)?;
        Ok(std::mem::replace(&mut before, now) == before)
    })?;
    for known in KNOWN {
        ensure!(before.contains_key(known), "no {known} in {before:?}");
    }
    let kubeconfig = || std::fs::read(world.cluster.dir().join("kubeconfig"));
    let contexts = kubeconfig()?;
    let events = world.start_up()?.succeeds()?;
    let after = versions(world)?;
    ensure!(before == after, "before {before:#?}\nafter {after:#?}");
    ensure!(kubeconfig()? == contexts, "the kubeconfig changed");
    let proved = events.iter().any(|event| {
        event["name"]
            .as_str()
            .is_some_and(|n| n.starts_with("Prove"))
    });
    ensure!(!proved, "what is proved was proved again: {events:?}");
    // Nor does one that is told nothing but the cluster's name.
    command::output(&mut world.wharf(&["up"])?, LONG)?;
    ensure!(
        versions(world)? == after,
        "`wharf up` without flags changed something"
    );
    Ok(())
}

/// The version of everything that carries wharf's label, by kind, namespace and name.
fn versions(world: &World) -> Result<BTreeMap<String, String>> {
    let kinds = world.kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
    let kinds: Vec<_> = kinds.lines().collect();
    let labelled = [
        "--all-namespaces",
        "--selector",
        "app.kubernetes.io/part-of=wharf",
    ];
    let list = world.get(&[&[kinds.join(",").as_str()], labelled.as_slice()].concat())?;
    let mut versions = BTreeMap::new();
    for object in list["items"].as_array().context("no list")? {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = format!("{kind} {}/{}", text("namespace"), text("name"));
        versions.insert(name, text("resourceVersion").to_owned());
    }
    Ok(versions)
}

/// Takes away what others could, and lets `up` put it right.
pub(crate) fn what_is_broken_is_repaired(world: &World) -> Result<()> {
    let watched = world.cluster.dir().join("watched");
    let mut watch = world.wharf(&["status", "--watch", "--output", "json"])?;
    let _watch = Running(start(&mut watch, &watched)?);
    let is_seen = |is_well: bool| {
        until("the watch says how it is", || {
            let said = std::fs::read_to_string(&watched)?;
            let last = said
                .lines()
                .last()
                .and_then(|line| serde_json::from_str(line).ok());
            let last: Value = last.unwrap_or_default();
            let checks = last["result"]["checks"].as_array();
            let well = |checks: &Vec<Value>| checks.iter().all(|check| check["problem"].is_null());
            Ok(checks.map(well) == Some(is_well))
        })
    };
    is_seen(true)?;
    let nodes = world.nodes()?;
    let worker = nodes.last().context("no nodes")?;
    let hosts = format!(
        "/etc/containerd/certs.d/localhost:{}/hosts.toml",
        world.port
    );
    world.docker(&["exec", worker, "rm", &hosts])?;
    world.kubectl(&[
        "delete",
        "--namespace=wharf-system",
        "daemonset/relay",
        "service/registry",
    ])?;
    let map = [
        "--namespace=kube-public",
        "configmap/local-registry-hosting",
    ];
    world.kubectl(&[&["delete"], map.as_slice()].concat())?;
    let status = command::finish(&mut world.wharf(&["status"])?, PATIENCE)?;
    ensure!(
        status.status.code() == Some(7) && status.stdout.contains(&format!("relay on {worker}")),
        "`wharf status` finds that well: {status:?}"
    );
    is_seen(false)?;

    world.start_up()?.succeeds()?;
    command::output(&mut world.wharf(&["status"])?, PATIENCE)?;
    world.docker(&["exec", worker, "test", "-s", &hosts])?;
    world.kubectl(&[&["get"], map.as_slice()].concat())?;
    is_seen(true)
}
