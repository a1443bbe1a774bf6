//! Sends what is lent of files without copying it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
#[cfg(target_os = "linux")]
use std::task::ready;
use std::task::{Context, Poll};

#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(target_os = "linux")]
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::blobs::window;

/// A connection that has the system send bytes of files from where they are.
pub(super) struct Lent(pub(super) TcpStream);

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let lent = slices.iter().enumerate().find_map(|(at, slice)| {
            let part = window::behind(slice)?;
            Some((at, part))
        });
        match lent {
            Some((0, part)) => send(&self.0, context, &part, &slices[0]),
            // What comes before it goes alone.
            Some((at, _)) => Pin::new(&mut self.0).poll_write_vectored(context, &slices[..at]),
            None => Pin::new(&mut self.0).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Sends some of these bytes, which are a part of a file.
#[cfg(target_os = "linux")]
fn send(
    stream: &TcpStream,
    context: &mut Context<'_>,
    part: &window::Part,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    let send = || {
        let mut offset = part.offset;
        rustix::fs::sendfile(stream, &part.file, Some(&mut offset), bytes.len())
            .map_err(io::Error::from)
    };
    loop {
        ready!(stream.poll_write_ready(context))?;
        let sent = stream.try_io(Interest::WRITABLE, || match window::is_in_memory(bytes) {
            true => send(),
            // The peer was so slow that the system has made room meanwhile.
            false => waiting(send),
        });
        match sent {
            Ok(0) => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            sent => return Poll::Ready(sent),
        }
    }
}

/// Does what may wait for a disk. What else the thread has to do goes to another.
#[cfg(target_os = "linux")]
fn waiting<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}

/// Other systems lend nothing.
#[cfg(not(target_os = "linux"))]
fn send(
    _stream: &TcpStream,
    _context: &mut Context<'_>,
    _part: &window::Part,
    _bytes: &[u8],
) -> Poll<io::Result<usize>> {
    Poll::Ready(Err(ErrorKind::Unsupported.into()))
}
