//! The same random operations against the real server and against a model of a few lines, with restarts,
//! crashes and garbage collection in between. Every answer has to be the model's.
//!
//! | variable | meaning |
//! |---|---|
//! | `WHARF_SEED` | one seed to run instead of the known ones and a new one |
//! | `WHARF_STEPS` | operations of a run; 400 if unset, 20,000 with `WHARF_LONG=1` |

mod model;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wharf_tests::command::say;
use wharf_tests::content::{Random, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{delete, get, head, put};
use wharf_tests::wharf::{self, Server};

use model::{Content, Expected, Model};

/// Seeds that once found something, and a few that found nothing.
const KNOWN: [u64; 3] = [1, 2, 3];

const PATIENCE: Duration = Duration::from_secs(60);

/// How a life of the server ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// By SIGKILL.
    Crash,
    /// By SIGTERM, and then garbage is collected.
    Collection,
}

#[test]
fn crashes_change_nothing() -> Result<()> {
    runs(End::Crash)
}

#[test]
fn collection_takes_what_nothing_needs_and_nothing_else() -> Result<()> {
    runs(End::Collection)
}

fn runs(end: End) -> Result<()> {
    let steps = match std::env::var("WHARF_STEPS") {
        Ok(steps) => steps.parse()?,
        Err(_) if wharf_tests::is_long() => 20_000,
        Err(_) => 400,
    };
    let seeds = match std::env::var("WHARF_SEED") {
        Ok(seed) => vec![seed.parse()?],
        Err(_) => {
            let new = 1000 + u64::from(std::process::id());
            KNOWN.into_iter().chain([new]).collect()
        }
    };
    for seed in seeds {
        run(seed, steps, end).with_context(|| format!("WHARF_SEED={seed}"))?;
    }
    Ok(())
}

/// One run: a server, a model, and what both are asked.
struct Run {
    server: Server,
    http: Connection,
    model: Model,
    random: Random,
}

fn run(seed: u64, steps: usize, end: End) -> Result<()> {
    let server = Server::start()?;
    let mut run = Run {
        http: Connection::open(server.address())?,
        server,
        model: Model::new(),
        random: Random::new(seed),
    };
    let mut ends = 0;
    for step in 0..steps {
        run.step().with_context(|| format!("step {step}"))?;
        let due = match end {
            End::Crash => run.random.percent(3),
            // It has to wait for the clock, whose hand moves every second.
            End::Collection => step % 200 == 199,
        };
        if due {
            run.end(end).with_context(|| format!("step {step}"))?;
            ends += 1;
        }
    }
    run.compare()?;
    say(&format!(
        "model: seed {seed}, {steps} operations, {ends} restarts; {}",
        run.model.summary()
    ));
    Ok(())
}

impl Run {
    /// One operation.
    fn step(&mut self) -> Result<()> {
        let repository = self.model.repository(&mut self.random);
        let content = self.model.content(&mut self.random);
        let tag = format!("t{}", self.random.below(3));
        let (request, expected) = match (self.random.below(12), content) {
            (0..=2, Content::Blob(bytes)) => return self.push(&repository, &bytes),
            (3, Content::Blob(bytes)) => return self.mount(&repository, &bytes),
            (4, Content::Blob(bytes)) => {
                let digest = sha256(&bytes);
                let expected = self.model.delete_blob(&repository, &digest);
                (delete(format!("/v2/{repository}/blobs/{digest}")), expected)
            }
            (_, Content::Blob(bytes)) => {
                let digest = sha256(&bytes);
                let path = format!("/v2/{repository}/blobs/{digest}");
                let expected = self.model.blob(&repository, &digest, &bytes);
                let request = if self.random.percent(50) {
                    head(path)
                } else {
                    get(path)
                };
                (request, expected)
            }
            (0..=5, Content::Manifest(manifest)) => {
                let digest = sha256(&manifest.bytes);
                let by_tag = self.random.percent(60);
                let reference = if by_tag { &tag } else { &digest };
                let expected =
                    self.model
                        .push_manifest(&repository, by_tag.then_some(&tag), &manifest);
                let request = put(&repository, reference, manifest.media_type, &manifest.bytes);
                return self.ask(request, &expected);
            }
            (6, Content::Manifest(manifest)) => {
                let digest = sha256(&manifest.bytes);
                let expected = self.model.delete_manifest(&repository, &digest);
                (
                    delete(format!("/v2/{repository}/manifests/{digest}")),
                    expected,
                )
            }
            (7, Content::Manifest(_)) => {
                let expected = self.model.delete_tag(&repository, &tag);
                (
                    delete(format!("/v2/{repository}/manifests/{tag}")),
                    expected,
                )
            }
            (8, Content::Manifest(_)) => {
                let expected = self.model.by_tag(&repository, &tag);
                (get(format!("/v2/{repository}/manifests/{tag}")), expected)
            }
            (9, Content::Manifest(manifest)) => {
                let digest = sha256(&manifest.bytes);
                let path = format!("/v2/{repository}/referrers/{digest}");
                return self.digests(path, self.model.referrers(&repository, &digest));
            }
            (_, Content::Manifest(manifest)) => {
                let digest = sha256(&manifest.bytes);
                let expected = self.model.by_digest(&repository, &digest);
                (
                    get(format!("/v2/{repository}/manifests/{digest}")),
                    expected,
                )
            }
        };
        self.ask(request, &expected)
    }

