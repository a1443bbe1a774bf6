//! Moves bytes from socket to socket inside the system, so that nobody copies them in between.

#[cfg(target_os = "linux")]
pub(super) use linux::Pipe;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Pipe;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::pipe::{
        PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
    };
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    /// Bytes that are between the sockets at most, where the system grants it.
    const MOST_BYTES: usize = 512 << 10;
    /// A smaller one, which a user gets who has many, is not worth it.
    const LEAST_BYTES: usize = 64 << 10;

    /// What is between two sockets.
    pub(in crate::relay) struct Pipe {
        end: OwnedFd,
        beginning: OwnedFd,
        bytes: usize,
    }

    impl Pipe {
        /// Nothing where the system has none to spare: then somebody has to copy.
        pub(in crate::relay) fn new() -> Option<Self> {
            let (end, beginning) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            // Where that is too much, it stays as large as it is.
            let _ = fcntl_setpipe_size(&beginning, MOST_BYTES);
            let bytes = fcntl_getpipe_size(&beginning).ok()?;
            (bytes >= LEAST_BYTES).then_some(Self {
                end,
                beginning,
                bytes,
            })
        }

        /// Moves everything up to the end, of which who reads next is told once more. Says whether the receiver listened to
        /// all of it.
        pub(in crate::relay) async fn pump(
            &self,
            from: &TcpStream,
            to: &TcpStream,
            moved: &AtomicU64,
        ) -> io::Result<bool> {
            loop {
                let came = from.async_io(Interest::READABLE, || {
                    transfer(from, &self.beginning, self.bytes)
                });
                let mut left = came.await?;
                if left == 0 {
                    return Ok(true);
                }
                moved.fetch_add(left as u64, Ordering::Relaxed);
                while left > 0 {
                    let went = to.async_io(Interest::WRITABLE, || transfer(&self.end, to, left));
                    match went.await {
                        Ok(went) => left -= went,
                        Err(_) => return Ok(false),
                    }
                }
            }
        }
    }

    fn transfer(from: impl AsFd, to: impl AsFd, bytes: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        Ok(splice(from, None, to, None, bytes, flags)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;
    use std::sync::atomic::AtomicU64;

    use tokio::net::TcpStream;

    /// What other systems do not have.
    pub(in crate::relay) enum Pipe {}

    impl Pipe {
        pub(in crate::relay) fn new() -> Option<Self> {
            None
        }

        pub(in crate::relay) async fn pump(
            &self,
            _from: &TcpStream,
            _to: &TcpStream,
            _moved: &AtomicU64,
        ) -> io::Result<bool> {
            match *self {}
        }
    }
}
