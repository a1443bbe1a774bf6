//! One connection through a tunnel (decision 012): bytes both ways, as they are. The registry has accepted it already.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpStream, tcp};
use tokio::sync::watch;

use super::connection::{self, End, IDLE_WHEN_STOPPING};
use super::way::Seen;
use crate::kube::{PIECE, Tunnel, poll_read_piece};
use crate::relay;

/// Carries bytes both ways until one side has ended. `early` is what the client has said already, to a pod that did not listen.
pub(super) async fn carry(
    client: &mut TcpStream,
    tunnel: Tunnel,
    early: &[u8],
    seen: &Seen,
    stopped: &mut watch::Receiver<bool>,
) -> End {
    let (mut from_pod, mut to_pod) = split(tunnel);
    let (mut from_client, mut to_client) = client.split();
    let moved = AtomicU64::new(0);
    tokio::select! {
        end = down(&mut from_pod, &mut to_client, seen, &moved) => end,
        end = up(&mut from_client, &mut to_pod, early, seen, &moved) => end,
        () = relay::idle_after_stop(stopped, &moved, IDLE_WHEN_STOPPING) => End::Left,
    }
}

/// What the client says, to the pod.
async fn up(
    client: &mut tcp::ReadHalf<'_>,
    pod: &mut WriteHalf<Tunnel>,
    early: &[u8],
    seen: &Seen,
    moved: &AtomicU64,
) -> End {
    let mut piece = BytesMut::from(early);
    loop {
        if piece.is_empty() {
            match std::future::poll_fn(|cx| poll_read_piece(client, cx, &mut piece)).await {
                Ok(0) => return connection::silence(moved).await,
                Ok(_) => {}
                Err(_) => return End::Left,
            }
        }
        let bytes = piece.len() as u64;
        if pod.write_all(&piece).await.is_err() || pod.flush().await.is_err() {
            // It may have answered before it ended: that is for the other direction to say.
            return connection::forget(client).await;
        }
        piece.clear();
        seen.sent.fetch_add(bytes, Ordering::Relaxed);
        moved.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What the pod says, to the client.
async fn down(
    pod: &mut ReadHalf<Tunnel>,
    client: &mut tcp::WriteHalf<'_>,
    seen: &Seen,
    moved: &AtomicU64,
) -> End {
    let broken = |error| End::Broken(format!("the way to the pod broke: {error}"));
    let mut piece = BytesMut::new();
    loop {
        match std::future::poll_fn(|cx| poll_read_piece(pod, cx, &mut piece)).await {
            Ok(0) => return End::Said,
            Ok(_) => {}
            Err(error) => return broken(error),
        }
        // One of TLS's records has come; those that have come after it go with it.
        let mut end = None;
        while end.is_none() && piece.len() < PIECE {
            let space = PIECE - piece.len();
            let mut more = (&mut piece).limit(space);
            end = match pod.read_buf(&mut more).now_or_never() {
                None => break,
                Some(Ok(0)) => Some(End::Said),
                Some(Ok(_)) => None,
                Some(Err(error)) => Some(broken(error)),
            };
        }
        if client.write_all(&piece).await.is_err() {
            return End::Left;
        }
        let bytes = piece.len() as u64;
        piece.clear();
        seen.received.fetch_add(bytes, Ordering::Relaxed);
        moved.fetch_add(bytes, Ordering::Relaxed);
        if let Some(end) = end {
            return end;
        }
    }
}
