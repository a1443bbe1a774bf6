//! What the system says of a process.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of the clock that `/proc` counts processor time in; Linux has no other on any machine that this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// A process, by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    /// Processor time of all its threads, those that have ended included, in user and in kernel mode.
    pub(crate) fn cpu(self) -> Result<Duration> {
        self.ticks(11)
    }

    /// The same of its children that it has waited for.
    pub(crate) fn children_cpu(self) -> Result<Duration> {
        self.ticks(13)
    }

    /// What two fields of `stat` add up to, of which the first is so far behind the name.
    fn ticks(self, field: usize) -> Result<Duration> {
        let stat = self.read("stat")?;
        // The name may have anything in it; what follows its last bracket is numbers.
        let fields = stat.rsplit_once(')').context("no name in stat")?.1;
        let mut fields = fields.split_ascii_whitespace().skip(field);
        let mut next = || -> Result<u64> { Ok(fields.next().context("a short stat")?.parse()?) };
        let ticks = next()? + next()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// Bytes in memory now.
    pub(crate) fn resident(self) -> Result<u64> {
        self.kib("VmRSS:")
    }

    /// The most bytes that it had in memory since [`Process::forget_peak`], or ever.
    pub(crate) fn peak(self) -> Result<u64> {
        self.kib("VmHWM:")
    }

    /// Begins anew with [`Process::peak`]. Not every system lets us: its peak is then that of its life.
    pub(crate) fn forget_peak(self) {
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    /// The program that it runs.
    pub(crate) fn program(self) -> Result<PathBuf> {
        Ok(std::fs::read_link(format!("/proc/{}/exe", self.0))?)
    }

    fn kib(self, what: &str) -> Result<u64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let figure = line.and_then(|line| line.split_ascii_whitespace().next());
        let figure: u64 = figure
            .with_context(|| format!("no {what} in status"))?
            .parse()?;
        Ok(figure << 10)
    }

    fn read(self, what: &str) -> Result<String> {
        let path = format!("/proc/{}/{what}", self.0);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has it ended?"))
    }
}
