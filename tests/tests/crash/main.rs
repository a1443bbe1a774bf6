//! Ends the server at random moments of concurrent pushes, again and again, and holds it to what it
//! said: by SIGKILL, and by a loss of power.
//!
//! The writers push images as clients do and note what they try and what is acknowledged; what was
//! interrupted they resume after the restart. They outlive the server, so their notes are exact.
//! After every restart:
//!
//! - every manifest, tag and blob that was acknowledged is there, byte for byte. A tag may also
//!   point to what was attempted after its last acknowledged push, and never back;
//! - nothing is served under a digest that it does not have, whether its push was acknowledged,
//!   interrupted or resumed;
//! - an interrupted upload goes on where the server says, at or behind what was acknowledged of it (after
//!   a loss of power: wherever the server says, for bytes of an open upload are no promise).
//!
//! In the end, garbage collection runs at its shortest setting, and takes nothing of all that.
//!
//! | variable | meaning |
//! |---|---|
//! | `WHARF_KILLS` | how often to kill; 50 if unset, 1000 with `WHARF_LONG=1` |
//! | `WHARF_CUTS` | how often to cut the power, on each file system; 18 if unset, 100 with `WHARF_LONG=1` |
//! | `WHARF_SEED` | the seed of all that is random here, to repeat a run's choices |

mod check;
mod fault;
mod gate;
mod journal;
mod upload;
mod writer;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wharf_tests::command::say;
use wharf_tests::content::Random;
use wharf_tests::http::Connection;
use wharf_tests::is_long;
use wharf_tests::talk;
use wharf_tests::wharf::{self, Server};

use fault::{Fault, Kill, PowerLoss};
use gate::Gate;
use journal::Journal;
use writer::Writer;

const WRITERS: usize = 5;
const NO_ARGUMENTS: [&str; 0] = [];
/// How often the power is cut in a short run. In the first ones the journal of the catalog grows, and each sync of it takes along the
/// names of files as well; only then it is seen whether those were synced for themselves.
const CUTS: u64 = 18;
/// What they hit is left to chance: after so many times as many faults it has to be enough.
const ENOUGH: u64 = 3;
/// After this many kills everything is checked, not only what the last life touched.
const FULL_CHECK: u64 = 40;

/// What happened, to see that the test tests something.
#[derive(Debug, Default)]
struct Counts {
    manifests: AtomicUsize,
    blobs: AtomicUsize,
    mounts: AtomicUsize,
    /// Blob bodies of which a part was sent when the server died.
    interrupted: AtomicUsize,
    /// Uploads that went on in a later life, and those that did so behind byte 0 and were read back whole.
    resumed: AtomicUsize,
    resumed_inside: AtomicUsize,
    /// Closing requests without an answer that were repeated and answered as if it were the first
    /// time.
    repeated: AtomicUsize,
    /// Uploads begun again, since their closing request died between the bytes' last move and the
    /// catalog.
    restarted: AtomicUsize,
    /// Uploads that went on and were refused in the end, since a loss of power had left other bytes of them.
    spoiled: AtomicUsize,
    /// Connections that the writer itself dropped in the middle of a body.
    hung_up: AtomicUsize,
}

impl Counts {
    /// Whether so many faults hit enough: those that hit nothing would prove nothing. `struck` is how many there were.
    fn suffice(&self, faults: u64, struck: u64, keeps_open_uploads: bool) -> Result<()> {
        // Of those that a loss of power left, most have no bytes.
        let inside = if keeps_open_uploads { 4 } else { 20 };
        for (what, count, least) in [
            ("bodies were interrupted", &self.interrupted, faults / 2),
            ("uploads were resumed", &self.resumed, faults / 4),
            (
                "uploads were resumed behind their beginning",
                &self.resumed_inside,
                (faults / inside).max(1),
            ),
        ] {
            let count = count.load(Relaxed) as u64;
            ensure!(
                count >= least,
                "{count} {what}, and {least} are the least that proves something"
            );
        }
        let spoiled = self.spoiled.load(Relaxed) as u64;
        ensure!(
            spoiled <= 1 + struck / 10,
            "{spoiled} uploads went on behind other bytes than were sent"
        );
        Ok(())
    }
}

#[test]
fn sigkill_loses_nothing_and_serves_nothing_half_written() -> Result<()> {
    let kills = times("WHARF_KILLS", 50, 1000)?;
    run("SIGKILL", kills, &mut Kill)
}

#[test]
fn loss_of_power_loses_nothing_on_ext4() -> Result<()> {
    let cuts = times("WHARF_CUTS", CUTS, 100)?;
    let mkfs = ["mkfs.ext4", "-q", "-F"];
    run("power on ext4", cuts, &mut PowerLoss::new(&mkfs)?)
}

