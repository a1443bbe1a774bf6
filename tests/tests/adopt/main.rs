//! `wharf up --adopt` on a kind cluster that somebody else has made, and `wharf down`, which leaves it as it was.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::bed::{Bed, Cluster, Tool};
use wharf_tests::command::{self, say};
use wharf_tests::http::{Connection, Request};
use wharf_tests::talk::until;

/// For what makes a cluster or moves hundreds of megabytes.
const LONG: Duration = Duration::from_secs(600);
/// The example: an image to push and to run.
const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/examples/python-server"
);

/// A step: what is true after it, and what it takes to see it.
type Step = (&'static str, fn(&World) -> Result<()>);

const STEPS: [Step; 9] = [
    (
        "a cluster of somebody else is not taken unasked",
        not_unasked,
    ),
    ("it is adopted as it is", adopted_as_it_is),
    ("docker pushes and a kubelet pulls", pushed_and_pulled),
    ("neighbours are refused at the door", neighbours_are_refused),
    ("a second `up` changes nothing", nothing_changes),
    ("the door and the node may be restarted", restarted),
    ("`down` leaves the cluster as it was", left_as_it_was),
    ("`up` has the images again", images_again),
    ("`down --purge` leaves nothing", purged),
];

/// A cluster of somebody else, and what it was like.
struct World {
    cluster: Cluster,
    port: u16,
    before: Shape,
}

/// What wharf must not change for good, and mostly not at all.
#[derive(Debug, Clone, PartialEq)]
struct Shape {
    nodes: String,
    containerd: String,
    hosts: String,
    images: BTreeSet<String>,
    namespaces: String,
    containers: BTreeSet<String>,
}

#[test]
fn a_cluster_of_somebody_else() -> Result<()> {
    let bed = Bed::ensure_with(&[Tool::Kind, Tool::Kubectl])?;
    let cluster = Cluster::reserve(&bed, "adopt")?;
    let port = (5210..5290).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let mut create = cluster.command("kind");
    create.args([
        "create",
        "cluster",
        "--name",
        cluster.name(),
        "--wait",
        "120s",
    ]);
    if let Some(image) = bed.node_image() {
        create.args(["--image", image]);
    }
    command::output(&mut create, LONG)?;
    let world = World {
        before: Shape::of(&cluster)?,
        cluster,
        port: port.context("no port from 5210 to 5289 is free")?,
    };
    for (what, step) in STEPS {
        let started = Instant::now();
        step(&world).with_context(|| format!("not so: {what}"))?;
        let seconds = started.elapsed().as_secs_f32();
        say(&format!("adopt: {what}: {seconds:.1} s"));
    }
    Ok(())
}

fn not_unasked(world: &World) -> Result<()> {
    for (arguments, words) in [
        (
            &["up"][..],
            "put the registry into it as it is with --adopt",
        ),
        (&["down"], "--delete-cluster"),
    ] {
        let refused = command::finish(&mut world.cluster.wharf(arguments)?, LONG)?;
        ensure!(
            refused.status.code() == Some(6) && refused.stderr.contains(words),
            "{refused:?}"
        );
    }
    ensure!(
        Shape::of(&world.cluster)? == world.before,
        "something changed"
    );
    Ok(())
}

fn adopted_as_it_is(world: &World) -> Result<()> {
    let port = world.port.to_string();
    world
        .cluster
        .wharf_says(&["up", "--adopt", "--port", &port])?;
    let now = Shape::of(&world.cluster)?;
    ensure!(
        now.nodes == world.before.nodes && now.containerd == world.before.containerd,
        "the nodes are others, or containerd was told something: {now:?}"
    );
    world.cluster.wharf_says(&["status"])?;
    let answer = world.get("/")?;
    ensure!(answer == 200, "{answer}");
    let hosting = world.hosting()?;
    let host = format!("host: \"localhost:{port}\"");
    ensure!(hosting.contains(&host), "{hosting}");
    Ok(())
}

fn pushed_and_pulled(world: &World) -> Result<()> {
    let image = world.image();
    world.cluster.docker(&["build", "--tag", &image, EXAMPLE])?;
    world.cluster.docker(&["push", &image])?;
    world.run("pushed")
}

/// Whoever is on the nodes' network reaches neither the door nor, through the port for its guest, the node.
fn neighbours_are_refused(world: &World) -> Result<()> {
    const ASK: &str = "import socket, sys\nfor place in sys.argv[1:]:\n    host, port = place.split(':')\n    try:\n        with socket.create_connection((host, int(port)), 10) as c:\n            c.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\n            print('answered' if c.recv(1) else 'closed')\n    except (ConnectionRefusedError, ConnectionResetError):\n        print('refused')\n";
    let name = world.cluster.container("neighbour");
    let run = ["run", "--rm", "--network", "kind", "--name", &name];
    let python = [&world.image(), "python", "-c", ASK];
    let nodes = world.cluster.nodes()?;
    let places = [
        format!("{}:5000", world.cluster.container("wharf")),
        format!("{}:{}", nodes[0], world.port),
        format!("{}:6443", nodes[0]),
    ];
    let places = places.each_ref().map(String::as_str);
    let said = world
        .cluster
        .docker(&[&run[..], &python[..], &places[..]].concat())?;
    ensure!(said == "refused\nrefused\nanswered\n", "{said}");
    Ok(())
}

fn nothing_changes(world: &World) -> Result<()> {
    let look = || -> Result<_> {
        let format = "{{.Id}} {{.State.StartedAt}}";
        let door = world.cluster.container("wharf");
        let inspected = ["container", "inspect", "--format", format, &door];
        let objects = world.cluster.kubectl(&[
            "get",
            "deployments,daemonsets,services,configmaps",
            "--namespace=wharf-system",
            "--output=jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.generation} {end}",
        ])?;
        Ok((
            world.cluster.docker(&inspected)?,
            objects,
            Shape::of(&world.cluster)?,
        ))
    };
    let before = look()?;
    // Neither the flag nor the port need be said again.
    world.cluster.wharf_says(&["up"])?;
    let after = look()?;
    ensure!(before == after, "{before:?}\n{after:?}");
    Ok(())
}

/// Both may have other addresses afterwards. Nobody types anything.
fn restarted(world: &World) -> Result<()> {
    let (door, nodes) = (world.cluster.container("wharf"), world.cluster.nodes()?);
    world.cluster.docker(&["restart", "--time", "2", &door])?;
    until(LONG, &200, || Ok(world.get("/").unwrap_or(0)))?;
    world.cluster.docker(&["restart", &nodes[0]])?;
    until(LONG, &200, || Ok(world.get("/").unwrap_or(0)))?;
    until(LONG, &true, || {
        let status = command::finish(&mut world.cluster.wharf(&["status"])?, LONG)?;
        Ok(status.status.success())
    })
}

fn left_as_it_was(world: &World) -> Result<()> {
    world
        .cluster
        .kubectl(&["delete", "pod", "pushed", "--wait=true"])?;
    world.cluster.wharf_says(&["down"])?;
    let hosting = world.hosting()?;
    ensure!(
        hosting.contains("help:") && !hosting.contains("host"),
        "it still says that there is a registry: {hosting}"
    );
    let now = Shape::of(&world.cluster)?;
    ensure!(now == world.before, "{now:#?}\n{:#?}", world.before);
    // Once more, and there is nothing to leave.
    let again = command::finish(&mut world.cluster.wharf(&["down"])?, LONG)?;
    ensure!(again.status.code() == Some(6), "{again:?}");
    Ok(())
}

fn images_again(world: &World) -> Result<()> {
    let port = world.port.to_string();
    world
        .cluster
        .wharf_says(&["up", "--adopt", "--port", &port])?;
    world.run("again")
}

fn purged(world: &World) -> Result<()> {
    world
        .cluster
        .kubectl(&["delete", "pod", "again", "--wait=true"])?;
    world.cluster.wharf_says(&["down", "--purge"])?;
    let hosting = ["configmap", "local-registry-hosting", "--ignore-not-found"];
    let left = [&["get", "--namespace=kube-public"], &hosting[..]].concat();
    let left = world.cluster.kubectl(&left)?;
    let nodes = world.cluster.nodes()?;
    let data = ["exec", &nodes[0], "ls", "/var/lib"];
    let data = world.cluster.docker(&data)?;
    ensure!(left.is_empty() && !data.contains("wharf"), "{left}\n{data}");
    world
        .cluster
        .docker(&["image", "rm", "--force", &world.image()])?;
    Ok(())
}

impl World {
    fn image(&self) -> String {
        format!("localhost:{}/python-server", self.port)
    }

    /// The status of an answer from the host's side.
    fn get(&self, path: &str) -> Result<u16> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        Ok(Connection::open(address)?
            .send(Request::new("GET", path))?
            .status)
    }

    /// Runs a pod of the image that was pushed, as the registry has it.
    fn run(&self, name: &str) -> Result<()> {
        let image = format!("--image={}", self.image());
        let run = ["run", name, &image, "--image-pull-policy=Always"];
        self.cluster.kubectl(&run)?;
        let pod = format!("pod/{name}");
        let wait = ["wait", "--for=condition=Ready", &pod, "--timeout=120s"];
        self.cluster.kubectl(&wait)?;
        Ok(())
    }

    fn hosting(&self) -> Result<String> {
        let map = [
            "configmap",
            "local-registry-hosting",
            "--namespace=kube-public",
        ];
        let map: Value = self.cluster.get(&map)?;
        let text = map["data"]["localRegistryHosting.v1"].as_str();
        Ok(text.context("no KEP-1755")?.to_owned())
    }
}

