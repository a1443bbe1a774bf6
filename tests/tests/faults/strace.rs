//! Faults between a running server and its kernel.

use anyhow::{Context, Result};
use wharf_tests::strace::Tracer;
use wharf_tests::wharf::Server;

/// Makes every thread's `nth` call of `syscall` fail with `fault`, such as `error=EIO` or
/// `signal=KILL`, until [`detach`].
pub(crate) fn attach(server: &Server, syscall: &str, fault: &str, nth: u64) -> Result<Tracer> {
    let id = server.id().context("the server does not run")?;
    let inject = format!("{syscall}:{fault}:when={nth}");
    let arguments = ["--trace", syscall, "--inject", &inject];
    Tracer::attach(id, server.scratch(), arguments)
}

/// Lets the server go, and says how often a call was made to fail.
pub(crate) fn detach(tracer: Tracer) -> Result<usize> {
    let log = tracer.detach()?;
    Ok(log.matches("(INJECTED)").count() + log.matches("+++ killed by SIGKILL").count().min(1))
}
