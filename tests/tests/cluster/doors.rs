//! Who is let in: the host and everybody on a node. Who is not: whoever else has a way to a node.

use anyhow::{Context, Result, ensure};

use crate::world::World;

/// Asks each `ADDRESS PORT` for `/` and says in a line what came of it.
const ASK: &str = r#"
import socket, sys

def ask(address, port):
    try:
        with socket.create_connection((address, int(port)), 10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return "answered" if connection.recv(1) else "closed"
    except (ConnectionRefusedError, ConnectionResetError):
        return "refused"
    except OSError as error:
        return f"failed: {error}"

for address, port in zip(sys.argv[1::2], sys.argv[2::2]):
    print(ask(address, port))
"#;

/// Where the API server of a kind cluster listens: whoever reaches it reaches the node.
const API: &str = "6443";

pub(crate) fn strangers_are_refused(world: &World) -> Result<()> {
    let nodes = world.nodes()?;
    let published = &nodes[0];
    let addresses = addresses(world, published)?;
    let port = world.port.to_string();
    let mut asked = Vec::new();
    for address in &addresses {
        asked.extend([address.as_str(), API, address, &port]);
    }
    let expected = "answered\nrefused\n".repeat(addresses.len());

    let (name, image) = (
        world.cluster.container("neighbour"),
        world.image("python-server"),
    );
    let run = [
        "run",
        "--rm",
        "--network",
        "kind",
        "--name",
        &name,
        &image,
        "python",
        "-c",
        ASK,
    ];
    let neighbour = world.docker(&[run.as_slice(), &asked].concat())?;
    ensure!(
        neighbour == expected,
        "a neighbour of {addresses:?} was\n{neighbour}"
    );

    // A pod's network may lack a family that the node has, so only the first is asked for.
    let (asked, expected) = (&asked[..4], "answered\nrefused\n");
    let pods = world.get(&["pods", "--selector", "app=everywhere"])?;
    for pod in pods["items"].as_array().context("no pods")? {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let said = world.kubectl(&[&["exec", name, "--", "python", "-c", ASK], asked].concat())?;
        let node = &pod["spec"]["nodeName"];
        ensure!(
            said == expected,
            "a pod on {node} that asked {published} was\n{said}"
        );
        // What it is told to use instead, in kube-public.
        let service = "registry.wharf-system.svc.cluster.local";
        let said = world.kubectl(&["exec", name, "--", "python", "-c", ASK, service, "5000"])?;
        ensure!(
            said == "answered\n",
            "a pod on {node} that asked the Service was\n{said}"
        );
    }
    for answer in world.get_everywhere("/")? {
        ensure!(answer.status == 200, "and so was the host: {answer:?}");
    }
    Ok(())
}

/// A node's addresses on the network of the nodes, IPv4 first.
fn addresses(world: &World, node: &str) -> Result<Vec<String>> {
    let format = "{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{println .GlobalIPv6Address}}{{end}}";
    let inspected = world.docker(&["container", "inspect", "--format", format, node])?;
    let addresses: Vec<_> = inspected.split_whitespace().map(str::to_owned).collect();
    ensure!(!addresses.is_empty(), "{node} has no address");
    Ok(addresses)
}
