//! The action, the chart and the kustomization on a real cluster, one after the other: `wharf up` makes it, and what it installs is
//! what the others have to install. Docker Engine is restarted under it on the way.

use std::cell::OnceCell;
use std::process::Command;
use std::sync::PoisonError;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wharf_tests::bed::{Bed, Cluster, Tool};
use wharf_tests::by_hand::{build, load, make_volume};
use wharf_tests::command::{self, say};
use wharf_tests::example;
use wharf_tests::localhost::is_free;
use wharf_tests::walk::{Step, walk};
use wharf_tests::wharf;

use crate::action::Job;
use crate::container::settings;
use crate::objects::{Difference, Objects};
use crate::{DEPLOY, ENGINE, LONG};

const STEPS: [Step<World>; 7] = [
    ("the action brings up a cluster", the_action_brings_it_up),
    ("the engine may be restarted under it", the_engine_restarts),
    (
        "the container file makes the image that wharf packs",
        the_same_image,
    ),
    ("the chart installs what `up` does", the_chart),
    ("`up` leaves alone what is Helm's", what_is_helms),
    (
        "the kustomization installs what `up` does",
        the_kustomization,
    ),
    ("images outlive the registry's pod", images_outlive_the_pod),
];

/// In what a release of the chart differs from what `wharf up` makes, given the same image, port, node and directory.
const CHART: [Difference; 7] = [
    ("ConfigMap/environment", "wharf's record of its own cluster"),
    ("Namespace/wharf-system/metadata/labels/*", "Helm makes it"),
    ("*/labels/app.kubernetes.io~managed-by", WHO),
    ("*/annotations/meta.helm.sh~release-name", WHO),
    ("*/annotations/meta.helm.sh~release-namespace", WHO),
    (
        "DaemonSet/relay/spec/template/spec/containers/relay/args",
        "the Service's address is not known before, but to its pods",
    ),
    (
        "Deployment/registry/spec/template/spec/securityContext/fsGroup*",
        "a volume may have to be given to the registry's user",
    ),
];

/// In what the kustomization differs from what `wharf up` makes, as it comes.
const KUSTOMIZATION: [Difference; 14] = [
    ("ConfigMap/environment", "wharf's record of its own cluster"),
    ("PersistentVolumeClaim/data", DATA),
    (
        "Deployment/registry/spec/template/spec/volumes/data/hostPath/*",
        DATA,
    ),
    (
        "Deployment/registry/spec/template/spec/volumes/data/persistentVolumeClaim/claimName",
        DATA,
    ),
    (
        "Deployment/registry/spec/template/spec/securityContext/*",
        DATA,
    ),
    ("*/labels/app.kubernetes.io~managed-by", WHO),
    ("*/containers/registry/image", "it is not packed but built"),
    ("*/containers/relay/image", "it is not packed but built"),
    (
        "DaemonSet/relay/spec/template/spec/containers/relay/args",
        "its port, how it finds the Service, and that it tells containerd",
    ),
    ("*/containers/relay/startupProbe/exec/command", "its port"),
    ("*/containers/relay/readinessProbe/exec/command", "its port"),
    ("*/data/localRegistryHosting.v1", "its port"),
    (
        "DaemonSet/relay/spec/template/spec/containers/relay/volumeMounts/hosts/*",
        HOSTS,
    ),
    ("DaemonSet/relay/spec/template/spec/volumes/hosts/*", HOSTS),
];
const WHO: &str = "each says who manages it";
const DATA: &str = "a cluster of somebody else has no directory of the host";
const HOSTS: &str = "`up` writes it from outside";

/// A cluster of `wharf up`, and what that has put into it.
struct World {
    bed: Bed,
    cluster: Cluster,
    port: u16,
    forwarded: u16,
    made: OnceCell<Objects>,
}

