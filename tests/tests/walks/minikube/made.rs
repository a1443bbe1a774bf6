//! A cluster that wharf makes with minikube.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use wharf_tests::command::say;
use wharf_tests::{example, is_long};

use super::world::World;

pub(crate) fn made(world: &World) -> Result<()> {
    let (port, data) = (world.port.to_string(), world.data().display().to_string());
    let wrong = ["up", "--provider=minikube", "--", "--driver=kvm2"];
    let said = world.refused(&wrong, 2)?;
    ensure!(said.contains("docker driver"), "{said}");
    let up = [
        "up",
        "--provider=minikube",
        "--port",
        &port,
        "--data",
        &data,
    ];
    let more = ["--", "--disk-size=9000mb"];
    world.wharf(&[&up[..], &more, world.arguments()].concat())?;
    let profile = world.minikube(&["profile", "list", "--output=json"])?;
    ensure!(
        profile.contains(r#""ContainerRuntime":"containerd""#)
            && profile.contains(r#""DiskSize":9000"#)
            && profile.contains(&data),
        "{profile}"
    );
    let hosting = example::hosting(&world.cluster)?;
    ensure!(
        hosting.contains(&format!("host: \"localhost:{port}\"")),
        "{hosting}"
    );
    let status = world.wharf(&["status"])?;
    let context = format!("context {}", world.cluster.context());
    ensure!(status.stdout.contains(&context), "{status:?}");
    let env = world.wharf(&["env", "--shell=sh"])?.stdout;
    let named = format!("MINIKUBE_PROFILE='{}'", world.cluster.name());
    ensure!(env.contains(&named), "{env}");
    let other = world.refused(&["up", "--provider=kind"], 6)?;
    ensure!(other.contains("is one of minikube"), "{other}");
    Ok(())
}

pub(crate) fn pushed_and_pulled(world: &World) -> Result<()> {
    example::push(&world.cluster, &world.image())?;
    world.run("pushed")
}

/// Nothing of the cluster is said again, not even what made it.
pub(crate) fn nothing_changes(world: &World) -> Result<()> {
    let look = || -> Result<_> {
        let (door, node) = (world.cluster.container("wharf"), world.cluster.name());
        let format = "{{.Id}} {{.State.StartedAt}}";
        let inspected = ["container", "inspect", "--format", format, &door, node];
        let objects = world.cluster.generations()?;
        let kubeconfig = std::fs::read(world.cluster.dir().join("kubeconfig"))?;
        Ok((world.cluster.docker(&inspected)?, objects, kubeconfig))
    };
    let before = look()?;
    let said = world.wharf(&["up"])?;
    ensure!(said.stderr.contains("Using minikube"), "{said:?}");
    ensure!(
        !said.stderr.contains("Prove it"),
        "it was proved again: {said:?}"
    );
    ensure!(before == look()?, "something changed");
    Ok(())
}

/// As minikube's registry add-on takes port 5000: no program listens, and all the same the port leads elsewhere.
pub(crate) fn taken(world: &World) -> Result<()> {
    let labels = json!({"kubernetes.io/minikube-addons": "registry", "app": "proxy"});
    let image = world.cluster.kubectl(&[
        "get",
        "daemonset/relay",
        "--namespace=wharf-system",
        "--output=jsonpath={.spec.template.spec.containers[0].image}",
    ])?;
    let proxy = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "registry-proxy", "namespace": "kube-system", "labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "proxy",
                "image": image,
                "args": ["relay", "--port=80", "--to=127.0.0.1:1"],
                "ports": [{"containerPort": 80, "hostPort": world.port}],
            }],
        },
    });
    let file = world.cluster.dir().join("proxy.json");
    std::fs::write(&file, proxy.to_string())?;
    let file = file.display().to_string();
    world.cluster.kubectl(&["apply", "--filename", &file])?;
    let name = world.cluster.name();
    let remedy = format!("`minikube -p {name} addons disable registry`");
    for (arguments, code) in [
        (&["up"][..], 6),
        (&["up", "--dry-run"], 6),
        (&["status"], 7),
    ] {
        let said = world.refused(arguments, code)?;
        ensure!(said.contains(&remedy), "{arguments:?}: {said}");
    }
    world.cluster.kubectl(&["delete", "--filename", &file])?;
    world.wharf(&["up"])?;
    Ok(())
}

pub(crate) fn node_added(world: &World) -> Result<()> {
    world.minikube(&["node", "add"])?;
    let nodes = world.cluster.nodes()?;
    let second = nodes.get(1).context("no node was added")?;
    world.wharf(&["up"])?;
    let overrides = json!({"spec": {"nodeName": second}}).to_string();
    let (image, overrides) = (
        format!("--image={}", world.image()),
        format!("--overrides={overrides}"),
    );
    let run = [
        "run",
        "second",
        &image,
        "--image-pull-policy=Always",
        &overrides,
    ];
    world.cluster.kubectl(&run)?;
    let wait = [
        "wait",
        "--for=condition=Ready",
        "pod/second",
        "--timeout=120s",
    ];
    world.cluster.kubectl(&wait)?;
    world.wharf(&["status"])?;
    Ok(())
}

pub(crate) fn stopped(world: &World) -> Result<()> {
    world.minikube(&["stop"])?;
    let said = world.refused(&["status"], 7)?;
    ensure!(said.contains("`wharf up` starts it"), "{said}");
    world.wharf(&["up"])?;
    // Nobody pushes it again.
    world.run("restarted")?;
    world.comes_to_work()
}

/// The door is still there, and leads nowhere. In the long run alone: a whole cluster is made for it.
pub(crate) fn deleted(world: &World) -> Result<()> {
    if !is_long() {
        say("minikube: its cluster is deleted with WHARF_LONG=1");
        return Ok(());
    }
    world.minikube(&["delete"])?;
    world.wharf(&["up", "--port", &world.port.to_string()])?;
    world.run("anew")?;
    world.wharf(&["status"])?;
    Ok(())
}

pub(crate) fn down(world: &World) -> Result<()> {
    world.wharf(&["down"])?;
    let (traces, profiles) = (world.traces()?, world.profiles()?);
    ensure!(
        traces.is_empty() && profiles.is_empty(),
        "{traces:?} {profiles:?}"
    );
    let blobs = std::fs::read_dir(world.data().join("blobs"))?.count();
    ensure!(blobs > 0, "the images are gone");
    world.wharf(&["down", "--purge"])?;
    ensure!(!world.data().exists(), "{} is left", world.data().display());
    let said = world.refused(&["status", "--provider=minikube"], 5)?;
    ensure!(said.contains("no cluster"), "{said}");
    Ok(())
}
