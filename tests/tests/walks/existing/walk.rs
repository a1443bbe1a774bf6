//! The steps, in order.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use wharf_tests::command;
use wharf_tests::example;
use wharf_tests::localhost::is_free;
use wharf_tests::talk::until;
use wharf_tests::walk::until_well;

use super::world::{LONG, World};

/// Where containerd looks for what a registry's name means.
const HOSTS: &str = "/etc/containerd/certs.d";
/// A directory of a node.
const DIRECTORY: &str = "/var/wharf-test-images";

pub(crate) fn needs_an_image(world: &World) -> Result<()> {
    let said = world.refused(&["up"], 2)?;
    let why = "is of no cluster that kind or minikube has here";
    ensure!(said.contains("--image") && said.contains(why), "{said}");
    // Nor by a name that nobody has.
    let mut unknown = world.wharf(&["up", "--image=x:1"])?;
    let unknown = command::finish(unknown.env("WHARF_CONTEXT", "nobody"), LONG)?;
    let is_named = unknown.stderr.contains("has no context nobody")
        && unknown.stderr.contains(&world.cluster.context());
    ensure!(unknown.status.code() == Some(5) && is_named, "{unknown:?}");
    ensure!(world.namespaces_now()? == world.namespaces);
    let said = world.refused(&["status"], 5)?;
    ensure!(said.contains("not in the cluster of context"), "{said}");
    Ok(())
}

pub(crate) fn brought_up(world: &World) -> Result<()> {
    let image = world.own_image();
    let plan = world.said(&["up", "--dry-run", "--image", &image])?.stdout;
    for part in [
        "2 nodes",
        "claim wharf-system/data",
        "Forward localhost:5000",
    ] {
        ensure!(plan.contains(part), "no {part} in {plan}");
    }
    ensure!(
        world.namespaces_now()? == world.namespaces,
        "it was no dry run"
    );
    let before = containerd(world)?;
    world.up(&[])?;
    ensure!(
        containerd(world)? == before,
        "containerd was told something"
    );
    ensure!(example::get(world.port, "/")? == 200);
    let hosting = example::hosting(&world.cluster)?;
    let host = format!("host: \"localhost:{}\"", world.port);
    ensure!(hosting.contains(&host), "{hosting}");
    let folder = format!("{HOSTS}/localhost:{}", world.port);
    for node in world.cluster.nodes()? {
        let told = world.on_node(&node, &folder)?;
        ensure!(told == "hosts.toml\n", "{node}: {told}");
    }
    let status = world.said(&["status", "--output=json"])?.stdout;
    for part in ["\"storage\":\"pvc\"", "forward from localhost"] {
        ensure!(status.contains(part), "no {part} in {status}");
    }
    let env = world.said(&["env", "--shell=sh"])?.stdout;
    let registry = format!("export KO_DOCKER_REPO='localhost:{}'", world.port);
    ensure!(env.contains(&registry) && !env.contains("KIND"), "{env}");
    Ok(())
}

/// containerd's configuration, on each node.
fn containerd(world: &World) -> Result<Vec<String>> {
    let nodes = world.cluster.nodes()?;
    let hash = |node: &String| {
        let hash = ["exec", node, "sha256sum", "/etc/containerd/config.toml"];
        world.cluster.docker(&hash)
    };
    nodes.iter().map(hash).collect()
}

pub(crate) fn pushed_and_pulled(world: &World) -> Result<()> {
    example::push(&world.cluster, &world.image())?;
    everywhere(world)
}

/// Runs the example on every node, the control plane's as well, as the registry has it.
fn everywhere(world: &World) -> Result<()> {
    let cluster = &world.cluster;
    cluster.apply(&example::everywhere(&world.image()))?;
    let set = "daemonset/everywhere";
    cluster.kubectl(&["rollout", "status", set, "--timeout=180s"])?;
    let ready = "--output=jsonpath={.status.numberReady}";
    let ready = cluster.kubectl(&["get", set, ready])?;
    ensure!(ready == "2", "{ready} nodes run it");
    cluster.kubectl(&["delete", set]).map(drop)
}

pub(crate) fn nothing_changes(world: &World) -> Result<()> {
    let look = || -> Result<_> { Ok((world.objects()?, world.forward()?["pid"].clone())) };
    let before = look()?;
    // Neither the image nor the port need be said again, nor even the context, where the name is.
    let mut up = world.wharf(&["up", "--name", &world.name()])?;
    command::output(up.env_remove("WHARF_CONTEXT"), LONG)?;
    let after = look()?;
    ensure!(before == after, "{before:?}\n{after:?}");
    Ok(())
}

