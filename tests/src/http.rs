//! A small blocking HTTP/1.1 client. Unlike a good one it can break off, lie about lengths and
//! leave an answer unread, which is what tests of a server need; and it never retries, follows or
//! repairs anything.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A test that waits for ever tells nothing. Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of one chunk of a chunked body: some frames to a write of the server, as on a network.
const CHUNK: usize = 48 << 10;

/// The error codes of the distribution specification.
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// One connection to a server, kept alive between requests.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Body<'a>,
}

/// How a body travels.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Not at all.
    None,
    /// After its length.
    Sized(&'a [u8]),
    /// In chunks, without saying how long it will be: as docker pushes layers.
    Chunked(&'a [u8]),
    /// With a length that may not be that of what is sent.
    Claiming(usize, &'a [u8]),
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All headers, as they came.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_with(address, 64 << 10)
    }

    /// Connects with little memory on this side, for when there are thousands.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open_small(address: SocketAddr) -> io::Result<Self> {
        Self::open_with(address, 512)
    }

    fn open_with(address: SocketAddr, buffer: usize) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::with_capacity(buffer, stream),
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The connection broke before the answer's end; `InvalidData` where the answer is not HTTP.
    pub fn send(&mut self, request: Request<'_>) -> io::Result<Answer> {
        self.write(&request.head())?;
        match request.body {
            Body::None => {}
            Body::Sized(bytes) | Body::Claiming(_, bytes) => self.write(bytes)?,
            Body::Chunked(bytes) => {
                bytes
                    .chunks(CHUNK)
                    .try_for_each(|chunk| self.write_chunk(chunk))?;
                self.write(b"0\r\n\r\n")?;
            }
        }
        self.read_answer(request.method)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection broke.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends one chunk of a chunked body. An empty one would end the body, so it is left out.
    ///
    /// # Errors
    /// The connection broke.
    pub fn write_chunk(&mut self, chunk: &[u8]) -> io::Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.write(format!("{:x}\r\n", chunk.len()).as_bytes())?;
        self.write(chunk)?;
        self.write(b"\r\n")
    }

    /// Reads the answer to a request of this method.
    ///
    /// # Errors
    /// As for [`Connection::send`].
    pub fn read_answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut answer = self.read_head()?;
        while answer.status / 100 == 1 {
            answer = self.read_head()?;
        }
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
            return Ok(answer);
        }
        if answer.header("Transfer-Encoding") == Some("chunked") {
            answer.body = self.read_chunks()?;
        } else if let Some(length) = answer.header("Content-Length") {
            let length: usize = length
                .parse()
                .map_err(|_| not_http("Content-Length", length))?;
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body)?;
        } else {
            self.stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Whether nothing comes for so long: no byte, and no end either.
    ///
    /// # Errors
    /// The connection broke.
    pub fn is_silent(&mut self, patience: Duration) -> io::Result<bool> {
        self.stream.get_ref().set_read_timeout(Some(patience))?;
        let came = self.stream.fill_buf().map(|_| ());
        self.stream.get_ref().set_read_timeout(Some(PATIENCE))?;
        match came {
            Ok(()) => Ok(false),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Everything that comes until the server closes.
    ///
    /// # Errors
    /// The connection broke.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the server has closed, waiting for what it does next: nothing else may come.
    ///
    /// # Errors
    /// Something came.
    pub fn closed(&mut self) -> io::Result<()> {
        match self.read_to_end() {
            Ok(rest) if rest.is_empty() => Ok(()),
            Ok(rest) => Err(not_http("rest", &String::from_utf8_lossy(&rest))),
            // Where something of ours was left unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Says that nothing more will be sent, while answers can still be read.
    ///
    /// # Errors
    /// The connection broke.
    pub fn close_sending(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(std::net::Shutdown::Write)
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|error| not_http("line", &error.to_string()))
    }

    /// Reads the head of an answer, be it only a `100 Continue`.
    ///
    /// # Errors
    /// As for [`Connection::send`].
    pub fn read_head(&mut self) -> io::Result<Answer> {
        let line = self.read_line()?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| not_http("status line", &line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(Answer {
                    status,
                    headers,
                    body: Vec::new(),
                });
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| not_http("header", &line))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let length = usize::from_str_radix(&line, 16).map_err(|_| not_http("chunk", &line))?;
            let start = body.len();
            body.resize(start + length, 0);
            self.stream.read_exact(&mut body[start..])?;
            self.read_line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

fn not_http(what: &str, text: &str) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("the answer's {what} is no HTTP: {text:?}"),
    )
}

impl<'a> Request<'a> {
    /// A request without body. The target goes over the wire as it is, right or wrong.
    #[must_use]
    pub fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: Vec::new(),
            body: Body::None,
        }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }

    /// The request's line and headers.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| *name == "Host") {
            head += "Host: localhost\r\n";
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match self.body {
            // What has no body and may have one says so.
            Body::None if matches!(self.method, "POST" | "PUT" | "PATCH") => {
                head += "Content-Length: 0\r\n";
            }
            Body::None => {}
            Body::Sized(bytes) => head += &format!("Content-Length: {}\r\n", bytes.len()),
            Body::Claiming(length, _) => head += &format!("Content-Length: {length}\r\n"),
            Body::Chunked(_) => head += "Transfer-Encoding: chunked\r\n",
        }
        (head + "\r\n").into_bytes()
    }
}

impl Answer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Where the answer points to.
    ///
    /// # Errors
    /// Nowhere.
    pub fn location(&self) -> Result<&str> {
        self.header("Location")
            .with_context(|| format!("an answer without Location: {self:?}"))
    }

    /// Where a list's next page is, if this is not the last.
    ///
    /// # Errors
    /// The answer says so in another form than that of the specification.
    pub fn next_page(&self) -> Result<Option<String>> {
        let Some(link) = self.header("Link") else {
            return Ok(None);
        };
        let target = link.strip_prefix('<');
        let target = target.and_then(|link| link.strip_suffix(">; rel=\"next\""));
        let target = target.with_context(|| format!("no link to a next page: {link}"))?;
        Ok(Some(target.to_owned()))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            format!(
                "{} with a body that is no JSON: {:?}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// The code of an error in the specification's form.
    ///
    /// # Errors
    /// The answer is no error, or one in another form, which clients would not understand.
    pub fn error_code(&self) -> Result<String> {
        ensure!(self.status >= 400, "{} is no error", self.status);
        ensure!(
            self.header("Content-Type") == Some("application/json"),
            "an error that is not sent as JSON: {self:?}"
        );
        let json = self.json()?;
        let error = &json["errors"][0];
        let code = error["code"].as_str().unwrap_or_default().to_owned();
        ensure!(
            CODES.contains(&code.as_str())
                && error["message"].as_str().is_some_and(|m| !m.is_empty()),
            "no error of the specification's form: {json}"
        );
        Ok(code)
    }
}
