//! Kills the server with SIGKILL at random moments of concurrent pushes, again and again, and holds
//! it to what it said.
//!
//! The writers push images as clients do and note what they try and what is acknowledged; what was
//! interrupted they resume after the restart. They outlive the server, so their notes are exact.
//! After every restart:
//!
//! - every manifest, tag and blob that was acknowledged is there, byte for byte. A tag may also
//!   point to what was attempted after its last acknowledged push, and never back;
//! - nothing is served under a digest that it does not have, whether its push was acknowledged,
//!   interrupted or resumed;
//! - an interrupted upload goes on where the server says, at or behind what was acknowledged of it.
//!
//! | variable | meaning |
//! |---|---|
//! | `WHARF_KILLS` | how often to kill; 200 if unset |
//! | `WHARF_SEED` | the seed of all that is random here, to repeat a run's choices |

mod check;
mod gate;
mod journal;
mod upload;
mod writer;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wharf_tests::command::say;
use wharf_tests::content::Random;
use wharf_tests::wharf::{self, Server};

use gate::Gate;
use journal::Journal;
use writer::Writer;

const WRITERS: usize = 5;
/// The server lives this long at most. Long enough that most pushes get somewhere, so short that
/// none gets far.
const LIFE: Duration = Duration::from_millis(200);
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
    /// Uploads that went on in a later life, and those of them that did not have to start at byte
    /// 0.
    resumed: AtomicUsize,
    resumed_inside: AtomicUsize,
    /// Closing requests without an answer that were repeated and answered as if it were the first
    /// time.
    repeated: AtomicUsize,
    /// Uploads begun again, since their closing request died between the bytes' last move and the
    /// catalog.
    restarted: AtomicUsize,
    /// Connections that the writer itself dropped in the middle of a body.
    hung_up: AtomicUsize,
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_half_written_is_served() -> Result<()> {
    let kills = variable("WHARF_KILLS")?.unwrap_or(200);
    let seed = variable("WHARF_SEED")?.unwrap_or_else(|| u64::from(std::process::id()));
    say(&format!("crash: {kills} kills, WHARF_SEED={seed}"));
    // Building it is not part of what is timed.
    wharf::binary()?;
    let started = Instant::now();

    let mut random = Random::new(seed);
    let pool = random.bytes(writer::POOL);
    let mut server = Server::start()?;
    let (gate, journal, counts) = (
        Gate::new(server.address()),
        Journal::default(),
        Counts::default(),
    );

    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|index| {
                let random = Random::new(random.next());
                let mut writer = Writer::new(index, random, &pool, &gate, &journal, &counts);
                scope.spawn(move || writer.run())
            })
            .collect();
        let killed = kill(&mut server, kills, &mut random, &gate, &journal);
        // Whatever came out of it: nobody may wait for a life that does not come.
        gate.end(killed.is_ok());
        for writer in writers {
            writer
                .join()
                .map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        }
        killed
    })?;
    check::everything(&server, &journal)?;
    server.terminate(Duration::from_secs(30))?;
    let files = check::files(&server.data())?;

    say(&format!(
        "crash: {kills} kills in {:.0} s; {counts:?}; {files} blob files, each with its own digest",
        started.elapsed().as_secs_f32()
    ));
    let kills = usize::try_from(kills)?;
    // Kills that hit nothing would prove nothing.
    ensure!(
        counts.interrupted.load(Relaxed) >= kills / 2,
        "the kills hit too little"
    );
    ensure!(
        counts.resumed_inside.load(Relaxed) >= kills / 4,
        "too few uploads were resumed"
    );
    Ok(())
}

/// Lets the server live and die, and checks it in between, while nobody writes.
fn kill(
    server: &mut Server,
    kills: u64,
    random: &mut Random,
    gate: &Gate,
    journal: &Journal,
) -> Result<()> {
    for life in 1..=kills {
        gate.open(life);
        let micros = random.below(usize::try_from(LIFE.as_micros())?);
        std::thread::sleep(Duration::from_micros(u64::try_from(micros)?));
        ensure!(!gate.has_failed(), "a writer gave up in life {life}");
        gate.close();
        server.kill()?;
        server
            .restart()
            .with_context(|| format!("no start after kill {life}"))?;
        if life % FULL_CHECK == 0 {
            check::everything(server, journal)
        } else {
            check::touched(server, journal)
        }
        .with_context(|| format!("after kill {life}"))?;
    }
    gate.open(kills + 1);
    Ok(())
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
