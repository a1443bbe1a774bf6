//! The accept loop.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::lent::Lent;
use super::requests::{Answering, Requests};
use super::stream::WriteDeadline;
use super::strict::Strict;
use super::tunnel::Tunnel;
use crate::limits::{self, Limits};

/// Accepts connections for as long as it is polled. A place is taken before a connection is
/// accepted, so that the ones that are too many wait in the kernel, where they cost next to
/// nothing. Who has `stopped` is still served until its requests are answered.
pub(super) async fn accept(
    listener: TcpListener,
    answering: Arc<Answering>,
    places: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
    limits: Limits,
) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = next(&listener).await;
        let (answering, stopped) = (answering.clone(), stopped.clone());
        tokio::spawn(async move {
            let tunnel = answering.accepts_tunnels.then(Arc::<Tunnel>::default);
            serve(stream, &answering, tunnel.clone(), &limits, stopped.clone()).await;
            if let Some(tunnel) = tunnel
                && let Some(stream) = tunnel.stream().await
            {
                serve(stream, &answering, None, &limits, stopped).await;
            }
            drop(place);
        });
    }
}

/// What stands between a socket and hyper.
pub(super) type Io = TokioIo<Strict<WriteDeadline<Lent>>>;

/// Answers the requests of a connection until it ends.
async fn serve(
    stream: TcpStream,
    answering: &Arc<Answering>,
    tunnel: Option<Arc<Tunnel>>,
    limits: &Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let requests = Requests::new(answering.clone(), tunnel, limits.requests_per_connection);
    // HTTP/1.1 alone: guessing the version would mean to wait for a preface without a deadline, and
    // no client speaks HTTP/2 without TLS. A TLS handshake that comes in here is answered with
    // `HTTP/1.1 400`, by which clients know to go on in plain text.
    let stream = WriteDeadline::new(Lent(stream), limits.write_idle);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_headers(limits::HEADERS)
        .max_buf_size(limits::READ_BUFFER_BYTES)
        .serve_connection(TokioIo::new(Strict::new(stream)), requests)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopped.wait_for(|stopped| *stopped) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Peers that break off or talk something else than HTTP are nothing to worry about.
    if let Err(error) = ended {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a connection ended early"
        );
    }
}

/// The next connection. Out of file descriptors is a state that passes; trying again at once would
/// only burn the processor.
async fn next(listener: &TcpListener) -> TcpStream {
    let mut pause = Duration::from_millis(5);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are written whole; waiting to fill a packet would only delay them.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not accept a connection"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}
