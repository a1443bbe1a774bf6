//! Who is let in: the host and everybody on a node. Who is not: whoever else has a way to a node.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use wharf_tests::http::{Connection, Request};
use wharf_tests::localhost;
use wharf_tests::talk::{ask, get, refuse};

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
    let addresses = world.cluster.addresses(published)?;
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

/// Asks the Service under each name and says in a line what came of it.
const NAMES: &str = r#"
import http.client, sys

for name in sys.argv[1:]:
    connection = http.client.HTTPConnection("registry.wharf-system", 5000, timeout=10)
    connection.request("GET", "/v2/", headers={"Host": name})
    print(name, connection.getresponse().status)
"#;

/// A web page can reach the published port by a name of its own, whose address it has changed to
/// 127.0.0.1, or send there what its browser sends for it.
pub(crate) fn pages_of_others_are_refused(world: &World) -> Result<()> {
    let push = Request::new("POST", "/v2/evil/blobs/uploads/");
    let own = world.image("");
    let own = own.trim_end_matches('/');
    for ip in localhost::addresses() {
        let mut http = Connection::open(SocketAddr::new(ip, world.port))?;
        for host in ["evil.example", &format!("evil.example:{}", world.port)] {
            for request in [get("/v2/_catalog"), push.clone()] {
                refuse(&mut http, 403, "DENIED", request.header("Host", host))?;
            }
        }
        let cross = push.clone().header("Host", own);
        let cross = cross.header("Origin", "http://evil.example");
        refuse(&mut http, 403, "DENIED", cross)?;
        for host in [own, "127.0.0.1", "[::1]:5000"] {
            ask(&mut http, 200, get("/v2/").header("Host", host))?;
        }
    }
    let pods = world.get(&["pods", "--selector", "app=everywhere"])?;
    let name = pods["items"][0]["metadata"]["name"].as_str();
    let service = [
        "registry:5000",
        "registry.wharf-system",
        "registry.wharf-system.svc:5000",
        "registry.wharf-system.svc.cluster.local:5000",
    ];
    let asked = [
        &["exec", name.context("no pod")?, "--", "python", "-c", NAMES],
        service.as_slice(),
        &["evil.example:5000"],
    ];
    let said = world.kubectl(&asked.concat())?;
    let allowed: String = service.map(|name| format!("{name} 200\n")).concat();
    ensure!(
        said == format!("{allowed}evil.example:5000 403\n"),
        "{said}"
    );
    Ok(())
}