#[test]
fn loss_of_power_loses_nothing_on_xfs() -> Result<()> {
    let cuts = times("WHARF_CUTS", CUTS, 100)?;
    let mkfs = ["mkfs.xfs", "-q", "-f"];
    run("power on XFS", cuts, &mut PowerLoss::new(&mkfs)?)
}

/// Ends a server by `fault` so many times, under load.
fn run(name: &str, faults: u64, fault: &mut dyn Fault) -> Result<()> {
    let seed = variable("WHARF_SEED")?.unwrap_or_else(|| u64::from(std::process::id()));
    say(&format!("crash: {faults} times {name}, WHARF_SEED={seed}"));
    // Building it is not part of what is timed.
    wharf::binary()?;
    let started = Instant::now();

    let mut random = Random::new(seed);
    let pool = random.bytes(writer::POOL);
    let mut server = Server::start_on(fault.data().as_deref(), NO_ARGUMENTS)?;
    let (gate, journal, counts) = (
        Gate::new(server.address(), fault.keeps_open_uploads()),
        Journal::default(),
        Counts::default(),
    );

    let suffices = |struck| counts.suffice(faults, struck, gate.keeps_open_uploads);
    let mut struck = 0;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|index| {
                let random = Random::new(random.next());
                let mut writer = Writer::new(index, random, &pool, &gate, &journal, &counts);
                scope.spawn(move || writer.run())
            })
            .collect();
        let is_due = |life: &u64| *life <= faults || suffices(life - 1).is_err();
        let ended = (1..=ENOUGH * faults)
            .take_while(is_due)
            .try_for_each(|life| {
                struck = life;
                live_and_die(&mut server, life, fault, &mut random, &gate, &journal)
            });
        if ended.is_ok() {
            gate.open(struck + 1);
        }
        // Whatever came out of it: nobody may wait for a life that does not come.
        gate.end(ended.is_ok());
        for writer in writers {
            writer
                .join()
                .map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        }
        ended
    })?;
    check::everything(&server, &journal)?;
    collect(&mut server).context("collecting garbage")?;
    check::everything(&server, &journal).context("after garbage was collected")?;
    server.terminate(Duration::from_secs(30))?;
    let files = check::files(&server.data())?;

    say(&format!(
        "crash: {struck} times {name} in {:.0} s; {counts:?}; {files} blob files, each with its own digest",
        started.elapsed().as_secs_f32()
    ));
    suffices(struck)
}

/// Lets the server live one life and die, and checks it before the next, while nobody writes.
fn live_and_die(
    server: &mut Server,
    life: u64,
    fault: &mut dyn Fault,
    random: &mut Random,
    gate: &Gate,
    journal: &Journal,
) -> Result<()> {
    gate.open(life);
    let micros = random.below(usize::try_from(fault.life().as_micros())?);
    std::thread::sleep(Duration::from_micros(u64::try_from(micros)?));
    ensure!(!gate.has_failed(), "a writer gave up in life {life}");
    gate.close();
    fault
        .strike(server)
        .with_context(|| format!("no start after fault {life}"))?;
    if life.is_multiple_of(FULL_CHECK) {
        check::everything(server, journal)
    } else {
        check::touched(server, journal)
    }
    .with_context(|| format!("after fault {life}"))
}

/// Has garbage collected: a blob that nothing needs is pushed, and goes. (Before, the grace is long: between a
/// blob and its manifest the server may die and be checked for longer than a short one.)
fn collect(server: &mut Server) -> Result<()> {
    server.terminate(Duration::from_secs(30))?;
    server.set_arguments(["--gc-grace", "1s"]);
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    let witness = talk::push(&mut http, "crash/witness", b"needed by nothing")?;
    talk::until(Duration::from_secs(90), &404, || {
        // Asking would keep it; so its file is looked at first.
        if talk::file_of(server, &witness)?.is_some() {
            return Ok(200);
        }
        let head = talk::head(format!("/v2/crash/witness/blobs/{witness}"));
        Ok(http.send(head)?.status)
    })
}

/// How often something is done: as a variable says, or so often in a short run and in a long one.
fn times(name: &str, short: u64, long: u64) -> Result<u64> {
    Ok(variable(name)?.unwrap_or(if is_long() { long } else { short }))
}

fn variable(name: &str) -> Result<Option<u64>> {
    std::env::var(name)
        .ok()
        .map(|text| {
            text.parse()
                .with_context(|| format!("{name} is no number: {text}"))
        })
        .transpose()
}
