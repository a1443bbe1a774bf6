//! `wharf forward` through a real API server, kubelet and container runtime.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::command;
use wharf_tests::content::sha256;
use wharf_tests::http::{Answer, Body, Connection, Request};
use wharf_tests::localhost;
use wharf_tests::talk;

use crate::restart::{
    PART, REGISTRY_PODS, Running, open_uploads, registry_pods, what_is_stored_is_whole,
};
use crate::world::{LONG, PATIENCE, World, big, start as start_beside, until};

/// The repository that is pushed to through the forward.
const REPOSITORY: &str = "forwarded";

/// Starts a forward in the background.
pub(crate) fn start(world: &World, words: &[&str]) -> Result<Value> {
    world.wharf_says(&[&["forward", "start"], words].concat())
}

/// The port of this machine that a forward has.
pub(crate) fn port(forward: &Value) -> Result<u16> {
    let port = forward["ports"][0]["port"].as_u64().context("no port")?;
    Ok(u16::try_from(port)?)
}

/// The registry's own port is the cluster's, so another is asked for. It stays until the cluster is purged.
pub(crate) fn to_the_registry(world: &World) -> Result<()> {
    let taken = command::finish(&mut world.wharf(&["forward"])?, PATIENCE)?;
    let owner = format!("by the Docker container {}", world.nodes()?[0]);
    ensure!(
        taken.status.code() == Some(6) && taken.stderr.contains(&owner),
        "{taken:?}"
    );
    let started = start(world, &[":5000"])?;
    let port = port(&started)?;
    let direct = world.get_everywhere("/healthz")?.swap_remove(0);
    for ip in localhost::addresses() {
        let forwarded = get(SocketAddr::new(ip, port), "/healthz")?;
        ensure!(forwarded.json()? == direct.json()?, "{ip}: {forwarded:?}");
    }
    // Who begins with TLS is told in HTTP that there is none: that is how containerd finds out.
    let mut hello = Connection::open(SocketAddr::new(localhost::addresses()[0], port))?;
    hello.write(b"\x16\x03\x01\x00\x05hello")?;
    ensure!(hello.read_head()?.status == 400);
    it_goes_past_dockers_proxy(world, started["pid"].as_u64().context("no pid")?)?;
    the_registry_is_well(world)
}

/// The API server is published on a loopback, and the forward is connected to its container.
fn it_goes_past_dockers_proxy(world: &World, pid: u64) -> Result<()> {
    let ip: Ipv4Addr = world.cluster.addresses(&world.nodes()?[0])?[0].parse()?;
    let api = SocketAddr::from((ip, 6443));
    let peers = peers(pid)?;
    ensure!(peers.contains(&api), "it talks to {peers:?}, not to {api}");
    Ok(())
}

/// Whom a process talks to over IPv4.
fn peers(pid: u64) -> Result<Vec<SocketAddr>> {
    let sockets: BTreeSet<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.to_owned()))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let peer = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = format!("{}]", fields.get(9)?);
        let (ip, port) = fields.get(2)?.split_once(':')?;
        // As the machine has the address in its memory.
        let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
        let peer = SocketAddr::from((ip, u16::from_str_radix(port, 16).ok()?));
        sockets.contains(&inode).then_some(peer)
    };
    Ok(table.lines().filter_map(peer).collect())
}

