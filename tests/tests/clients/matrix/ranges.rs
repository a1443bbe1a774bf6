//! Whether ranges are asked for in parallel, which times do not tell: a proxy holds each back until
//! another is there as well.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

/// Longer than a client on a busy machine takes to ask for the next range.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy in front of the registry, for the rest of the test.
pub(super) struct Meeting {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    waiting: Mutex<usize>,
    changed: Condvar,
}

impl Meeting {
    pub(super) fn before(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::<State>::default();
        let meeting = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = meeting.clone();
                // A connection that breaks is the client's to notice.
                std::thread::spawn(move || relay(client, server, &state));
            }
        });
        Ok(Self { address, state })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether two ranges were asked for at the same time.
    pub(super) fn took_place(&self) -> bool {
        *self.state.lock() >= 2
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for another. Who comes after two have met waits no more; who waited in vain goes, and
    /// counts no more.
    fn meet(&self) {
        let mut waiting = self.lock();
        *waiting += 1;
        self.changed.notify_all();
        let (mut waiting, waited) = self
            .changed
            .wait_timeout_while(waiting, PATIENCE, |waiting| *waiting < 2)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            *waiting -= 1;
        }
    }
}

/// Passes requests without bodies on, one after another, and all that is answered back.
fn relay(client: TcpStream, server: SocketAddr, state: &State) -> io::Result<()> {
    let mut upstream = TcpStream::connect(server)?;
    let (mut from, mut to) = (upstream.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    while client.read_until(b'\n', &mut head)? > 0 {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&head).to_lowercase();
        // The first range tells how long the blob is, and comes alone.
        if text.contains("\r\nrange: bytes=") && !text.contains("\r\nrange: bytes=0-") {
            state.meet();
        }
        upstream.write_all(&head)?;
        head.clear();
    }
    upstream.shutdown(Shutdown::Both)
}
