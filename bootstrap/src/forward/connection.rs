//! One connection: a way of its own to a pod that is ready now, and bytes both ways until one side has ended. Here that
//! way is a WebSocket.
//!
//! Its protocol has an end, and no half of one: what is to be told to the pod is told until the pod has ended, or until
//! it has been silent for a while after the client ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::tunnel;
use super::way::{Opened, Seen, Way};
use crate::kube::Messages;
use crate::relay;

/// The channel of what pod and client say to each other.
const DATA: u8 = 0;
/// The channel of what kept the pod from it.
const ERROR: u8 = 1;
/// Bytes of one message: what is waiting, up to this.
const MESSAGE_BYTES: usize = 64 * 1024;
/// What a client has said first is kept until a pod has answered: it is said again where a pod refused to listen.
const EARLY_BYTES: usize = 64 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a pod may be silent that cannot be told that its client has ended.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a client may go on after its pod has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A connection that moves nothing for so long ends when the forward is asked to stop.
pub(super) const IDLE_WHEN_STOPPING: Duration = Duration::from_millis(500);

/// How a connection ended.
pub(super) enum End {
    /// The pod did not listen, and has heard nothing: another may.
    Refused(String),
    /// The pod has said everything.
    Said,
    /// The client has gone, or is of no more use.
    Left,
    /// The way broke.
    Broken(String),
}

/// What the client has said so far.
#[derive(Default)]
struct Early {
    bytes: Vec<u8>,
    is_more: AtomicBool,
}