#[test]
fn three_ways_to_the_same_registry() -> Result<()> {
    let bed = Bed::ensure_with(&[Tool::Kind, Tool::Kubectl, Tool::Helm])?;
    let cluster = Cluster::reserve(&bed, "deploy")?;
    let mut free = (5320..5400).filter(|port| is_free(*port));
    let mut port = || free.next().context("no port from 5320 to 5399 is free");
    let world = World {
        port: port()?,
        forwarded: port()?,
        made: OnceCell::new(),
        bed,
        cluster,
    };
    walk(&world.cluster, &world, &STEPS)
}

fn the_action_brings_it_up(world: &World) -> Result<()> {
    let dir = world.cluster.dir();
    let shell = || {
        let mut bash = world.cluster.command("bash");
        bash.env("XDG_STATE_HOME", dir.join("state"));
        bash.env("XDG_DATA_HOME", dir.join("share"));
        bash
    };
    let mut arguments = format!("--data\n{}\n", dir.join("data").display());
    if let Some(image) = world.bed.node_image() {
        arguments += &format!("--kubernetes-image\n{image}\n");
    }
    let (binary, port) = (wharf::binary()?, world.port.to_string());
    let binary = binary.display().to_string();
    let mut job = Job::new(shell)?;
    let outputs = job.uses(&[
        ("binary", &binary),
        ("mode", "up"),
        ("name", world.cluster.name()),
        ("port", &port),
        ("arguments", &arguments),
    ])?;
    let outputs = outputs.map_err(|said| anyhow::anyhow!("{said:?}"))?;
    let registry = format!("localhost:{port}");
    ensure!(outputs.get("registry")? == registry, "{outputs:?}");
    ensure!(
        outputs.get("context")? == world.cluster.context(),
        "{outputs:?}"
    );
    let said = job.step("kubectl config current-context && echo $WHARF_REGISTRY")?;
    let expected = format!("{}\n{registry}\n", world.cluster.context());
    ensure!(said == expected, "{said}");
    let made = world.made.set(world.installed()?);
    ensure!(made.is_ok(), "it was made twice");
    Ok(())
}

/// `localhost:PORT` works again without a command. The engine stops the nodes, and starts them when it has made its network, proxies and
/// rules anew, by the policy that kind gives them (`on-failure:1`).
fn the_engine_restarts(world: &World) -> Result<()> {
    let nobody_else = ENGINE.write().unwrap_or_else(PoisonError::into_inner);
    let before = world.cluster.inspected("{{.State.Pid}}")?;
    if !world.bed.restart_engine()? {
        say("deploy: the engine is not the tests' own, and was not restarted");
        return Ok(());
    }
    drop(nobody_else);
    world.cluster.are_started_anew(&before)?;
    example::until_answered(world.port)?;
    let now = world.cluster.inspected("{{.State.Pid}}")?;
    ensure!(now != before, "the engine let the nodes run on");
    let image = example::image(world.port);
    example::push(&world.cluster, &image)?;
    example::run(&world.cluster, "after", &image)?;
    world.remove("after")?;
    world.cluster.docker(&["image", "rm", &image]).map(drop)
}

/// Both are run in the same way, whoever runs them.
fn the_same_image(world: &World) -> Result<()> {
    let image = world.built();
    build(&world.cluster, &image)?;
    let packed = world.image_of_up()?;
    let packed = packed.replacen("docker.io", &format!("localhost:{}", world.port), 1);
    world.cluster.docker(&["pull", "--quiet", &packed])?;
    let both = (
        settings(&world.cluster, &image)?,
        settings(&world.cluster, &packed)?,
    );
    world.cluster.docker(&["image", "rm", &packed])?;
    ensure!(both.0 == both.1, "{}\n{}", both.0, both.1);
    Ok(())
}