/// What the whole is about: uploads that are given up, downloads that nobody reads, pods that go. All the while a push
/// goes on, and others are served.
pub(crate) fn a_push_outlives_two_pods(world: &World) -> Result<()> {
    let port = port(&start(world, &[":5000"])?)?;
    let address = SocketAddr::new(localhost::addresses()[0], port);
    let image = format!("localhost:{port}/{REPOSITORY}");
    world.docker(&["tag", &world.image("big"), &image])?;
    let before = registry_pods(world)?;
    let log = world.cluster.dir().join("push.log");
    let mut push = Running(start_beside(
        world.cluster.command("docker").args(["push", &image]),
        &log,
    )?);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    for pod in 0..2 {
        let unread = unread_download(world, address)?;
        give_up_an_upload(address)?;
        let uploads = || open_uploads(&world.data().join("uploads")).unwrap_or(0);
        until("more of the image has arrived", || {
            let ended = push.0.try_wait()?;
            ensure!(ended.is_none(), "the push ended ({ended:?}): {}", said());
            Ok(uploads() >= big() / PART * (pod + 1))
        })?;
        let answer = get(address, "/v2/")?;
        ensure!(answer.status == 200, "{answer:?}");
        // With time enough the registry would let the push finish, and nothing would be tested.
        world.kubectl(&[&["delete", "--grace-period=1"], REGISTRY_PODS.as_slice()].concat())?;
        // Held until the next pod is ready.
        let answer = get(address, "/v2/")?;
        ensure!(answer.status == 200, "{answer:?}");
        pull_beside(address)?;
        drop(unread);
    }
    let status = command::wait_for(&mut push.0, LONG)?;
    ensure!(
        status.is_some_and(|s| s.success()),
        "{status:?}:\n{}",
        said()
    );
    ensure!(
        said().contains("Retrying in"),
        "docker was not even cut off:\n{}",
        said()
    );
    ensure!(
        before.is_disjoint(&registry_pods(world)?),
        "the pod was not replaced"
    );
    what_is_stored_is_whole(world, REPOSITORY, &world.pushed(&image)?)?;
    world.docker(&["image", "rm", &image])?;
    the_registry_is_well(world)
}

/// The forward was never told that there is another cluster behind its context.
pub(crate) fn to_the_new_cluster(world: &World) -> Result<()> {
    let direct = world.get_everywhere("/healthz")?.swap_remove(0);
    let port = port(&start(world, &[":5000"])?)?;
    let forwarded = get(SocketAddr::new(localhost::addresses()[0], port), "/healthz")?;
    ensure!(forwarded.json()? == direct.json()?, "{forwarded:?}");
    the_registry_is_well(world)
}

/// After a connection, of which the forward tells a moment later.
fn the_registry_is_well(world: &World) -> Result<()> {
    until(
        "the forward says that a tunnel leads to the registry",
        || {
            let status = world.wharf_says(&["forward", "status"])?;
            let forward = &status["forwards"][0];
            ensure!(
                forward["target"] == "service wharf-system/registry" && forward["wrong"].is_null(),
                "{status}"
            );
            Ok(forward["isTunnel"] == true)
        },
    )
}

fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    Ok(Connection::open(address)?.send(Request::new("GET", path))?)
}

/// Reads an image of many megabytes, while the other is pushed.
fn pull_beside(address: SocketAddr) -> Result<()> {
    let manifest = get(address, "/v2/python-server/manifests/latest")?.json()?;
    for layer in manifest["layers"].as_array().context("no layers")? {
        let digest = layer["digest"].as_str().context("no digest")?;
        let blob = get(address, &format!("/v2/python-server/blobs/{digest}"))?;
        ensure!(
            blob.status == 200 && sha256(&blob.body) == digest,
            "{digest} did not come as it was pushed: {}",
            blob.status
        );
    }
    Ok(())
}

/// Asks for the biggest blob there is, and does not read it.
fn unread_download(world: &World, address: SocketAddr) -> Result<Connection> {
    let digest = world.pushed(&world.image("big"))?;
    let manifest = get(address, &format!("/v2/big/manifests/{digest}"))?.json()?;
    let layer = manifest["layers"][0]["digest"]
        .as_str()
        .context("no layer")?;
    let mut http = Connection::open(address)?;
    http.write(&talk::get(format!("/v2/big/blobs/{layer}")).head())?;
    Ok(http)
}

/// Sends some megabytes of an upload, and goes.
fn give_up_an_upload(address: SocketAddr) -> Result<()> {
    let post = Request::new("POST", "/v2/given-up/blobs/uploads/");
    let answer = Connection::open(address)?.send(post)?;
    let patch = Request::new("PATCH", answer.location()?).body(Body::Claiming(1 << 30, b""));
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&patch.head())?;
    stream.write_all(&vec![7; 8 << 20])?;
    Ok(())
}
