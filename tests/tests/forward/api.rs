//! A cluster's API server, as far as `wharf forward` asks one: a Service in every namespace, its pod, and ways to the
//! pod's ports, which are servers of the test's own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// What it says and does, for the test to change.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Whether the pod is ready.
    pub(crate) is_ready: bool,
    /// How many of the next connections to the pod find nobody listening.
    pub(crate) refusals: usize,
    /// Where the pod's ports are.
    pub(crate) ports: HashMap<u16, SocketAddr>,
    /// How often the pod was replaced by another.
    pub(crate) replaced: usize,
    /// How often somebody asked for the pod.
    pub(crate) lookups: usize,
    /// What becomes of requests to the pod that ask for a tunnel.
    pub(crate) proxy: Proxy,
    /// How many tunnels were opened.
    pub(crate) tunnels: usize,
}

impl State {
    /// The name of the pod that there is.
    fn pod(&self) -> String {
        format!("app-{}", self.replaced)
    }
}

/// What an API server may do with a request to a pod.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// The pod says that it knows no such thing.
    #[default]
    Refuses,
    /// The pod accepts.
    Accepts,
    /// The pod is out of the server's reach, and nothing is heard of it.
    Waits,
}

/// A running API server. Gone when dropped.
pub(crate) struct Api {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    cut: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

impl Api {
    /// Starts one whose pod is ready and has these ports.
    pub(crate) fn start(ports: &[(u16, SocketAddr)]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            is_ready: true,
            ports: ports.iter().copied().collect(),
            ..State::default()
        }));
        let (cut, is_cut) = watch::channel(false);
        runtime.spawn(accept(listener, Arc::clone(&state), is_cut));
        Ok(Self {
            address,
            state,
            cut,
            runtime: Some(runtime),
        })
    }

    /// What it says and does.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Breaks all ways to the pod that are open, without a word.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// A kubeconfig whose context `fake` leads here.
    pub(crate) fn write_kubeconfig(&self, file: &Path) -> Result<()> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        });
        std::fs::write(file, config.to_string()).context("writing a kubeconfig")
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>, cut: watch::Receiver<bool>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (state, cut) = (Arc::clone(&state), cut.clone());
        tokio::spawn(async move {
            // Whoever goes in the middle of something is no failure of this server.
            let _ = serve(stream, &state, cut).await;
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    state: &Mutex<State>,
    mut cut: watch::Receiver<bool>,
) -> Result<()> {
    let mut head = vec![0; 16 << 10];
    let path = loop {
        let n = stream.peek(&mut head).await?;
        let text = String::from_utf8_lossy(&head[..n]).into_owned();
        if text.contains("\r\n\r\n") {
            break text.split(' ').nth(1).context("no request")?.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    if let Some((_, port)) = path.split_once("/portforward?ports=") {
        let way = forward(stream, port.parse()?, state);
        return tokio::select! {
            ended = way => ended,
            _ = cut.wait_for(|is_cut| *is_cut) => Ok(()),
        };
    }
    let (proxy, pod) = {
        let state = lock(state);
        (state.proxy, state.pod())
    };
    if path == format!("/api/v1/namespaces/wharf-system/pods/{pod}:8080/proxy/v2/") {
        match proxy {
            Proxy::Refuses => {}
            Proxy::Accepts => {
                return tokio::select! {
                    ended = tunnel(stream, state) => ended,
                    _ = cut.wait_for(|is_cut| *is_cut) => Ok(()),
                };
            }
            Proxy::Waits => return std::future::pending().await,
        }
    }
    let _ = stream.read(&mut head).await?;
    let (status, body) = answer(&path, state);
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

fn answer(path: &str, state: &Mutex<State>) -> (&'static str, Value) {
    let path = path.split('?').next().unwrap_or_default();
    let words: Vec<&str> = path.trim_start_matches("/api/v1/").split('/').collect();
    match words.as_slice() {
        ["nodes"] => ("200 OK", json!({"metadata": {}, "items": []})),
        ["namespaces", "wharf-system", "services", "registry"] => service(5000),
        ["namespaces", "team", "services", "app"] => service(80),
        ["namespaces", _, "pods"] => {
            let mut state = lock(state);
            state.lookups += 1;
            ("200 OK", json!({"metadata": {}, "items": [pod(&state)]}))
        }
        ["namespaces", _, "pods", "app-0"] => ("200 OK", pod(&lock(state))),
        _ => (
            "404 Not Found",
            json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "none", "code": 404}),
        ),
    }
}

fn pod(state: &State) -> Value {
    let ports = json!([{"name": "web", "containerPort": 8080}]);
    let ready = if state.is_ready { "True" } else { "False" };
    json!({
        "metadata": {"name": state.pod()},
        "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

/// Port 80 or 5000 is the pod's port `web`, and port 90 is what it is.
fn service(port: u16) -> (&'static str, Value) {
    let ports =
        json!([{"name": "http", "port": port, "targetPort": "web"}, {"name": "more", "port": 90}]);
    let spec = json!({"selector": {"app": "app"}, "ports": ports});
    ("200 OK", json!({"metadata": {"name": "app"}, "spec": spec}))
}

/// Leads one WebSocket to a port, as a kubelet and its runtime do.
#[expect(
    clippy::result_large_err,
    reason = "the callback's type is tungstenite's"
)]
async fn forward(stream: TcpStream, port: u16, state: &Mutex<State>) -> Result<()> {
    let protocol = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let protocol = HeaderValue::from_static("v4.channel.k8s.io");
        response
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, protocol).await?;
    let (mut sink, mut messages) = socket.split();
    for channel in [0, 1] {
        let begin = [&[channel], port.to_le_bytes().as_slice()].concat();
        sink.send(Message::Binary(begin.into())).await?;
    }
    let upstream = {
        let mut state = lock(state);
        let is_refused = state.refusals > 0;
        state.refusals = state.refusals.saturating_sub(1);
        (!is_refused)
            .then(|| state.ports.get(&port).copied())
            .flatten()
    };
    let Some(upstream) = upstream else {
        let refusal = b"\x01failed to connect to localhost: connection refused".to_vec();
        sink.send(Message::Binary(refusal.into())).await?;
        sink.close().await?;
        // What is left unread would turn the end into a reset, which may overtake the refusal.
        while messages.next().await.transpose()?.is_some() {}
        return Ok(());
    };
    let (mut read, mut write) = TcpStream::connect(upstream).await?.into_split();
    let down = async {
        let mut buffer = vec![0; 32 << 10];
        loop {
            match read.read(&mut buffer).await {
                Ok(0) => break,
                Ok(n) => {
                    let message = [&[0], &buffer[..n]].concat();
                    sink.send(Message::Binary(message.into())).await?;
                }
                Err(error) => {
                    let message = format!("\x01an error of the pod: {error}").into_bytes();
                    sink.send(Message::Binary(message.into())).await?;
                    break;
                }
            }
        }
        sink.close().await?;
        anyhow::Ok(())
    };
    let up = async {
        while let Some(message) = messages.next().await.transpose()? {
            if let Message::Binary(bytes) = message {
                write.write_all(&bytes[1..]).await?;
            }
        }
        anyhow::Ok(())
    };
    // Where one direction ends, the other does as well, a moment later: the protocol knows no half.
    tokio::pin!(down);
    tokio::select! {
        ended = &mut down => return ended,
        _ = up => {}
    }
    tokio::time::timeout(Duration::from_secs(1), down).await?
}

/// Leads one connection to the registry's port, as an API server does with an upgraded request.
async fn tunnel(mut client: TcpStream, state: &Mutex<State>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head)?.to_ascii_lowercase();
    ensure!(
        head.contains("\r\nupgrade: wharf-tunnel\r\n")
            && head.contains("\r\nconnection: upgrade\r\n"),
        "{head}"
    );
    let upstream = {
        let mut state = lock(state);
        state.tunnels += 1;
        *state.ports.get(&8080).context("no registry")?
    };
    let mut upstream = TcpStream::connect(upstream).await?;
    let agreed =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: wharf-tunnel\r\n\r\n";
    client.write_all(agreed.as_bytes()).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_pod, mut to_pod) = upstream.split();
    // Where one direction ends, so does the other.
    tokio::select! {
        copied = tokio::io::copy(&mut from_client, &mut to_pod) => copied?,
        copied = tokio::io::copy(&mut from_pod, &mut to_client) => copied?,
    };
    Ok(())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