fn the_chart(world: &World) -> Result<()> {
    let (chart, image) = (format!("{DEPLOY}/chart"), world.image_of_up()?);
    let (repository, tag) = image.rsplit_once(':').context("no tag")?;
    let user = |field: &str| -> Result<Value> {
        let path = format!("/spec/template/spec/securityContext/{field}");
        Ok(world.made()?.get("Deployment/registry", &path)?.clone())
    };
    let sets = [
        format!("image.repository={repository},image.tag={tag}"),
        format!(
            "port={},relay.publishedNode={}",
            world.port,
            world.cluster.nodes()?[0]
        ),
        format!(
            "registry.user={},registry.group={}",
            user("runAsUser")?,
            user("runAsGroup")?
        ),
        "storage.type=hostPath,relay.hosts.enabled=false".to_owned(),
    ];
    world.clear()?;
    let mut install = world.helm(&["install", "wharf", &chart, "--create-namespace"]);
    install.args(["--wait", "--timeout", "5m"]);
    for set in sets {
        install.args(["--set", &set]);
    }
    let notes = command::output(&mut install, LONG)?;
    let registry = format!("localhost:{}", world.port);
    ensure!(
        notes.contains(&format!("docker push {registry}/app")),
        "{notes}"
    );
    world.installed()?.differ_only_in(world.made()?, &CHART)?;
    world.push_and_run(&registry, &registry, "of-helm")
}