    /// Asks the server, and compares.
    fn ask(&mut self, request: Request<'_>, expected: &Expected) -> Result<()> {
        let asked = String::from_utf8_lossy(&request.head()).into_owned();
        let is_head = asked.starts_with("HEAD");
        let answer = self.http.send(request)?;
        ensure!(
            answer.status == expected.status,
            "{} and the model says {} to {asked:?}",
            answer.status,
            expected.status
        );
        if let Some(body) = expected.body.as_ref().filter(|_| !is_head) {
            ensure!(
                answer.body == *body,
                "other bytes than the model's to {asked:?}"
            );
        }
        Ok(())
    }

    /// Pushes a blob in one of the ways in which clients do.
    fn push(&mut self, repository: &str, bytes: &[u8]) -> Result<()> {
        let digest = sha256(bytes);
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let created = Expected::status(201);
        match self.random.below(3) {
            0 => {
                let request = Request::new("POST", format!("{uploads}?digest={digest}"));
                self.ask(request.body(Body::Sized(bytes)), &created)?;
            }
            way => {
                let answer = self.http.send(Request::new("POST", uploads))?;
                let upload = answer.location()?.to_owned();
                let mut rest = bytes;
                if way == 1 {
                    let (first, second) = bytes.split_at(bytes.len() / 2);
                    let patch = Request::new("PATCH", upload.clone()).body(Body::Chunked(first));
                    self.ask(patch, &Expected::status(202))?;
                    rest = second;
                }
                let request = Request::new("PUT", format!("{upload}?digest={digest}"));
                self.ask(request.body(Body::Sized(rest)), &created)?;
            }
        }
        self.model.push_blob(repository, &digest);
        Ok(())
    }

    fn mount(&mut self, repository: &str, bytes: &[u8]) -> Result<()> {
        let digest = sha256(bytes);
        let from = self
            .random
            .percent(60)
            .then(|| self.model.repository(&mut self.random));
        let mut path = format!("/v2/{repository}/blobs/uploads/?mount={digest}");
        if let Some(from) = &from {
            path += &format!("&from={from}");
        }
        let expected = self.model.mount(repository, &digest, from.as_deref());
        let answer = self.http.send(Request::new("POST", path))?;
        ensure!(
            answer.status == expected.status,
            "{} and the model says {}",
            answer.status,
            expected.status
        );
        if answer.status == 202 {
            let upload = answer.location()?.to_owned();
            self.ask(delete(upload), &Expected::status(204))?;
        }
        Ok(())
    }

    /// Compares a list of descriptors.
    fn digests(&mut self, path: String, expected: Vec<String>) -> Result<()> {
        let list = self.http.send(get(&path))?.json()?;
        let listed: Vec<_> = list["manifests"]
            .as_array()
            .context("no list")?
            .iter()
            .filter_map(|one| one["digest"].as_str().map(str::to_owned))
            .collect();
        ensure!(
            listed == expected,
            "{path}: {listed:?} and the model says {expected:?}"
        );
        Ok(())
    }

    /// Ends the server, and looks at all that the next one has.
    fn end(&mut self, end: End) -> Result<()> {
        match end {
            End::Crash => self.server.kill()?,
            End::Collection => {
                self.server.terminate(PATIENCE)?;
                self.collect()?;
            }
        }
        self.server.restart()?;
        self.http = Connection::open(self.server.address())?;
        self.compare()
    }

    fn collect(&mut self) -> Result<()> {
        // What was used a second ago is not old enough, and a second is counted as a whole one.
        std::thread::sleep(Duration::from_millis(2100));
        let mut command = Command::new(wharf::binary()?);
        wharf::without_settings(&mut command)
            .args(["gc", "--gc-grace", "1s", "--data"])
            .arg(self.server.data());
        let output = command.output()?;
        ensure!(
            output.status.success()
                && !String::from_utf8_lossy(&output.stdout).contains("nothing is collected"),
            "{output:?}"
        );
        self.model.collect();
        Ok(())
    }

    /// Asks for everything that there could be.
    fn compare(&mut self) -> Result<()> {
        for repository in self.model.repositories() {
            for bytes in self.model.blobs() {
                let digest = sha256(&bytes);
                let expected = self.model.blob(&repository, &digest, &bytes);
                self.ask(get(format!("/v2/{repository}/blobs/{digest}")), &expected)?;
            }
            for manifest in self.model.manifests() {
                let digest = sha256(&manifest.bytes);
                let expected = self.model.by_digest(&repository, &digest);
                self.ask(
                    get(format!("/v2/{repository}/manifests/{digest}")),
                    &expected,
                )?;
                let path = format!("/v2/{repository}/referrers/{digest}");
                self.digests(path, self.model.referrers(&repository, &digest))?;
            }
            let tags = self.model.tags(&repository);
            let answer = self.http.send(get(format!("/v2/{repository}/tags/list")))?;
            let listed: Vec<String> = match answer.status {
                404 => Vec::new(),
                _ => serde_json::from_value(answer.json()?["tags"].take()).context("no tags")?,
            };
            ensure!(
                listed == tags,
                "{repository}: {listed:?} and the model says {tags:?}"
            );
        }
        let listed: Vec<String> = serde_json::from_value(
            self.http.send(get("/v2/_catalog"))?.json()?["repositories"].take(),
        )?;
        let expected = self.model.with_manifests();
        ensure!(
            listed == expected,
            "{listed:?} and the model says {expected:?}"
        );
        // A blob has one file, and a file is of a blob that some repository has.
        let files = wharf_tests::talk::files(&self.server.data().join("blobs/sha256"))?;
        let known = self.model.known_blobs();
        ensure!(
            files.len() == known,
            "{} files for {known} blobs",
            files.len()
        );
        Ok(())
    }
}
