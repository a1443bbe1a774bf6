//! One request, one answer, one connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::HOST;
use http::{Response, request};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ClientError;

/// A request's body.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers that a client keeps in memory: manifests, and the blobs of small images.
const MAX_ANSWER_BYTES: usize = 512 * 1024 * 1024;
/// How long a registry may be silent; the relay of a cluster holds a request for half of it while a registry starts.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that one frame of an upload carries.
const PIECE_BYTES: usize = 256 * 1024;

/// A body of known length.
pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

/// A large body, handed over in pieces so that a connection that breaks is noticed in the middle of it.
pub(super) fn in_pieces(mut bytes: Bytes) -> Body {
    if bytes.len() <= PIECE_BYTES {
        return full(bytes);
    }
    let mut pieces = Vec::with_capacity(bytes.len() / PIECE_BYTES + 1);
    while !bytes.is_empty() {
        pieces.push(Ok(Frame::data(
            bytes.split_to(PIECE_BYTES.min(bytes.len())),
        )));
    }
    StreamBody::new(stream::iter(pieces)).boxed_unsync()
}

/// Sends a request and returns the whole answer.
pub(super) async fn exchange(
    address: SocketAddr,
    request: request::Builder,
    body: Body,
) -> Result<Response<Bytes>, ClientError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Transport {
        address,
        source,
    };
    let silent = |_| ClientError::Silent {
        address,
        seconds: PATIENCE.as_secs(),
    };
    let request = request
        .header(HOST, address.to_string())
        .body(body)
        .map_err(|e| failed(e.into()))?;
    let stream = timeout(PATIENCE, TcpStream::connect(address))
        .await
        .map_err(silent)?
        .map_err(|e| failed(e.into()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(e.into()))?;
    let connection = AbortOnDrop(tokio::spawn(connection));
    // The upload's own time is not bounded here: a registry on a slow disk may take as long as it makes progress.
    let response = sender
        .send_request(request)
        .await
        .map_err(|e| failed(e.into()))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect();
    let body = timeout(PATIENCE * 5, body)
        .await
        .map_err(silent)?
        .map_err(failed)?
        .to_bytes();
    drop(connection);
    Ok(Response::from_parts(head, body))
}

/// A connection's task ends with the request, also when the caller gives up on it.
struct AbortOnDrop(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
