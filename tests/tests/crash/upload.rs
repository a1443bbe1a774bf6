//! One blob on its way through as many lives of the server as it takes.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wharf_tests::content::sha256;
use wharf_tests::http::{Answer, Request};

use crate::gate::Failure;
use crate::journal::Key;
use crate::writer::{Writer, expect};

/// Bytes of a chunk with `Content-Range`.
const RANGE: usize = 200 << 10;

/// How long the server may take to store what it was sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a client pushes the bytes of an open upload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// One `PATCH` without a length, then an empty `PUT`: docker.
    Stream,
    /// `PATCH`es with `Content-Range`, then an empty `PUT`.
    Ranges,
    /// All with the closing `PUT`.
    Whole,
}

/// What the client knows of its open upload.
struct Session {
    location: String,
    /// Bytes that the server said it has.
    acknowledged: usize,
    /// The closing `PUT` was sent, and nobody knows what came of it.
    closing: bool,
    /// Where our last request's body began.
    sent_from: usize,
    /// Where the upload must get to, once all has arrived that was sent on a connection we
    /// dropped, and the life of the server in which it was: a server that is killed before it has read all says
    /// nothing to us, who have hung up.
    arriving: Option<(usize, u64)>,
    resumed: bool,
    /// A fault has left some of its bytes.
    resumed_inside: bool,
}

