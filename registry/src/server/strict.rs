//! Request smuggling ends here: what two parsers could read as two different requests is read by
//! nobody.
//!
//! hyper follows RFC 9112 where it allows leniency: it ends lines at a bare LF, takes a length beside
//! chunks, merges lengths, ignores codings before `chunked`. A proxy in front may do otherwise, and
//! what it takes for a body would then be a request here. So each connection is read along with
//! hyper. From the first such byte of a head on, hyper sees something that is no HTTP in any reading;
//! in a body, it sees the connection fail. Either way the answer is 400, and the connection closes.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What stands for everything from a violation on: allowed nowhere in a head, and with an end of the
/// head, because hyper looks closer only once it has seen one.
const NO_HEAD: &[u8] = b"\0\n\n";

/// A connection that yields unambiguous requests only.
pub(super) struct Strict<S> {
    stream: S,
    framing: Framing,
}

impl<S> Strict<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            framing: Framing::default(),
        }
    }

    /// The connection itself.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

/// Where a connection is between the bytes of its requests.
#[derive(Debug, Default)]
struct Framing {
    part: Part,
    /// What has come of a line whose end has not.
    line: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head(Head),
    /// A body, or a chunk of one, with so many bytes to come.
    Bytes {
        left: u64,
        chunk: bool,
    },
    ChunkEnd,
    ChunkSize,
    Trailers,
    /// Something else has to be read instead of a head.
    BrokenHead,
    /// Nothing more can be read.
    Broken,
}

/// What is known of a request whose head is being read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Head {
    /// Its first line has come.
    begun: bool,
    host: bool,
    /// HTTP/1.0 has no `Host`.
    needs_host: bool,
    length: Option<u64>,
    chunked: bool,
}

/// A line, or a head, that another parser might see otherwise.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request can be read in two ways")]
struct Ambiguous;

impl Default for Part {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Framing {
    /// Reads along, and says how many bytes come before the first violation.
    fn check(&mut self, bytes: &[u8]) -> usize {
        let mut position = 0;
        while position < bytes.len() {
            let rest = &bytes[position..];
            match self.part {
                Part::BrokenHead | Part::Broken => return position,
                Part::Bytes { left, chunk } => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    position += taken;
                    self.part = match (left - taken as u64, chunk) {
                        (0, true) => Part::ChunkEnd,
                        (0, false) => Part::default(),
                        (left, chunk) => Part::Bytes { left, chunk },
                    };
                }
                _ => {
                    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                        self.line.extend_from_slice(rest);
                        return bytes.len();
                    };
                    let mut line = std::mem::take(&mut self.line);
                    let next = match line.is_empty() {
                        true => self.part.after(&rest[..end]),
                        false => {
                            line.extend_from_slice(&rest[..end]);
                            self.part.after(&line)
                        }
                    };
                    position += end;
                    match next {
                        Ok(part) => {
                            self.part = part;
                            position += 1;
                        }
                        // The line's end is not let through, and so neither is the line.
                        Err(Ambiguous) if matches!(self.part, Part::Head(_)) => {
                            self.part = Part::BrokenHead;
                        }
                        Err(Ambiguous) => self.part = Part::Broken,
                    }
                }
            }
        }
        position
    }
}

impl Framing {
    fn is_broken(&self) -> bool {
        matches!(self.part, Part::BrokenHead | Part::Broken)
    }
}

impl Part {
    /// What comes after a line, which is given without its LF.
    fn after(self, line: &[u8]) -> Result<Self, Ambiguous> {
        let line = line.strip_suffix(b"\r").ok_or(Ambiguous)?;
        if line.contains(&b'\r') {
            return Err(Ambiguous);
        }
        match self {
            Self::Head(head) => head.after(line),
            Self::ChunkSize => match chunk_size(line)? {
                0 => Ok(Self::Trailers),
                left => Ok(Self::Bytes { left, chunk: true }),
            },
            Self::ChunkEnd if line.is_empty() => Ok(Self::ChunkSize),
            Self::Trailers if line.is_empty() => Ok(Self::default()),
            Self::Trailers => Ok(self),
            _ => Err(Ambiguous),
        }
    }
}

