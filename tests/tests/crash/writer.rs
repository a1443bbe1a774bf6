//! A client that pushes images without end, whatever happens to the server.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use serde_json::{Value, json};
use wharf_tests::content::{self, Random, sha256};
use wharf_tests::http::{Answer, Body, Connection, Request};

use crate::Counts;
use crate::gate::{Failure, Gate};
use crate::journal::{Journal, Key};

/// Bytes that all layers are cut from.
pub(crate) const POOL: usize = 8 << 20;
const LARGEST_LAYER: usize = 3 << 20;
/// Layers that writers have in common at a time, and the number of lives after which they are
/// others.
const COMMON: usize = 6;
const COMMON_LIVES: u64 = 5;

/// Bytes that are written to the connection at a time.
const PIECE: usize = 32 << 10;

pub(crate) struct Writer<'a> {
    index: usize,
    pub(crate) random: Random,
    pub(crate) pool: &'a [u8],
    pub(crate) gate: &'a Gate,
    pub(crate) journal: &'a Journal,
    pub(crate) counts: &'a Counts,
    connection: Option<Connection>,
    /// The server's life in which the last connection was made.
    pub(crate) life: u64,
    /// The manifests to make the next index of, in the writer's own repository.
    pushed: Vec<Value>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        index: usize,
        random: Random,
        pool: &'a [u8],
        gate: &'a Gate,
        journal: &'a Journal,
        counts: &'a Counts,
    ) -> Self {
        Self {
            index,
            random,
            pool,
            gate,
            journal,
            counts,
            connection: None,
            life: 0,
            pushed: Vec::new(),
        }
    }

    /// Pushes until the last life, in which what was begun is finished.
    pub(crate) fn run(&mut self) -> Result<()> {
        while self.gate.goes_on() {
            match self.push_image() {
                Ok(()) => {}
                Err(Failure::Over) => return Ok(()),
                Err(failure) => {
                    self.gate.fail();
                    let Failure::Wrong(error) = failure else {
                        anyhow::bail!("{failure:?} got out of its retry");
                    };
                    return Err(
                        error.context(format!("writer {} in life {}", self.index, self.life))
                    );
                }
            }
        }
        Ok(())
    }

    fn push_image(&mut self) -> Result<(), Failure> {
        let own = format!("crash/writer-{}", self.index);
        let repository = match self.random.below(4) {
            0 => "crash/common".to_owned(),
            1 => "crash/another/common".to_owned(),
            _ => own.clone(),
        };
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}, "config": self.random.next()}).to_string();
        self.push_blob(&repository, config.as_bytes())?;
        let mut layers = Vec::new();
        for _ in 0..=self.random.below(3) {
            let pool = self.pool;
            let layer = &pool[self.layer()];
            self.push_blob(&repository, layer)?;
            layers.push(content::descriptor(content::LAYER, layer));
        }
        let config = content::descriptor(content::CONFIG, config.as_bytes());
        let manifest = content::manifest(&config, &layers);
        self.push_manifest(&repository, content::MANIFEST, &manifest)?;
        if repository == own {
            self.pushed
                .push(content::descriptor(content::MANIFEST, &manifest));
        }
        if self.pushed.len() == 3 {
            let index = content::index(&std::mem::take(&mut self.pushed));
            self.push_manifest(&own, content::INDEX, &index)?;
        }
        Ok(())
    }

    /// A layer of the writer's own, or one that others push in these lives as well.
    fn layer(&mut self) -> Range<usize> {
        let mut random = if self.random.percent(40) {
            let common =
                self.life / COMMON_LIVES * COMMON as u64 + self.random.below(COMMON) as u64;
            Random::new(common)
        } else {
            Random::new(self.random.next())
        };
        // Many small layers and few large ones, as in life; now and then an empty one.
        let scale = [0, 4 << 10, 64 << 10, 1 << 20, LARGEST_LAYER][random.below(5)];
        let length = random.below(scale + 1);
        let start = random.below(POOL - length);
        start..start + length
    }

    /// Pushes a manifest, by tag or by digest, as often as it takes.
    fn push_manifest(
        &mut self,
        repository: &str,
        media_type: &'static str,
        payload: &[u8],
    ) -> Result<(), Failure> {
        let key: Key = (repository.to_owned(), sha256(payload));
        // Tags of the writer's own: only then is the order of pushes known.
        let tag = format!("writer-{}.{}", self.index, self.random.below(3));
        let tag: Option<Key> = self
            .random
            .percent(60)
            .then(|| (repository.to_owned(), tag));
        let reference = tag.as_ref().map_or(&key.1, |(_, tag)| tag).clone();
        loop {
            self.journal
                .notes()
                .attempt_manifest(&key, tag.as_ref(), media_type, payload);
            let request = Request::new("PUT", format!("/v2/{repository}/manifests/{reference}"))
                .header("Content-Type", media_type)
                .body(Body::Sized(payload));
            match self.send(request) {
                Ok(answer) => {
                    expect(&answer, 201)?;
                    self.journal
                        .notes()
                        .acknowledge_manifest(&key, tag.as_ref());
                    self.counts.manifests.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Err(Failure::Broken(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    pub(crate) fn send(&mut self, request: Request<'_>) -> Result<Answer, Failure> {
        self.with_connection(|connection| Ok(connection.send(request)?))
    }

    /// Sends a body in pieces. Now and then the connection is dropped before its end.
    pub(crate) fn send_body(
        &mut self,
        method: &'static str,
        target: String,
        range: Option<String>,
        body: &[u8],
        chunked: bool,
    ) -> Result<Answer, Failure> {
        let mut request = Request::new(method, target);
        if let Some(range) = range {
            request = request.header("Content-Range", range);
        }
        request = request.body(if chunked {
            Body::Chunked(body)
        } else {
            Body::Sized(body)
        });
        // Some bytes at least, of which the server's knowing can be seen, and more than one: `0-0`
        // says nothing.
        let stop = (self.random.percent(3) && body.len() > 2)
            .then(|| 2 + self.random.below(body.len() - 2));
        let mut sent = 0;
        let hung_up = &self.counts.hung_up;
        let result = self.with_connection(|connection| {
            connection.write(&request.head())?;
            for piece in body[..stop.unwrap_or(body.len())].chunks(PIECE) {
                if chunked {
                    connection.write_chunk(piece)?;
                } else {
                    connection.write(piece)?;
                }
                sent += piece.len();
            }
            if stop.is_some() {
                hung_up.fetch_add(1, Relaxed);
                return Err(Failure::HungUp { sent });
            }
            if chunked {
                connection.write(b"0\r\n\r\n")?;
            }
            Ok(connection.read_answer(method)?)
        });
        if matches!(result, Err(Failure::Broken(_))) && sent > 0 {
            self.counts.interrupted.fetch_add(1, Relaxed);
        }
        result
    }

    /// Does something on the connection to the living server, which after a failure is lost.
    pub(crate) fn with_connection<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let (life, connection) = self.gate.connect(self.life)?;
                self.life = life;
                connection
            }
        };
        match work(&mut connection) {
            Err(Failure::Broken(error)) => {
                let failure = self.gate.broke(self.life, error);
                // The server that we knew is dead.
                self.life += 1;
                Err(failure)
            }
            Ok(done) => {
                self.connection = Some(connection);
                Ok(done)
            }
            failed => failed,
        }
    }
}

/// A status that the protocol demands; anything else is the server's fault.
pub(crate) fn expect(answer: &Answer, status: u16) -> Result<(), Failure> {
    if answer.status == status {
        return Ok(());
    }
    Err(Failure::Wrong(anyhow::anyhow!(
        "{} instead of {status}: {:?} {}",
        answer.status,
        answer.headers,
        String::from_utf8_lossy(&answer.body)
    )))
}
