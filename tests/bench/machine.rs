//! Where it is measured.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use wharf_tests::command;

use crate::results::Machine;

/// The numbers of file systems, as `statfs` gives them.
const FILE_SYSTEMS: [(i64, &str); 5] = [
    (TMPFS, "tmpfs"),
    (0xef53, "ext4"),
    (0x5846_5342, "XFS"),
    (0x9123_683e, "Btrfs"),
    (0x794c_7630, "overlay"),
];
const TMPFS: i64 = 0x0102_1994;

/// This machine, with data in a directory.
pub(crate) fn this(dir: &Path) -> Result<Machine> {
    let read =
        |path: &str| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let after = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim_matches([' ', '\t', ':']).to_owned())
    };
    let processor = after(&read("/proc/cpuinfo")?, "model name");
    let memory = after(&read("/proc/meminfo")?, "MemTotal:").unwrap_or_default();
    let kib = memory.trim_end_matches(" kB").parse().unwrap_or(0_u64);
    let kind = file_system(dir)?;
    let name = FILE_SYSTEMS.iter().find(|(number, _)| *number == kind);
    let date = command::output(
        Command::new("date").args(["-u", "+%F"]),
        Duration::from_secs(9),
    )?;
    Ok(Machine {
        processor: processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism()?.get(),
        memory_bytes: kib << 10,
        kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        file_system: name.map_or_else(|| format!("{kind:#x}"), |(_, name)| (*name).to_owned()),
        date: date.trim().to_owned(),
    })
}

/// Whether a directory is in memory: nothing that is synced there is on a disk.
pub(crate) fn is_memory(dir: &Path) -> Result<bool> {
    Ok(file_system(dir)? == TMPFS)
}

fn file_system(dir: &Path) -> Result<i64> {
    Ok(rustix::fs::statfs(dir)?.f_type)
}
