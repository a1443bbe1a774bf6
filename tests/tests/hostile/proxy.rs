//! Behind a real nginx that keeps one connection for everybody: what one client sends never becomes
//! another's.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command;
use wharf_tests::content::{Random, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{ask, get, open, push_image};
use wharf_tests::wharf::Server;

use crate::smuggling;

/// Longer than nginx takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An nginx in front of a server, on a port of its own.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Proxy {
    fn start(server: &Server) -> Result<Self> {
        let bed = Bed::ensure_with(&[Tool::Nginx])?;
        // The port may be taken between our letting go of it and nginx's taking it.
        for _ in 0..5 {
            if let Some(proxy) = Self::try_start(&bed, server.address())? {
                return Ok(proxy);
            }
        }
        anyhow::bail!("nginx found no free port")
    }

    fn try_start(bed: &Bed, server: SocketAddr) -> Result<Option<Self>> {
        let dir = tempfile::Builder::new().prefix("wharf-test-").tempdir()?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = dir.path().join("nginx.conf");
        std::fs::write(&config, configuration(address, server))?;
        let log = dir.path().join("log");
        let child = bed
            .command("nginx")
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(&config)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("nginx does not start")?;
        let mut proxy = Self {
            child,
            address,
            _dir: dir,
        };
        let deadline = Instant::now() + PATIENCE;
        while Connection::open(address).is_err() {
            let said = std::fs::read_to_string(&log)?;
            if proxy.child.try_wait()?.is_some() {
                ensure!(
                    said.contains("Address already in use"),
                    "nginx ended: {said}"
                );
                return Ok(None);
            }
            ensure!(Instant::now() < deadline, "nginx does not answer: {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(proxy))
    }

    fn connect(&self) -> Result<Connection> {
        Ok(Connection::open(self.address)?)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// One process with one kept connection: all clients share it.
fn configuration(address: SocketAddr, server: SocketAddr) -> String {
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind};\n"))
        .concat();
    format!(
        "daemon off;
        master_process off;
        pid pid;
        events {{ worker_connections 256; }}
        http {{
            access_log off;
            {folders}
            upstream registry {{ server {server}; keepalive 1; }}
            server {{
                listen {address};
                client_max_body_size 0;
                proxy_http_version 1.1;
                proxy_request_buffering off;
                proxy_buffering off;
                proxy_next_upstream off;
                proxy_set_header Connection \"\";
                proxy_set_header Host $http_host;
                location / {{ proxy_pass http://registry; }}
            }}
        }}"
    )
}

#[test]
fn nobody_gets_the_answer_to_what_another_sent() -> Result<()> {
    let server = Server::start()?;
    let proxy = Proxy::start(&server)?;
    let mut bystander = proxy.connect()?;
    for (number, shape) in smuggling::shapes().into_iter().enumerate() {
        let mut attacker = proxy.connect()?;
        attacker.write(shape.as_bytes())?;
        // Whatever it is answered; it may be that nginx waits for more.
        attacker.close_sending()?;
        for round in 0..3 {
            let name = format!("n{number}-{round}");
            let asked = get(format!("/v2/{name}/tags/list"));
            let answer = ask(&mut bystander, 404, asked)
                .with_context(|| format!("beside {:?}", shape.get(..200).unwrap_or(&shape)))?;
            let answered = &answer.json()?["errors"][0]["detail"]["name"];
            ensure!(
                answered == &name,
                "{answered} instead of {name} beside {shape:?}"
            );
        }
    }
    Ok(())
}

/// And it is a proxy as good as any for those who mean well.
#[test]
fn images_go_through() -> Result<()> {
    let server = Server::start()?;
    let proxy = Proxy::start(&server)?;
    let mut http = proxy.connect()?;
    let bytes = Random::new(1).bytes(3 << 20);
    let upload = open(&mut http, "a")?;
    let patch = Request::new("PATCH", &upload).body(Body::Chunked(&bytes));
    ask(&mut http, 202, patch)?;
    let finish = format!("{upload}?digest={}", sha256(&bytes));
    ask(&mut http, 201, Request::new("PUT", finish))?;
    let manifest = push_image(&mut http, "a", "v1")?;
    let blob = ask(
        &mut http,
        200,
        get(format!("/v2/a/blobs/{}", sha256(&bytes))),
    )?;
    ensure!(blob.body == bytes);
    assert_eq!(
        ask(&mut http, 200, get("/v2/a/manifests/v1"))?.body,
        manifest
    );
    command::say("behind nginx: a push and a pull went through");
    Ok(())
}
