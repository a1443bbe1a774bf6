//! Asks a registry who it is, over plain HTTP, at an address (never a name: see decision 001).

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

/// An answer to `GET /healthz` is a line of JSON; whatever is longer is somebody else's.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What a registry says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// `ok` when it serves.
    pub(crate) status: String,
    /// The identity of its store: the same on every way to the same registry.
    pub(crate) instance: String,
    /// The version of the program.
    pub(crate) version: String,
}

/// `GET /healthz` at an address. An answer that is not a registry's is an error.
pub(crate) async fn ask(address: SocketAddr, deadline: Duration) -> anyhow::Result<Health> {
    match tokio::time::timeout(deadline, get(address)).await {
        Ok(answer) => answer,
        Err(_) => bail!("{address} did not answer within {} s", deadline.as_secs()),
    }
}

async fn get(address: SocketAddr) -> anyhow::Result<Health> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connecting to {address}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get("/healthz")
        .header(http::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .with_context(|| format!("asking {address}"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        let body = body
            .map_err(|e| anyhow::anyhow!("reading the answer of {address}: {e}"))?
            .to_bytes();
        if !status.is_success() {
            bail!(
                "{address} answered {status}: {}",
                String::from_utf8_lossy(&body).trim()
            );
        }
        serde_json::from_slice(&body)
            .with_context(|| format!("{address} answers, and is no wharf registry"))
    }
    .await;
    connection.abort();
    answer
}
