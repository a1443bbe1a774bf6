//! One kept-alive connection to a registry, as cheap as a client can be that shares its cores with the server: requests are
//! written by hand, bodies are read into one buffer and dropped.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::answer::{Body, Head};

/// No request of a benchmark takes as long.
const PATIENCE: Duration = Duration::from_secs(120);
const BUFFER: usize = 1 << 20;
/// Bodies of up to so many bytes go out with their head, in one call.
const SMALL: usize = 64 << 10;

/// A connection, opened anew where the server closes it.
pub(crate) struct Wire {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    request: Vec<u8>,
}

/// What is done with an answer's body.
pub(crate) enum Sink<'a> {
    /// It is counted.
    Drop,
    /// It is kept: for errors and small documents.
    Keep(&'a mut Vec<u8>),
    /// It is hashed.
    Hash(&'a mut Sha256),
}

impl Sink<'_> {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        match self {
            Sink::Drop => {}
            Sink::Keep(kept) => kept.extend_from_slice(bytes),
            Sink::Hash(hash) => hash.update(bytes),
        }
    }
}

/// An answer, without its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// Bytes of the body.
    pub(crate) bytes: u64,
}

impl Wire {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            buffer: vec![0; BUFFER],
            request: Vec::with_capacity(SMALL),
        }
    }

    /// Connects, if need be: the first request is then no slower than others.
    pub(crate) fn connect(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends a request whose body is at hand, and drops the answer's body. `headers` are whole lines.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<Answer> {
        self.send_to(method, target, headers, body, &mut Sink::Drop)
    }

    /// As [`Wire::send`], with another end for the answer's body.
    pub(crate) fn send_to(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<Answer> {
        let length = match (method, body.len()) {
            ("GET" | "HEAD" | "DELETE", 0) => None,
            (_, length) => Some(length as u64),
        };
        self.begin(method, target, headers, length, body)?;
        self.answer(method, sink)
            .with_context(|| format!("{method} {target}"))
    }

    /// Sends a request's head, with a length or (at [`None`]) without, and a body or its first part.
    pub(crate) fn begin(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        length: Option<u64>,
        body: &[u8],
    ) -> Result<()> {
        self.connect()?;
        self.request.clear();
        write!(
            self.request,
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}",
            self.address
        )?;
        if let Some(length) = length {
            write!(self.request, "Content-Length: {length}\r\n")?;
        }
        self.request.extend_from_slice(b"\r\n");
        let (with, after) = match body.len() <= SMALL {
            true => (body, &body[..0]),
            false => (&body[..0], body),
        };
        self.request.extend_from_slice(with);
        let stream = self.stream.as_mut().context("no connection")?;
        stream.write_all(&self.request)?;
        Ok(stream.write_all(after)?)
    }

    /// Sends more of a body.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream.as_mut().context("no connection")?;
        Ok(stream.write_all(bytes)?)
    }

    /// Reads the answer to a request of this method.
    pub(crate) fn answer(&mut self, method: &str, sink: &mut Sink<'_>) -> Result<Answer> {
        let stream = self.stream.as_mut().context("no connection")?;
        let mut filled = 0;
        let (length, head) = loop {
            ensure!(filled < self.buffer.len(), "an answer without end of head");
            match stream.read(&mut self.buffer[filled..])? {
                0 => bail!(io::Error::from(ErrorKind::UnexpectedEof)),
                read => filled += read,
            }
            if let Some(parsed) = Head::parse(&self.buffer[..filled])? {
                break parsed;
            }
        };
        let mut body = head.body(method);
        let mut bytes = body.take(&self.buffer[length..filled], sink)?;
        while !body.ended() {
            // What the socket has, up to a buffer of it: never more than this answer, for there is no other request under way.
            let read = stream.read(&mut self.buffer)?;
            if read == 0 {
                ensure!(matches!(body, Body::ToEnd), "an answer breaks off");
                break;
            }
            bytes += body.take(&self.buffer[..read], sink)?;
        }
        if head.close || matches!(body, Body::ToEnd) {
            self.stream = None;
        }
        Ok(Answer {
            status: head.status,
            location: head.location,
            bytes,
        })
    }
}

impl Answer {
    /// Itself, if it has this status.
    pub(crate) fn expect(self, status: u16, what: &str) -> Result<Self> {
        ensure!(
            self.status == status,
            "{} instead of {status} to {what}",
            self.status
        );
        Ok(self)
    }

    /// Where it leads, as the target of a request: the server's word, with all that it says, and no host.
    pub(crate) fn target(&self) -> Result<String> {
        let location = self.location.as_deref().context("no Location")?;
        let path = match location.split_once("://") {
            Some((_, rest)) => rest
                .find('/')
                .map(|at| &rest[at..])
                .context("a Location without path")?,
            None => location,
        };
        ensure!(
            path.starts_with('/'),
            "a Location that is no path: {location}"
        );
        Ok(path.to_owned())
    }
}
