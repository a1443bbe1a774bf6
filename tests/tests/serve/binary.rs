//! The released binary: one file that needs no other, small and quick.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wharf_tests::command::say;
use wharf_tests::content::Random;
use wharf_tests::talk::until;
use wharf_tests::wharf::{self, Server};

use crate::{PATIENCE, get, push};

/// Program headers of ELF that name a loader, and the table of what a loader would have to do.
const INTERPRETER: u64 = 3;
const DYNAMIC: u64 = 2;
/// The entry of that table that asks for a shared library, and the one that ends it.
const NEEDED: u64 = 1;
const END: u64 = 0;

#[test]
#[cfg(target_os = "linux")]
fn it_is_one_static_file() -> Result<()> {
    let path = wharf::binary()?;
    let (interpreter, libraries) = needs(&std::fs::read(&path)?)?;
    ensure!(
        !interpreter && libraries == 0,
        "{}: loader {interpreter}, {libraries} libraries",
        path.display()
    );
    // That this can see what it looks for: the test itself may or may not be static, a shell of the
    // system is not.
    if let Ok(shell) = std::fs::read("/bin/sh") {
        let (interpreter, libraries) = needs(&shell)?;
        say(&format!(
            "for comparison, /bin/sh: loader {interpreter}, {libraries} libraries"
        ));
    }
    Ok(())
}

/// Whether a program wants a loader, and how many libraries it wants loaded. A static one may have
/// a table for the loader (it can be put anywhere in memory, and moves itself there), but nothing
/// in it that another file would be needed for.
fn needs(elf: &[u8]) -> Result<(bool, usize)> {
    ensure!(
        elf.starts_with(b"\x7fELF\x02\x01"),
        "no 64-bit little-endian ELF"
    );
    let word = |at: u64, size: usize| -> Result<u64> {
        let at = usize::try_from(at)?;
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(elf.get(at..at + size).context("a short ELF")?);
        Ok(u64::from_le_bytes(bytes))
    };
    let (table, size, count) = (word(0x20, 8)?, word(0x36, 2)?, word(0x38, 2)?);
    let (mut interpreter, mut libraries) = (false, 0);
    for header in (0..count).map(|index| table + index * size) {
        match word(header, 4)? {
            INTERPRETER => interpreter = true,
            DYNAMIC => {
                let (mut entry, length) = (word(header + 8, 8)?, word(header + 0x20, 8)?);
                let end = entry + length;
                while entry < end && word(entry, 8)? != END {
                    libraries += usize::from(word(entry, 8)? == NEEDED);
                    entry += 16;
                }
            }
            _ => {}
        }
    }
    Ok((interpreter, libraries))
}

#[test]
#[cfg(target_os = "linux")]
fn it_is_small_while_it_has_nothing_to_do() -> Result<()> {
    const MOST: u64 = 12_000_000 >> 10;
    let server = Server::start()?;
    get(server.address(), "/v2/")?;
    let start = server.kib("VmRSS")?;
    // It gives back what its start needed.
    let at_rest = until(PATIENCE, &true, || Ok(server.kib("VmRSS")? < MOST));
    let idle = server.kib("VmRSS")?;
    at_rest.with_context(|| format!("{idle} KiB"))?;
    let bytes = Random::new(1).bytes(8 << 20);
    let blob = push(server.address(), &bytes)?;
    for _ in 0..20 {
        get(server.address(), "/v2/")?;
        get(server.address(), "/v2/a/tags/list")?;
    }
    get(server.address(), &blob)?;
    let after = server.kib("VmRSS")?;
    say(&format!(
        "resident memory: {start} KiB at its start, {idle} KiB idle, {after} KiB after a push and a pull of 8 MiB"
    ));
    Ok(())
}

/// Measured and told, not judged: a machine that compiles at the same time is no judge.
#[test]
fn how_long_it_takes_to_the_first_answer() -> Result<()> {
    const RUNS: usize = 11;
    wharf::binary()?;
    let (mut new, mut known) = (Vec::new(), Vec::new());
    let answered = |server: &Server, started: Instant| -> Result<Duration> {
        ensure!(get(server.address(), "/v2/")?.status == 200);
        Ok(started.elapsed())
    };
    for _ in 0..RUNS {
        let started = Instant::now();
        let mut server = Server::start()?;
        new.push(answered(&server, started)?);
        server.terminate(PATIENCE)?;
        let started = Instant::now();
        server.restart()?;
        known.push(answered(&server, started)?);
    }
    for (what, mut times) in [
        ("an empty directory", new),
        ("a directory of its own", known),
    ] {
        times.sort();
        say(&format!(
            "from start to first answer on {what}: median {:.1} ms, {:.1} to {:.1}",
            times[RUNS / 2].as_secs_f64() * 1e3,
            times[0].as_secs_f64() * 1e3,
            times[RUNS - 1].as_secs_f64() * 1e3
        ));
    }
    Ok(())
}
