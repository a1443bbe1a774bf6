//! The accept loop.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::lent::Lent;
use super::requests::{Answering, Requests};
use super::stream::WriteDeadline;
use super::strict::Strict;
use crate::limits::{self, Limits};

/// Accepts connections for as long as it is polled. A place is taken before a connection is
/// accepted, so that the ones that are too many wait in the kernel, where they cost next to
/// nothing.
pub(super) async fn accept(
    listener: TcpListener,
    answering: Arc<Answering>,
    places: Arc<Semaphore>,
    graceful: Arc<GracefulShutdown>,
    limits: Limits,
) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = next(&listener).await;
        let connection = graceful.watch(connection(stream, answering.clone(), &limits));
        tokio::spawn(async move {
            // Peers that break off or talk something else than HTTP are nothing to worry about.
            if let Err(error) = connection.await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a connection ended early"
                );
            }
            drop(place);
        });
    }
}

type Connection = http1::Connection<TokioIo<Strict<WriteDeadline<Lent>>>, Requests>;

fn connection(stream: TcpStream, answering: Arc<Answering>, limits: &Limits) -> Connection {
    // HTTP/1.1 alone: guessing the version would mean to wait for a preface without a deadline, and
    // no client speaks HTTP/2 without TLS. A TLS handshake that comes in here is answered with
    // `HTTP/1.1 400`, by which clients know to go on in plain text.
    let stream = WriteDeadline::new(Lent(stream), limits.write_idle);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_headers(limits::HEADERS)
        .max_buf_size(limits::READ_BUFFER_BYTES)
        .serve_connection(
            TokioIo::new(Strict::new(stream)),
            Requests::new(answering, limits.requests_per_connection),
        )
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