impl Writer<'_> {
    /// Pushes a blob, as often as it takes, and reads it back if it was resumed.
    pub(crate) fn push_blob(&mut self, repository: &str, bytes: &[u8]) -> Result<(), Failure> {
        let key: Key = (repository.to_owned(), sha256(bytes));
        self.journal.notes().attempt_blob(&key);
        let mut session = None;
        loop {
            match self.push_blob_once(&key, bytes, &mut session) {
                Ok(()) => break,
                Err(Failure::Broken(_)) => {}
                Err(Failure::HungUp { sent }) => {
                    if let Some(session) = &mut session {
                        session.arriving = Some((session.sent_from + sent, self.life));
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        self.journal.notes().acknowledge_blob(&key);
        self.counts.blobs.fetch_add(1, Relaxed);
        if let Some(session) = session.filter(|session| session.resumed) {
            self.read_back(&key)?;
            self.counts
                .resumed_inside
                .fetch_add(usize::from(session.resumed_inside), Relaxed);
        }
        Ok(())
    }

    fn push_blob_once(
        &mut self,
        key: &Key,
        bytes: &[u8],
        session: &mut Option<Session>,
    ) -> Result<(), Failure> {
        let (repository, digest) = key;
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let offset = match session {
            Some(open) => match self.offset(open, digest, bytes)? {
                Offset::At(offset) => offset,
                Offset::Done => return Ok(()),
                Offset::Lost => {
                    *session = None;
                    return self.push_blob_once(key, bytes, session);
                }
            },
            None => {
                if self.is_there(key)? {
                    return Ok(());
                }
                if self.random.percent(10) {
                    let answer = self.send_body(
                        "POST",
                        format!("{uploads}?digest={digest}"),
                        None,
                        bytes,
                        false,
                    )?;
                    return expect(&answer, 201);
                }
                let answer = self.start(key, &uploads)?;
                if answer.status == 201 {
                    self.counts.mounts.fetch_add(1, Relaxed);
                    return Ok(());
                }
                expect(&answer, 202)?;
                *session = Some(Session {
                    location: answer.location()?.to_owned(),
                    acknowledged: 0,
                    closing: false,
                    sent_from: 0,
                    arriving: None,
                    resumed: false,
                    resumed_inside: false,
                });
                0
            }
        };
        let Some(open) = session else {
            return Ok(());
        };
        if self.send_rest(open, digest, bytes, offset)? {
            return Ok(());
        }
        *session = None;
        self.push_blob_once(key, bytes, session)
    }

    /// Asks first, as docker does.
    fn is_there(&mut self, (repository, digest): &Key) -> Result<bool, Failure> {
        let head = self.send(Request::new(
            "HEAD",
            format!("/v2/{repository}/blobs/{digest}"),
        ))?;
        if head.status != 200 {
            expect(&head, 404)?;
        }
        Ok(head.status == 200)
    }

    /// Opens an upload, or mounts the blob where another repository may have it.
    fn start(&mut self, (_, digest): &Key, uploads: &str) -> Result<Answer, Failure> {
        let target = match self.random.below(4) {
            0 => format!("{uploads}?mount={digest}&from=crash/common"),
            1 => format!("{uploads}?mount={digest}"),
            _ => uploads.to_owned(),
        };
        self.send(Request::new("POST", target))
    }

    /// Goes on with an upload to its end. Says whether it became the blob.
    fn send_rest(
        &mut self,
        session: &mut Session,
        digest: &str,
        bytes: &[u8],
        mut offset: usize,
    ) -> Result<bool, Failure> {
        let style = match self.random.below(4) {
            0 => Style::Ranges,
            1 => Style::Whole,
            _ => Style::Stream,
        };
        let location = session.location.clone();
        while offset < bytes.len() && style != Style::Whole {
            let end = match style {
                Style::Ranges => bytes.len().min(offset + RANGE),
                _ => bytes.len(),
            };
            let range = (style == Style::Ranges).then(|| format!("{offset}-{}", end - 1));
            let chunked = style == Style::Stream;
            session.sent_from = offset;
            let answer = self.send_body(
                "PATCH",
                location.clone(),
                range,
                &bytes[offset..end],
                chunked,
            )?;
            expect(&answer, 202)?;
            if answer.header("Range") != Some(format!("0-{}", end - 1).as_str()) {
                return Err(Failure::Wrong(anyhow::anyhow!(
                    "{end} bytes were sent: {answer:?}"
                )));
            }
            (offset, session.acknowledged) = (end, end);
        }
        (session.closing, session.sent_from) = (true, offset);
        let rest = &bytes[offset..];
        let answer = self.send_body(
            "PUT",
            format!("{location}?digest={digest}"),
            None,
            rest,
            false,
        )?;
        // Where a loss of power came while the kernel wrote, a file may have got its length before its
        // bytes. The server cannot know; the digest tells.
        let may_be_spoiled = session.resumed && !self.gate.keeps_open_uploads;
        if may_be_spoiled
            && answer
                .error_code()
                .is_ok_and(|code| code == "DIGEST_INVALID")
        {
            self.counts.spoiled.fetch_add(1, Relaxed);
            return Ok(false);
        }
        expect(&answer, 201)?;
        Ok(true)
    }

    /// Where an upload goes on that was interrupted.
    fn offset(
        &mut self,
        session: &mut Session,
        digest: &str,
        bytes: &[u8],
    ) -> Result<Offset, Failure> {
        let answer = self.status(session)?;
        if answer.status == 404 && session.closing {
            let again = Request::new("PUT", format!("{}?digest={digest}", session.location));
            let answer = self.send(again)?;
            if answer.status == 201 {
                self.counts.repeated.fetch_add(1, Relaxed);
                return Ok(Offset::Done);
            }
            expect(&answer, 404)?;
            self.counts.restarted.fetch_add(1, Relaxed);
            return Ok(Offset::Lost);
        }
        // Nothing of an upload is synced before its end; even its folder may be gone.
        if answer.status == 404 && !self.gate.keeps_open_uploads {
            self.counts.restarted.fetch_add(1, Relaxed);
            return Ok(Offset::Lost);
        }
        expect(&answer, 204)?;
        let offset = stored(&answer)?;
        // The bytes of a closed upload move away at once, before the blob is known.
        let least = if session.closing || !self.gate.keeps_open_uploads {
            0
        } else {
            session.acknowledged
        };
        if !(least..=bytes.len()).contains(&offset) {
            return Err(Failure::Wrong(anyhow::anyhow!(
                "the upload goes on at {offset}; {least} bytes were acknowledged and {} are all",
                bytes.len()
            )));
        }
        session.resumed = true;
        if self.arriving(session).is_none() {
            self.counts.resumed.fetch_add(1, Relaxed);
            session.resumed_inside |= offset > 0;
        }
        session.arriving = None;
        Ok(Offset::At(offset))
    }

    /// Asks how far an upload is, until all has arrived that is on its way: a request that the
    /// server did not see yet would only come in between later.
    fn status(&mut self, session: &Session) -> Result<Answer, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.send(Request::new("GET", &session.location))?;
            let arriving = self.arriving(session);
            let Some(arriving) = arriving.filter(|_| answer.status == 204) else {
                return Ok(answer);
            };
            if stored(&answer)? == arriving {
                return Ok(answer);
            }
            if stored(&answer)? > arriving || Instant::now() > deadline {
                return Err(Failure::Wrong(anyhow::anyhow!(
                    "{arriving} bytes were sent: {answer:?}"
                )));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Where an upload must get to without our doing.
    fn arriving(&self, session: &Session) -> Option<usize> {
        let (end, life) = session.arriving?;
        (life == self.life).then_some(end)
    }

    fn read_back(&mut self, (repository, digest): &Key) -> Result<(), Failure> {
        loop {
            match self.send(Request::new(
                "GET",
                format!("/v2/{repository}/blobs/{digest}"),
            )) {
                Ok(answer) => {
                    expect(&answer, 200)?;
                    if sha256(&answer.body) == *digest {
                        return Ok(());
                    }
                    return Err(Failure::Wrong(anyhow::anyhow!(
                        "{digest} was resumed and came out as another"
                    )));
                }
                Err(Failure::Broken(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// How many bytes the server has. It cannot say "none" but as `0-0`, which would be one as well; no
/// upload of ours stops there.
fn stored(answer: &Answer) -> Result<usize, Failure> {
    let last = answer
        .header("Range")
        .and_then(|range| range.strip_prefix("0-")?.parse::<usize>().ok());
    match last {
        Some(0) => Ok(0),
        Some(last) => Ok(last + 1),
        None => Err(Failure::Wrong(anyhow::anyhow!("no Range: {answer:?}"))),
    }
}

/// What became of an upload.
enum Offset {
    At(usize),
    Done,
    Lost,
}
