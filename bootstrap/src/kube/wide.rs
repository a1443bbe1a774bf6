//! Connections to API servers that are read in large pieces.
//!
//! rustls reads 4 KiB at a time, which is five calls of the system for each of its records: of what a forward costs, most. Here one call
//! fetches what is there, and rustls finds it in memory.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

/// Bytes that are fetched at once: four of TLS's records.
pub(crate) const PIECE: usize = 64 * 1024;

/// A connector whose connections are wide.
#[derive(Debug, Clone)]
pub(super) struct Wide<C>(pub(super) C);

/// A connection, and what was read of it before it was asked for.
#[derive(Debug)]
pub(super) struct WideStream {
    stream: TokioIo<TcpStream>,
    ahead: BytesMut,
}

impl<C> tower::Service<Uri> for Wide<C>
where
    C: tower::Service<Uri, Response = TokioIo<TcpStream>>,
    C::Future: Send + 'static,
{
    type Response = WideStream;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<WideStream, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            Ok(WideStream {
                stream: connecting.await?,
                ahead: BytesMut::new(),
            })
        })
    }
}

/// Reads what is there, up to a piece, into an empty buffer. Whoever is silent holds no memory.
pub(crate) fn poll_read_piece(
    from: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    piece: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    piece.reserve(PIECE);
    let read = pin!(from.read_buf(piece)).poll(cx);
    if read.is_pending() {
        *piece = BytesMut::new();
    }
    read
}

impl Read for WideStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, ahead } = &mut *self;
        if ahead.is_empty() {
            ready!(poll_read_piece(stream.inner_mut(), cx, ahead))?;
        }
        let length = ahead.len().min(buffer.remaining());
        buffer.put_slice(&ahead[..length]);
        ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl Write for WideStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connection for WideStream {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::ReadBuf;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn small_reads_get_everything_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let content = sent.clone();
        let writer = tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            peer.write_all(&content).await.unwrap();
        });
        let mut stream = WideStream {
            stream: TokioIo::new(TcpStream::connect(address).await.unwrap()),
            ahead: BytesMut::new(),
        };
        let mut came = Vec::new();
        loop {
            let mut space = [0; 4096];
            let mut buffer = ReadBuf::new(&mut space);
            let read =
                |cx: &mut Context<'_>| Pin::new(&mut stream).poll_read(cx, buffer.unfilled());
            std::future::poll_fn(read).await.unwrap();
            if buffer.filled().is_empty() {
                break;
            }
            came.extend_from_slice(buffer.filled());
        }
        writer.await.unwrap();
        assert!(came == sent, "{} bytes of {}", came.len(), sent.len());
        assert!(stream.ahead.is_empty());
    }
}