impl Shape {
    fn of(cluster: &Cluster) -> Result<Self> {
        let nodes = cluster.nodes()?;
        let node = nodes.first().context("no nodes")?;
        let on_node = |command: &[&str]| cluster.docker(&[&["exec", node], command].concat());
        let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let namespaces = "--output=jsonpath={.items[*].metadata.name}";
        let named = format!("name=^{}", cluster.name());
        let all = ["ps", "--all", "--filter", &named, "--format", "{{.Names}}"];
        let hash = ["sha256sum", "/etc/containerd/config.toml"];
        let images = ["ctr", "--namespace=k8s.io", "images", "ls"];
        Ok(Self {
            nodes: cluster.docker(&["container", "inspect", "--format", "{{.Id}}", node])?,
            containerd: on_node(&hash)?,
            hosts: on_node(&["ls", "-R", "/etc/containerd/certs.d"])?,
            images: without_example(&on_node(&images)?),
            namespaces: cluster.kubectl(&["get", "namespaces", namespaces])?,
            containers: lines(cluster.docker(&all)?),
        })
    }
}

/// The images of a node, but for the example's, under whatever name: that was pulled on somebody's behalf.
fn without_example(table: &str) -> BTreeSet<String> {
    let columns = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        (columns[0].clone(), columns[2].clone())
    };
    let images: Vec<_> = table.lines().skip(1).map(columns).collect();
    let examples: Vec<_> = images
        .iter()
        .filter(|(name, _)| name.contains("python-server"))
        .map(|(_, digest)| digest)
        .collect();
    let others = images
        .iter()
        .filter(|(_, digest)| !examples.contains(&digest));
    others.map(|(name, _)| name.clone()).collect()
}