pub(crate) fn differences(world: &World) -> Result<()> {
    for (flags, words) in [
        (&["--storage=emptydir"][..], "not in emptydir"),
        (&["--storage=host:/srv/images"], "not in host:/srv/images"),
        (&["--port=5359"], "not 5359"),
    ] {
        let said = world.refused(&[&["up"], flags].concat(), 6)?;
        ensure!(said.contains(words), "{flags:?}: {said}");
    }
    world.said(&["up", "--storage=pvc"]).map(drop)
}

/// Somebody else changes what runs, and what the cluster says: that is said, and put right.
pub(crate) fn drifted(world: &World) -> Result<()> {
    let scale = [
        "scale",
        "deployment/registry",
        "--replicas=1",
        "--namespace=wharf-system",
    ];
    world.cluster.kubectl(&scale)?;
    world.said(&["status"])?;
    let change = r#"[{"op": "add", "path": "/spec/template/spec/tolerations", "value": []}]"#;
    let patch = [
        "patch",
        "daemonset/relay",
        "--namespace=wharf-system",
        "--type=json",
    ];
    world
        .cluster
        .kubectl(&[&patch[..], &["--patch", change]].concat())?;
    let hosting = [
        "configmap",
        "local-registry-hosting",
        "--namespace=kube-public",
    ];
    world
        .cluster
        .kubectl(&[&["delete"], &hosting[..]].concat())?;
    let said = world.refused(&["status"], 7)?;
    for words in [
        "somebody has changed it since",
        "it does not name this registry",
    ] {
        ensure!(said.contains(words), "{said}");
    }
    world.said(&["up"])?;
    world.said(&["status"]).map(drop)
}

pub(crate) fn forward_killed(world: &World) -> Result<()> {
    let pid = world.forward()?["pid"].as_i64().context("no pid")?;
    let process = Pid::from_raw(i32::try_from(pid)?).context("no process")?;
    kill_process(process, Signal::KILL)?;
    until(LONG, &true, || Ok(is_free(world.port)))?;
    let said = world.refused(&["status"], 7)?;
    ensure!(said.contains("it does not run: `wharf up`"), "{said}");
    world.said(&["up"])?;
    world.said(&["status"])?;
    ensure!(world.forward()?["pid"] != pid, "it is the same");
    ensure!(example::get(world.port, "/")? == 200);
    Ok(())
}

pub(crate) fn pod_replaced(world: &World) -> Result<()> {
    let pod = "--selector=app.kubernetes.io/component=registry";
    world
        .cluster
        .kubectl(&["delete", "pod", "--namespace=wharf-system", pod])?;
    // Who asks meanwhile is held until there is another.
    ensure!(example::get(world.port, "/")? == 200);
    until_well(|| world.wharf(&["status"]))?;
    everywhere(world)
}

/// Another machine, or a lost home: the cluster says whose it is and how it was brought up.
pub(crate) fn without_a_home(world: &World) -> Result<()> {
    let home = world.cluster.dir().join("another");
    let mut status = world.wharf(&["up", "--dry-run", "--output=json"])?;
    let said = command::output(status.env("XDG_STATE_HOME", &home), LONG)?;
    let image = format!("\"image\":\"{}\"", world.own_image());
    let port = format!("\"port\":{}", world.port);
    for part in [&image, &port, "\"storage\":\"pvc\"", "\"adopted\":true"] {
        ensure!(said.contains(part), "no {part} in {said}");
    }
    ensure!(
        !said.contains("\"adopt\""),
        "it would be adopted again: {said}"
    );
    // Where its nodes can be reached, it is not taken for one that was brought up from there.
    let refused = command::finish(
        world
            .cluster
            .wharf(&["up", "--adopt"])?
            .env("XDG_STATE_HOME", &home),
        LONG,
    )?;
    let is_told = refused.stderr.contains("--provider existing --context");
    ensure!(refused.status.code() == Some(6) && is_told, "{refused:?}");
    Ok(())
}

