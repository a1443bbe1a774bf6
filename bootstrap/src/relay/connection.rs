//! One connection: hold it until the registry answers, then copy both ways and lose nothing.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::inside::Pipe;
use super::upstream::Upstream;

/// Bytes that one direction reads at once.
const BUFFER_BYTES: usize = 128 * 1024;
/// How long the last words of one side may take after the other has stopped listening.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Bytes of a request that are read before it is turned away.
const DRAIN_BYTES: usize = 1024 * 1024;
/// A connection that moves nothing for so long ends when the relay is asked to stop.
const IDLE_WHEN_STOPPING: Duration = Duration::from_secs(1);

/// The waits of a relay; tests shorten them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long a new connection is held while the registry refuses.
    pub(super) hold: Duration,
    /// How long a request that was turned away is still read.
    pub(super) drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(30),
            drain: Duration::from_secs(1),
        }
    }
}

/// Relays one connection from its first byte to its last.
pub(super) async fn relay(
    client: TcpStream,
    to: &Upstream,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let upstream = tokio::select! {
        upstream = reach(to, limits.hold) => upstream,
        _ = stopped.wait_for(|stopped| *stopped) => None,
    };
    let Some(upstream) = upstream else {
        turn_away(client, limits).await;
        return;
    };
    for stream in [&client, &upstream] {
        let _ = stream.set_nodelay(true);
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
    let moved = AtomicU64::new(0);
    let finished = tokio::select! {
        finished = copy(&client, &upstream, &moved) => finished,
        () = idle_after_stop(&mut stopped, &moved, IDLE_WHEN_STOPPING) => Ok(()),
    };
    if finished.is_err() {
        // What the client was cut off from saying must not look complete: a reset, not an end.
        let _ = SockRef::from(&upstream).set_linger(Some(Duration::ZERO));
    }
}

/// Connects, again and again while nobody is there, for as long as a connection is held.
async fn reach(to: &Upstream, hold: Duration) -> Option<TcpStream> {
    let end = Instant::now() + hold;
    let mut pause = Duration::from_millis(50);
    loop {
        if let Some(stream) = to.connect().await {
            return Some(stream);
        }
        if Instant::now() + pause >= end {
            return None;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// Says 503 in the registry's own way. A silent close would read as "no registry here, perhaps TLS?".
pub(super) async fn turn_away(mut client: TcpStream, limits: Limits) {
    const BODY: &str = r#"{"errors":[{"code":"UNAVAILABLE","message":"the registry does not answer; it may be starting: `wharf status` says more"}]}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nRetry-After: 5\r\nConnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    // A request that is left unread turns the close into a reset, which may overtake the answer.
    drain(&mut client, limits.drain).await;
    if client.write_all(answer.as_bytes()).await.is_ok() && client.shutdown().await.is_ok() {
        drain(&mut client, limits.drain).await;
    }
}

/// Reads and forgets until the peer ends, pauses for `patience`, or has sent too much.
async fn drain(client: &mut TcpStream, patience: Duration) {
    let mut buffer = vec![0; 16 * 1024];
    let mut left = DRAIN_BYTES;
    while left > 0 {
        match timeout(patience, client.read(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => left = left.saturating_sub(n),
            _ => return,
        }
    }
}

/// Copies both ways until both have ended. An error is one of the client's: it has gone in the middle of something.
async fn copy(client: &TcpStream, upstream: &TcpStream, moved: &AtomicU64) -> io::Result<()> {
    let down = async {
        // An upstream that resets may have answered before: what was copied must still arrive, so the client sees an end.
        if pump(upstream, client, moved).await.is_err() {
            let _ = SockRef::from(client).shutdown(Shutdown::Write);
        }
        Ok(())
    };
    tokio::try_join!(pump(client, upstream, moved), down).map(|_| ())
}

/// Copies one way; an end is passed on as an end. If the receiver has stopped listening, the rest is read and forgotten
/// for a while: a server that answers early and hangs up is thus heard to its last byte.
async fn pump(from: &TcpStream, to: &TcpStream, moved: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let n = read(from, &mut buffer).await?;
        moved.fetch_add(n as u64, Ordering::Relaxed);
        if n == 0 {
            let _ = SockRef::from(to).shutdown(Shutdown::Write);
            return Ok(());
        }
        let mut is_listening = write_all(to, &buffer[..n]).await.is_ok();
        // Much comes at once, and so it will go on.
        let inside = || (n == BUFFER_BYTES).then(Pipe::new).flatten();
        if is_listening && let Some(pipe) = inside() {
            is_listening = pipe.pump(from, to, moved).await?;
        }
        if !is_listening {
            let end = Instant::now() + LAST_WORDS;
            while let Ok(Ok(n)) = timeout_at(end, read(from, &mut buffer)).await {
                if n == 0 {
                    break;
                }
            }
            return Ok(());
        }
    }
}

/// Reads through a shared reference: both directions borrow both sockets, which thus stay whole for a reset.
async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Done when who serves a connection was asked to stop, and nothing has moved on it for `quiet` since.
pub(crate) async fn idle_after_stop(
    stopped: &mut watch::Receiver<bool>,
    moved: &AtomicU64,
    quiet: Duration,
) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
    loop {
        let before = moved.load(Ordering::Relaxed);
        sleep(quiet).await;
        if moved.load(Ordering::Relaxed) == before {
            return;
        }
    }
}
