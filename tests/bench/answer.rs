//! The little of HTTP/1.1's answers that a client of registries needs.

use anyhow::{Context, Result, bail, ensure};

use crate::wire::Sink;

/// What an answer's head says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
    pub(crate) location: Option<String>,
}

impl Head {
    /// Parses the head that `bytes` begin with, and says where it ends; `None` where more has to come.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(usize, Self)>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).context("a head that is no text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap_or_default();
        let status = status
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .with_context(|| format!("no status: {status:?}"))?;
        let mut head = Self {
            status,
            length: None,
            chunked: false,
            close: false,
            location: None,
        };
        for line in lines {
            let (name, value) = line.split_once(':').context("a header without colon")?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("Content-Length") {
                head.length = Some(value.parse().context("Content-Length")?);
            } else if name.eq_ignore_ascii_case("Transfer-Encoding") {
                head.chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("Connection") {
                head.close = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("Location") {
                head.location = Some(value.to_owned());
            }
        }
        Ok(Some((end + 4, head)))
    }

    /// What follows the head of an answer to this method.
    pub(crate) fn body(&self, method: &str) -> Body {
        match (self.status, self.length) {
            (204 | 304, _) => Body::Sized(0),
            _ if method == "HEAD" => Body::Sized(0),
            _ if self.chunked => Body::Chunked(Chunk::Length(0)),
            (_, Some(length)) => Body::Sized(length),
            (_, None) => Body::ToEnd,
        }
    }
}

/// How much of a body is still to come.
#[derive(Debug)]
pub(crate) enum Body {
    Sized(u64),
    Chunked(Chunk),
    /// Until the server closes.
    ToEnd,
}

/// Where in a chunked body we are.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// In the line that says how long the next is; so far it says this.
    Length(u64),
    /// So many bytes before the end of a chunk and of the line end behind it.
    Data(u64),
    /// Behind the last chunk, so many bytes into the end: there are no trailers.
    Last(u8),
    End,
}

impl Body {
    pub(crate) fn ended(&self) -> bool {
        matches!(self, Self::Sized(0) | Self::Chunked(Chunk::End))
    }

    /// Takes bytes that came, and says how many of them are content.
    pub(crate) fn take(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
        match self {
            Self::Sized(left) => {
                let came = bytes.len() as u64;
                ensure!(came <= *left, "more than the answer's length");
                *left -= came;
                sink.take(bytes);
                Ok(came)
            }
            Self::ToEnd => {
                sink.take(bytes);
                Ok(bytes.len() as u64)
            }
            Self::Chunked(chunk) => chunk.take(bytes, sink),
        }
    }
}

impl Chunk {
    fn take(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
        let mut content = 0;
        while let Some((&first, rest)) = bytes.split_first() {
            match self {
                Self::Length(length) => {
                    bytes = rest;
                    match first {
                        b'\r' => {}
                        b'\n' if *length == 0 => *self = Self::Last(0),
                        b'\n' => *self = Self::Data(*length + 2),
                        digit => {
                            let digit =
                                char::from(digit).to_digit(16).context("a chunk's length")?;
                            *length = (*length << 4) | u64::from(digit);
                        }
                    }
                }
                Self::Data(left) => {
                    let here = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    // The last two are the line end.
                    let data = usize::try_from(left.saturating_sub(2)).unwrap_or(usize::MAX);
                    let data = data.min(here);
                    sink.take(&bytes[..data]);
                    content += data as u64;
                    bytes = &bytes[here..];
                    *left -= here as u64;
                    if *left == 0 {
                        *self = Self::Length(0);
                    }
                }
                Self::Last(seen) => {
                    ensure!(first == b"\r\n"[usize::from(*seen)], "a trailer");
                    bytes = rest;
                    *self = match seen {
                        0 => Self::Last(1),
                        _ => Self::End,
                    };
                }
                Self::End => bail!("more than the answer's last chunk"),
            }
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes()).unwrap().unwrap().1
    }

    #[test]
    fn a_head_is_parsed_once_it_is_there() {
        let text = "HTTP/1.1 202 Accepted\r\nlocation: /v2/a/blobs/uploads/1?_state=x%3D\r\nContent-Length: 12\r\n\r\nbody";
        for end in 0..text.len() - 4 {
            assert!(Head::parse(&text.as_bytes()[..end]).unwrap().is_none());
        }
        let (end, parsed) = Head::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(&text[end..], "body");
        assert_eq!(
            parsed,
            Head {
                status: 202,
                length: Some(12),
                chunked: false,
                close: false,
                location: Some("/v2/a/blobs/uploads/1?_state=x%3D".to_owned()),
            }
        );
        assert!(head("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").close);
        assert!(Head::parse(b"ICY 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_body_ends_where_the_answer_says() {
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert!(head(sized).body("HEAD").ended());
        let mut body = head(sized).body("GET");
        assert_eq!(body.take(b"123", &mut Sink::Drop).unwrap(), 3);
        assert!(!body.ended());
        assert_eq!(body.take(b"45", &mut Sink::Drop).unwrap(), 2);
        assert!(body.ended());
        assert!(body.take(b"6", &mut Sink::Drop).is_err());
        assert!(head("HTTP/1.1 204 No Content\r\n\r\n").body("GET").ended());
    }

    #[test]
    fn chunks_are_joined_however_they_come() {
        let wire = b"5\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
        for step in 1..=wire.len() {
            let mut body =
                head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").body("GET");
            let mut kept = Vec::new();
            let mut content = 0;
            for piece in wire.chunks(step) {
                assert!(!body.ended());
                content += body.take(piece, &mut Sink::Keep(&mut kept)).unwrap();
            }
            assert!(body.ended(), "in steps of {step}");
            assert_eq!(kept, b"helloabcdefghijklmnopqrstuvwxyz");
            assert_eq!(content, 31);
        }
    }
}
