//! `wharf up --adopt` on a kind cluster that somebody else has made, and `wharf down`, which leaves it as it was.

use std::time::Duration;

use anyhow::{Result, ensure};
use wharf_tests::bed::{Bed, Cluster, Tool};
use wharf_tests::command;
use wharf_tests::example::{self, Shape};
use wharf_tests::localhost::free_port;
use wharf_tests::walk::{Step, until_well, walk};

/// For what makes a cluster or moves hundreds of megabytes.
const LONG: Duration = Duration::from_secs(600);

const STEPS: [Step<World>; 9] = [
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

pub(super) fn walk_through() -> Result<()> {
    let bed = Bed::ensure_with(&[Tool::Kind, Tool::Kubectl])?;
    let cluster = Cluster::reserve(&bed, "adopt")?;
    let port = free_port(5210..5290)?;
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
        port,
    };
    walk(&world.cluster, &world, &STEPS)
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
    world.adopt()?;
    let now = Shape::of(&world.cluster)?;
    ensure!(
        now.node == world.before.node && now.runtime == world.before.runtime,
        "the nodes are others, or containerd was told something: {now:?}"
    );
    world.cluster.wharf_says(&["status"])?;
    let answer = world.get("/")?;
    ensure!(answer == 200, "{answer}");
    let hosting = example::hosting(&world.cluster)?;
    let host = format!("host: \"localhost:{}\"", world.port);
    ensure!(hosting.contains(&host), "{hosting}");
    Ok(())
}

fn pushed_and_pulled(world: &World) -> Result<()> {
    example::push(&world.cluster, &world.image())?;
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
        Ok((
            world.cluster.docker(&inspected)?,
            world.cluster.generations()?,
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
    example::until_answered(world.port)?;
    world
        .cluster
        .docker(&["restart", "--time", "2", &nodes[0]])?;
    example::until_answered(world.port)?;
    until_well(|| world.cluster.wharf(&["status"]))
}

fn left_as_it_was(world: &World) -> Result<()> {
    world
        .cluster
        .kubectl(&["delete", "pod", "pushed", "--wait=true"])?;
    world.cluster.wharf_says(&["down"])?;
    let hosting = example::hosting(&world.cluster)?;
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
    world.adopt()?;
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
    /// `wharf up`, on the cluster as it is.
    fn adopt(&self) -> Result<()> {
        let port = self.port.to_string();
        self.cluster
            .wharf_says(&["up", "--adopt", "--port", &port])
            .map(drop)
    }

    fn image(&self) -> String {
        example::image(self.port)
    }

    /// The status of an answer from the host's side.
    fn get(&self, path: &str) -> Result<u16> {
        example::get(self.port, path)
    }

    /// Runs a pod of the image that was pushed, as the registry has it.
    fn run(&self, name: &str) -> Result<()> {
        example::run(&self.cluster, name, &self.image())
    }
}