/// Leads one connection from its first byte to its last.
pub(super) async fn lead(mut client: TcpStream, way: &Way, mut stopped: watch::Receiver<bool>) {
    let _ = client.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
    let _ = SockRef::from(&client).set_tcp_keepalive(&keepalive);
    let end = Instant::now() + way.hold;
    let mut pause = FIRST_PAUSE;
    let mut early = Early::default();
    loop {
        let opened = tokio::select! {
            opened = way.open() => opened,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let problem = match opened {
            Err(error) => format!("{error:#}"),
            Ok(opened) => {
                let carried = match opened {
                    Opened::Tunnel(to) => {
                        tunnel::carry(&mut client, to, &early.bytes, &way.seen, &mut stopped).await
                    }
                    Opened::Messages(to) => {
                        carry(&mut client, *to, &mut early, &way.seen, &mut stopped).await
                    }
                };
                match carried {
                    End::Refused(problem) => problem,
                    End::Said => return end_well(client).await,
                    End::Left => return,
                    End::Broken(problem) => {
                        way.seen.went_wrong(&problem);
                        break;
                    }
                }
            }
        };
        way.seen.went_wrong(&problem);
        if Instant::now() + pause >= end {
            way.seen.failed.fetch_add(1, Ordering::Relaxed);
            if way.is_registry {
                return relay::turn_away(client).await;
            }
            break;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    // Half of something must not look like the whole: a reset, not an end.
    let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
}

/// Carries bytes both ways.
async fn carry(
    client: &mut TcpStream,
    messages: Messages,
    early: &mut Early,
    seen: &Seen,
    stopped: &mut watch::Receiver<bool>,
) -> End {
    let (mut sink, mut stream) = messages.split();
    let (mut read, mut write) = client.split();
    let has_answered = AtomicBool::new(false);
    let moved = AtomicU64::new(0);
    let Early { bytes, is_more } = early;
    let up = Up {
        seen,
        moved: &moved,
        has_answered: &has_answered,
        is_more,
    };
    let end = tokio::select! {
        end = down(&mut stream, &mut write, seen, &moved, &has_answered) => end,
        end = up.run(&mut read, &mut sink, bytes) => end,
        () = relay::idle_after_stop(stopped, &moved, IDLE_WHEN_STOPPING) => End::Left,
    };
    match end {
        // What was answered, or forgotten by now, cannot be said again to another.
        End::Refused(problem)
            if has_answered.into_inner()
                || is_more.load(Ordering::Relaxed)
                || !is_refusal(&problem) =>
        {
            End::Broken(problem)
        }
        end => end,
    }
}

/// What the client says, to the pod.
struct Up<'a> {
    seen: &'a Seen,
    moved: &'a AtomicU64,
    has_answered: &'a AtomicBool,
    is_more: &'a AtomicBool,
}

impl Up<'_> {
    async fn run(
        &self,
        client: &mut ReadHalf<'_>,
        pod: &mut SplitSink<Messages, Message>,
        early: &mut Vec<u8>,
    ) -> End {
        if !early.is_empty() {
            let again = [&[DATA], early.as_slice()].concat();
            if pod.send(Message::Binary(again.into())).await.is_err() {
                return std::future::pending().await;
            }
        }
        let mut buffer = BytesMut::new();
        loop {
            // Whoever is silent holds no memory.
            if client.readable().await.is_err() {
                return End::Left;
            }
            buffer.reserve(MESSAGE_BYTES + 1);
            buffer.put_u8(DATA);
            match client
                .read_buf(&mut (&mut buffer).limit(MESSAGE_BYTES))
                .await
            {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return End::Left,
            }
            let message = buffer.split().freeze();
            self.count(message.len() - 1);
            self.keep(&message[1..], early);
            if pod.send(Message::Binary(message)).await.is_err() {
                // It may have answered before it ended: that is for the other direction to say.
                return forget(client).await;
            }
        }
        silence(self.moved).await
    }

    fn count(&self, bytes: usize) {
        self.seen.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn keep(&self, said: &[u8], early: &mut Vec<u8>) {
        if self.has_answered.load(Ordering::Relaxed) || self.is_more.load(Ordering::Relaxed) {
            return;
        }
        if early.len() + said.len() > EARLY_BYTES {
            self.is_more.store(true, Ordering::Relaxed);
            *early = Vec::new();
        } else {
            early.extend_from_slice(said);
        }
    }
}

/// What the pod says, to the client.
async fn down(
    pod: &mut SplitStream<Messages>,
    client: &mut WriteHalf<'_>,
    seen: &Seen,
    moved: &AtomicU64,
    has_answered: &AtomicBool,
) -> End {
    let mut has_begun = [false; 2];
    loop {
        let message: Bytes = match pod.next().await {
            Some(Ok(Message::Binary(message))) => message,
            Some(Ok(Message::Close(_))) | None => return End::Said,
            Some(Ok(_)) => continue,
            Some(Err(error)) => return End::Broken(format!("the way to the pod broke: {error}")),
        };
        let Some((channel, words)) = message.split_first() else {
            continue;
        };
        match has_begun.get_mut(usize::from(*channel)) {
            Some(has_begun @ false) => *has_begun = true,
            Some(true) if *channel == ERROR => {
                let problem = String::from_utf8_lossy(words).trim().to_owned();
                return match has_answered.load(Ordering::Relaxed) {
                    // A server that answers early and hangs up is heard to its last byte.
                    true => End::Said,
                    false => End::Refused(problem),
                };
            }
            Some(true) => {
                has_answered.store(true, Ordering::Relaxed);
                if client.write_all(words).await.is_err() {
                    return End::Left;
                }
                let bytes = words.len() as u64;
                seen.received.fetch_add(bytes, Ordering::Relaxed);
                moved.fetch_add(bytes, Ordering::Relaxed);
            }
            None => return End::Broken(format!("the way to the pod has no channel {channel}")),
        }
    }
}

/// Whether a runtime says that nobody listened, and not that somebody stopped.
fn is_refusal(problem: &str) -> bool {
    let problem = problem.to_ascii_lowercase();
    ["connection refused", "failed to connect", "failed to dial"]
        .iter()
        .any(|words| problem.contains(words))
}

/// The pod has ended, so the client is told, and heard for a while: what it is still sending would else turn the end
/// into a reset, which may overtake what the pod said last.
async fn end_well(mut client: TcpStream) {
    if client.shutdown().await.is_ok() {
        let (mut read, _write) = client.split();
        let end = Instant::now() + LAST_WORDS;
        let mut buffer = vec![0; MESSAGE_BYTES];
        while let Ok(Ok(1..)) = timeout_at(end, read.read(&mut buffer)).await {}
    }
}

/// Waits until nothing was moved for a while, after a client has said everything.
pub(super) async fn silence(moved: &AtomicU64) -> End {
    loop {
        let before = moved.load(Ordering::Relaxed);
        sleep(SILENCE).await;
        if moved.load(Ordering::Relaxed) == before {
            return End::Left;
        }
    }
}

/// Reads on and forgets; how it ends is for others to say.
pub(super) async fn forget(client: &mut ReadHalf<'_>) -> End {
    let mut buffer = vec![0; MESSAGE_BYTES];
    let end = Instant::now() + LAST_WORDS;
    while let Ok(Ok(1..)) = timeout_at(end, client.read(&mut buffer)).await {}
    tokio::time::sleep_until(end).await;
    End::Broken("the way to the pod broke".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runtimes_say_of_a_port_that_nobody_has() {
        let containerd = "failed to execute portforward in network namespace \"/var/run/netns/cni-1\": failed to connect to localhost:5000 inside namespace \"7\", IPv4: dial tcp4 127.0.0.1:5000: connect: connection refused IPv6 dial tcp6: address localhost: no suitable address found";
        let socat =
            "exit status 1, 2026/01/01 E connect(5, AF=2 127.0.0.1:5000, 16): Connection refused";
        assert!(is_refusal(containerd) && is_refusal(socat));
        assert!(!is_refusal(
            "read tcp 127.0.0.1:4: read: connection reset by peer"
        ));
    }
}
