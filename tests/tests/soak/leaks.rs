//! What a server may lose sight of.

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use wharf_tests::wharf::Server;

/// What a process holds.
pub(crate) struct Usage {
    /// Open files and sockets, other than those to its database, of which it keeps a few for later.
    pub(crate) descriptors: usize,
    /// KiB of memory.
    pub(crate) memory: u64,
}

impl Usage {
    pub(crate) fn of(server: &Server) -> Result<Self> {
        let process = format!("/proc/{}", server.id().context("the server has ended")?);
        let mut descriptors = 0;
        for entry in std::fs::read_dir(format!("{process}/fd"))? {
            let target = std::fs::read_link(entry?.path()).unwrap_or_default();
            descriptors += usize::from(!target.to_string_lossy().contains("catalog.db"));
        }
        let status = std::fs::read_to_string(format!("{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(Self {
            descriptors,
            memory: memory.context("no VmRSS")?.parse()?,
        })
    }
}

/// The tables that are not empty.
pub(crate) fn rows(server: &Server) -> Result<Vec<String>> {
    let path = server.data().join("catalog.db");
    let catalog = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut tables = catalog.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'meta' ORDER BY name",
    )?;
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut left = Vec::new();
    for table in tables {
        let count: i64 =
            catalog.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })?;
        if count > 0 {
            left.push(format!("{count} rows in {table}"));
        }
    }
    Ok(left)
}

/// Lines of the log that say that something went wrong here. (That a client hung up is its own fault.)
pub(crate) fn faults(log: &str) -> Vec<&str> {
    let is_fault = |line: &&str| {
        [" ERROR ", "panicked", "status=500"]
            .iter()
            .any(|word| line.contains(word))
    };
    log.lines().filter(is_fault).take(10).collect()
}
