//! What the README of deploy/examples/python-server tells people to type.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Child;

use anyhow::{Context, Result, ensure};

use crate::forward;
use crate::world::{PATIENCE, World, start, until};

const POD: &str = "python-server-run";
const GREETING: &str = "Hello, World!\n";

pub(crate) fn as_written(world: &World) -> Result<()> {
    let image = world.image("python-server");
    in_a_container(world, &image)?;

    world.docker(&["push", &image])?;
    world.kubectl(&["run", POD, &format!("--image={image}"), "--port=8080"])?;
    world.kubectl(&[
        "wait",
        "--for=condition=Ready",
        &format!("pod/{POD}"),
        "--timeout=120s",
    ])?;
    greets(&mut Forward::start(world, &format!("pod/{POD}"), "8080")?)?;

    let pod = format!("pod/{POD}");
    let service = format!("service/{POD}");
    world.kubectl(&["expose", "pod", POD, "--port=80", "--target-port=8080"])?;
    greets(&mut Forward::start(world, &service, "80")?)?;
    let forward = forward::start(world, &[POD, ":80"])?;
    let greeting = ask(forward::port(&forward)?)?;
    ensure!(greeting == GREETING, "{greeting:?}");
    world.wharf_says(&["forward", "stop", POD])?;
    // And through the Service's own address, from another pod.
    let ask =
        format!("import urllib.request as u; print(u.urlopen('http://{POD}').read().decode())");
    let said = world.kubectl(&["exec", "daemonset/everywhere", "--", "python", "-c", &ask])?;
    ensure!(said.starts_with("Hello, World!"), "{said}");

    world.kubectl(&["delete", &service, &pod])?;
    let left = world.kubectl(&["get", &service, &pod, "--ignore-not-found"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

fn in_a_container(world: &World, image: &str) -> Result<()> {
    let name = world.cluster.container("example");
    world.docker(&[
        "run",
        "--detach",
        "--rm",
        "--publish-all",
        "--name",
        &name,
        image,
    ])?;
    let published = world.docker(&["port", &name, "8080/tcp"])?;
    let port = published.lines().find_map(|line| line.rsplit_once(':'));
    let port: u16 = port.context("docker published no port")?.1.parse()?;
    // Its port is published before the server in it listens.
    let mut said = Ok(String::new());
    let greets = until("the container greets", || {
        said = ask(port);
        Ok(matches!(&said, Ok(said) if said == GREETING))
    });
    greets.with_context(|| format!("{said:?}"))?;
    world.docker(&["stop", &name])?;
    Ok(())
}

fn greets(forward: &mut Forward) -> Result<()> {
    let said = ask(forward.port)?;
    ensure!(said == GREETING, "{said:?}");
    Ok(())
}

/// The body of a good answer. The example's server speaks HTTP/1.0, as it came with Python.
fn ask(port: u16) -> Result<String> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("no HTTP: {answer:?}"))?;
    ensure!(head.split(' ').nth(1) == Some("200"), "{head}");
    Ok(body.to_owned())
}

/// A `kubectl port-forward` from a port that is free.
struct Forward {
    child: Child,
    port: u16,
}

impl Forward {
    fn start(world: &World, to: &str, port: &str) -> Result<Self> {
        let log = world.cluster.dir().join("forward.log");
        let mut command = world.kubectl_command(&["port-forward", to, &format!(":{port}")]);
        let mut forward = Self {
            child: start(&mut command, &log)?,
            port: 0,
        };
        until("kubectl forwards a port", || {
            let mut said = String::new();
            std::fs::File::open(&log)?.read_to_string(&mut said)?;
            let ended = forward.child.try_wait()?;
            ensure!(ended.is_none(), "kubectl ended ({ended:?}): {said}");
            let line = said
                .lines()
                .find_map(|l| l.strip_prefix("Forwarding from 127.0.0.1:"));
            let port = line
                .and_then(|line| line.split_once(' '))
                .map(|(port, _)| port.parse());
            forward.port = port.transpose()?.unwrap_or(0);
            Ok(forward.port != 0)
        })?;
        Ok(forward)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