fn what_is_helms(world: &World) -> Result<()> {
    let refused = command::finish(&mut world.cluster.wharf(&["up"])?, LONG)?;
    let is_refused = refused.status.code() == Some(6) && refused.stderr.contains("is not wharf's");
    ensure!(is_refused, "{refused:?}");
    command::output(
        world
            .helm(&["uninstall", "wharf", "--wait"])
            .arg("--timeout=5m"),
        LONG,
    )?;
    let left = [
        "get",
        // Pods take their time to end.
        "deployments,daemonsets,services,configmaps",
        "--namespace=wharf-system",
        "--selector",
    ];
    let label = ["app.kubernetes.io/part-of=wharf", "--output=name"];
    let left = world.cluster.kubectl(&[&left[..], &label].concat())?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

/// As the README says it: an image that the nodes have, and a kustomization of one's own that says so.
fn the_kustomization(world: &World) -> Result<()> {
    world.clear()?;
    let (image, nodes) = (world.built(), world.cluster.nodes()?);
    let (repository, tag) = image.rsplit_once(':').context("no tag")?;
    load(&world.cluster, &image)?;
    let hosts = "/etc/containerd/certs.d";
    world
        .cluster
        .docker(&["exec", &nodes[0], "rm", "-rf", hosts])?;
    make_volume(&world.cluster, &nodes[0])?;

    let own = world.cluster.dir().join("own");
    std::fs::create_dir_all(&own)?;
    let base = std::path::Path::new(DEPLOY).canonicalize()?;
    let up = std::iter::repeat_n("..", own.components().count() - 1);
    let base = format!("{}{}", up.collect::<Vec<_>>().join("/"), base.display());
    let image = json!({"name": "registry.example.com/wharf", "newName": repository, "newTag": tag});
    let text = json!({"resources": [base], "images": [image]}).to_string();
    std::fs::write(own.join("kustomization.yaml"), text)?;
    let own = own.canonicalize()?.display().to_string();
    world.cluster.kubectl(&["apply", "--kustomize", &own])?;
    for part in ["deployment/registry", "daemonset/relay"] {
        let rollout = ["rollout", "status", part, "--namespace=wharf-system"];
        world
            .cluster
            .kubectl(&[&rollout[..], &["--timeout=300s"]].concat())?;
    }
    world
        .installed()?
        .differ_only_in(world.made()?, &KUSTOMIZATION)?;

    let file = format!("{hosts}/localhost:5000/hosts.toml");
    let told = world.cluster.docker(&["exec", &nodes[0], "cat", &file])?;
    ensure!(told.contains("[host.\"http://127.0.0.1:5000\"]"), "{told}");
    let port = world.forwarded.to_string();
    world.cluster.wharf_says(&["forward", "start", &port])?;
    world.push_and_run(&format!("localhost:{port}"), "localhost:5000", "by-kubectl")
}

fn images_outlive_the_pod(world: &World) -> Result<()> {
    let namespace = "--namespace=wharf-system";
    let pod = "--selector=app.kubernetes.io/component=registry";
    world.cluster.kubectl(&["delete", "pod", namespace, pod])?;
    let rollout = ["rollout", "status", "deployment/registry", namespace];
    world
        .cluster
        .kubectl(&[&rollout[..], &["--timeout=300s"]].concat())?;
    world.run("localhost:5000/by-kubectl:1", "again")
}

impl World {
    fn made(&self) -> Result<&Objects> {
        self.made.get().context("nothing is made yet")
    }

    /// The image of the container file.
    fn built(&self) -> String {
        format!("{}:1", self.cluster.name())
    }

    /// The image that `up` has packed.
    fn image_of_up(&self) -> Result<String> {
        let path = "/spec/template/spec/containers/registry/image";
        let image = self.made()?.get("Deployment/registry", path)?;
        Ok(image.as_str().context("no image")?.to_owned())
    }

    /// What is installed, whoever did it.
    fn installed(&self) -> Result<Objects> {
        let kinds = "deployments,daemonsets,services,configmaps,persistentvolumeclaims";
        let mut all = vec![
            self.cluster.get(&["namespace", "wharf-system"])?,
            self.cluster.get(&[
                "configmap",
                "local-registry-hosting",
                "--namespace=kube-public",
            ])?,
        ];
        let mut list = self.cluster.get(&[kinds, "--namespace=wharf-system"])?;
        let items = list["items"].as_array_mut().context("no items")?;
        // Every namespace has this one.
        items.retain(|object| object["metadata"]["name"] != "kube-root-ca.crt");
        all.append(items);
        Objects::new(all)
    }

    fn helm(&self, arguments: &[&str]) -> Command {
        let mut helm = self.cluster.command("helm");
        helm.args([
            "--kube-context",
            &self.cluster.context(),
            "--namespace",
            "wharf-system",
        ]);
        helm.args(arguments);
        helm
    }

    /// Takes out whatever is installed.
    fn clear(&self) -> Result<()> {
        let gone = "--ignore-not-found";
        let hosting = [
            "configmap",
            "local-registry-hosting",
            "--namespace=kube-public",
        ];
        self.cluster
            .kubectl(&[&["delete", gone], &hosting[..]].concat())?;
        self.cluster
            .kubectl(&["delete", gone, "namespace", "wharf-system"])?;
        Ok(())
    }

    /// Pushes the image of the container file to the registry as the host knows it, and runs it as a node does.
    fn push_and_run(&self, here: &str, there: &str, name: &str) -> Result<()> {
        let pushed = format!("{here}/{name}:1");
        self.cluster.docker(&["tag", &self.built(), &pushed])?;
        self.cluster.docker(&["push", "--quiet", &pushed])?;
        self.cluster.docker(&["image", "rm", &pushed])?;
        self.run(&format!("{there}/{name}:1"), name)
    }

    /// Runs a pod of wharf's own image for as long as it takes to see that it serves: its operator is heard.
    fn run(&self, image: &str, name: &str) -> Result<()> {
        example::run(&self.cluster, name, image)?;
        self.cluster
            .kubectl(&["exec", name, "--", "/wharf", "gc", "--dry-run"])?;
        self.remove(name)
    }

    fn remove(&self, pod: &str) -> Result<()> {
        let now = ["--grace-period=0", "--force"];
        self.cluster
            .kubectl(&[&["delete", "pod", pod], &now[..]].concat())
            .map(drop)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(mut stop) = self.cluster.wharf(&["forward", "stop", "--all"]) {
            let _ = command::finish(&mut stop, LONG);
        }
        let _ = self
            .cluster
            .docker(&["image", "rm", "--force", &self.built()]);
    }
}