pub(crate) fn left(world: &World) -> Result<()> {
    let said = world.said(&["down"])?.stdout;
    ensure!(said.contains("claim wharf-system/data"), "{said}");
    let hosting = example::hosting(&world.cluster)?;
    ensure!(
        hosting.contains("help:") && !hosting.contains("host"),
        "it still says that there is a registry: {hosting}"
    );
    let kinds = "pods,deployments,daemonsets,services,persistentvolumeclaims";
    let names = ["--namespace=wharf-system", "--output=name"];
    let left = world
        .cluster
        .kubectl(&[&["get", kinds], &names[..]].concat())?;
    ensure!(left == "persistentvolumeclaim/data\n", "{left}");
    nothing_on_nodes(world)?;
    ensure!(is_free(world.port), "something listens at its port");
    let said = world.said(&["down"])?.stdout;
    ensure!(said.contains("kept in a volume"), "{said}");
    world.refused(&["status"], 5).map(drop)
}

fn nothing_on_nodes(world: &World) -> Result<()> {
    for node in world.cluster.nodes()? {
        let told = world.on_node(&node, HOSTS)?;
        ensure!(!told.contains("localhost"), "{node}: {told}");
    }
    Ok(())
}

pub(crate) fn images_again(world: &World) -> Result<()> {
    // Neither image nor port: they are what they were.
    world.said(&["up"])?;
    everywhere(world)
}

pub(crate) fn purged(world: &World) -> Result<()> {
    let said = world.said(&["down", "--purge"])?.stdout;
    ensure!(said.contains("and so are its images"), "{said}");
    is_as_before(world)
}

/// Nothing is left: no objects, no files on the nodes or here, nobody who forwards.
fn is_as_before(world: &World) -> Result<()> {
    ensure!(world.namespaces_now()? == world.namespaces);
    let hosting = ["configmap", "local-registry-hosting", "--ignore-not-found"];
    let left = [&["get", "--namespace=kube-public"], &hosting[..]].concat();
    let left = world.cluster.kubectl(&left)?;
    ensure!(left.is_empty(), "{left}");
    nothing_on_nodes(world)?;
    ensure!(is_free(world.port), "something listens at its port");
    let files = world.files()?;
    ensure!(files.is_empty(), "{files:?}");
    Ok(())
}

pub(crate) fn on_a_node(world: &World) -> Result<()> {
    let storage = format!("--storage=host:{DIRECTORY}");
    world.up(&[&storage])?;
    let nodes = world.cluster.nodes()?;
    let there = world.on_node(&nodes[0], DIRECTORY)?;
    ensure!(there.contains("wharf.lock"), "{there}");
    ensure!(world.on_node(&nodes[1], DIRECTORY)?.is_empty());
    let status = world.said(&["status"])?.stdout;
    let place = format!("images in {DIRECTORY} of node {}", nodes[0]);
    ensure!(status.contains(&place), "{status}");
    let said = world.said(&["down"])?.stdout;
    ensure!(said.contains(DIRECTORY), "{said}");
    ensure!(world.namespaces_now()? == world.namespaces);
    let there = world.on_node(&nodes[0], DIRECTORY)?;
    ensure!(there.contains("wharf.lock"), "{there}");
    world.said(&["down", "--purge"])?;
    let left = world.on_node(&nodes[0], "/var")?;
    ensure!(!left.contains("wharf-test-images"), "{left}");
    is_as_before(world)
}

pub(crate) fn in_the_pod_alone(world: &World) -> Result<()> {
    world.up(&["--storage=emptydir"])?;
    let status = world.said(&["status"])?.stdout;
    ensure!(status.contains("the registry's pod alone"), "{status}");
    example::push(&world.cluster, &world.image())?;
    everywhere(world)?;
    let said = world.said(&["down"])?.stdout;
    ensure!(said.contains("and so are its images"), "{said}");
    ensure!(world.namespaces_now()? == world.namespaces);
    // Nobody remembers it; what it left for those who look for a registry goes all the same.
    world.said(&["down", "--purge"])?;
    is_as_before(world)
}

pub(crate) fn nothing_there(world: &World) -> Result<()> {
    for flags in [&["down"][..], &["down", "--purge"]] {
        let said = world.said(flags)?.stdout;
        ensure!(said.contains("no registry of wharf's"), "{said}");
        let files = world.files()?;
        ensure!(files.is_empty(), "{files:?}");
    }
    let said = world.refused(&["down", "--delete-cluster"], 2)?;
    ensure!(said.contains("cannot delete it"), "{said}");
    Ok(())
}
