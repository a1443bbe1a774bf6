//! Faults between a running server and its kernel.

use std::collections::HashMap;

use anyhow::{Context, Result};
use wharf_tests::strace::Tracer;
use wharf_tests::wharf::Server;

/// Makes every thread's `nth` call of `syscall` fail with `fault`, such as `error=EIO` or
/// `signal=KILL`, until [`detach`].
pub(crate) fn attach(server: &Server, syscall: &str, fault: &str, nth: u64) -> Result<Tracer> {
    let id = server.id().context("the server does not run")?;
    let inject = format!("{syscall}:{fault}:when={nth}");
    let arguments = ["--decode-fds=path", "--trace", syscall, "--inject", &inject];
    Tracer::attach(id, server.scratch(), arguments)
}

/// What was made to fail.
pub(crate) struct Struck {
    /// How many calls.
    pub(crate) times: usize,
    /// Whether one was to write or sync the catalog's journal.
    pub(crate) journal: bool,
}

/// Lets the server go, and says what came of it.
pub(crate) fn detach(tracer: Tracer) -> Result<Struck> {
    let log = tracer.detach()?;
    let mut failed = calls(&log);
    failed.retain(|call| call.ends_with("(INJECTED)"));
    let killed = log.matches("+++ killed by SIGKILL").count().min(1);
    Ok(Struck {
        times: failed.len() + killed,
        journal: failed.iter().any(|call| {
            let writes = ["pwrite64(", "fdatasync("];
            call.contains("/catalog.db-wal>") && writes.iter().any(|name| call.starts_with(name))
        }),
    })
}

/// The calls that were looked at, without their numbers, in the order in which they ended: `name(arguments) = result`, with paths
/// for descriptors.
pub(crate) fn calls(log: &str) -> Vec<String> {
    let mut open = HashMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            open.insert(thread, begun);
        } else if let Some((_, end)) = call.split_once(" resumed>") {
            let begun = open.remove(thread);
            calls.extend(begun.map(|begun| format!("{begun}{end}")));
        } else {
            calls.push(call.to_owned());
        }
    }
    // The client may have its answer before the server's call has returned.
    calls.extend(open.into_values().map(str::to_owned));
    calls
}