impl Head {
    fn after(mut self, line: &[u8]) -> Result<Part, Ambiguous> {
        if !self.begun {
            // Empty lines before a request are to be passed over (RFC 9112 §2.2).
            self.begun = !line.is_empty();
            self.needs_host = line.ends_with(b"HTTP/1.1");
            return Ok(Part::Head(self));
        }
        if line.is_empty() {
            return self.end();
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or(Ambiguous)?);
        let value = value[1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            if self.host {
                return Err(Ambiguous);
            }
            self.host = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if self.chunked || self.length.is_some() {
                return Err(Ambiguous);
            }
            self.length = Some(decimal(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || self.length.is_some() || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
            self.chunked = true;
        }
        Ok(Part::Head(self))
    }

    fn end(self) -> Result<Part, Ambiguous> {
        if self.needs_host && !self.host {
            return Err(Ambiguous);
        }
        Ok(match (self.chunked, self.length) {
            (true, _) => Part::ChunkSize,
            (false, Some(left)) if left > 0 => Part::Bytes { left, chunk: false },
            (false, _) => Part::default(),
        })
    }
}

fn decimal(digits: &[u8]) -> Result<u64, Ambiguous> {
    // `parse` alone would take a sign.
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| all);
    text.and_then(|text| text.parse().ok()).ok_or(Ambiguous)
}

/// The size of a chunk. What extensions say is for nobody here, but they have to be some.
fn chunk_size(line: &[u8]) -> Result<u64, Ambiguous> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (size, extensions) = line.split_at(digits.count());
    let extensions = extensions.trim_ascii_start();
    if !extensions.is_empty() && extensions[0] != b';' {
        return Err(Ambiguous);
    }
    let text = std::str::from_utf8(size).map_err(|_| Ambiguous)?;
    u64::from_str_radix(text, 16).map_err(|_| Ambiguous)
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if !self.framing.is_broken() {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let passed = self.framing.check(&buffer.filled()[before..]);
            buffer.set_filled(before + passed);
            // Nothing read would be the end of the connection.
            if passed > 0 || !self.framing.is_broken() {
                return Poll::Ready(Ok(()));
            }
        }
        if self.framing.part == Part::BrokenHead {
            self.framing.part = Part::Broken;
            let room = buffer.remaining().min(NO_HEAD.len());
            buffer.put_slice(&NO_HEAD[..room]);
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, Ambiguous)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much is let through of a connection, read in pieces of so many bytes.
    fn read(text: &str, size: usize) -> usize {
        let mut framing = Framing::default();
        let pieces = text.as_bytes().chunks(size);
        pieces.map(|piece| framing.check(piece)).sum()
    }

    #[test]
    fn plain_requests_pass_however_they_arrive() {
        let text = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\
            PUT /a HTTP/1.1\r\nhost:a\r\ncontent-length: 4\r\n\r\n\n\r\n\0\
            PATCH /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:  Chunked \r\n\r\n\
            A;name=\"value\"\r\n\n\n\n\n\n\0\r\r\r\r\r\n3 ; b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n\
            GET /c HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for size in 1..=text.len() {
            assert_eq!(read(text, size), text.len(), "in pieces of {size}");
        }
    }

    #[test]
    fn nothing_passes_from_the_first_violation_on() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\n";
        let chunked = "Transfer-Encoding: chunked\r\n";
        for violation in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Host: b\r\n",
            "no colon\r\n",
            "A: b\n",
            "A: b\rc\r\n",
            &format!("{chunked}\r\n+1\r\n"),
            &format!("{chunked}\r\n1\n"),
            &format!("{chunked}\r\n1 x\r\n"),
            &format!("{chunked}\r\n;a\r\n"),
            &format!("{chunked}\r\n10000000000000000\r\n"),
            &format!("{chunked}\r\n1\r\nab\r\n"),
            &format!("{chunked}\r\n0\r\nA: b\n"),
        ] {
            let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
            let text = format!("{head}{violation}\r\n{smuggled}");
            for size in 1..=text.len() {
                let passed = read(&text, size);
                assert!(passed < head.len() + violation.len(), "{violation:?}");
            }
        }
        for text in [
            "GET / HTTP/1.1\r\nA: b\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
        ] {
            assert!(read(text, 9) < text.len(), "{text:?}");
        }
    }
}
