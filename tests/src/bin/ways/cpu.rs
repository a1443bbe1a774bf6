//! Whose processor time it is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use wharf_tests::wharf;

/// What is told apart, by the program's name and, where that is wharf's, by its command.
const PROGRAMS: [&str; 8] = [
    "kube-apiserver",
    "kubelet",
    "containerd",
    "containerd-shim",
    "docker-proxy",
    "kubectl",
    "kube-proxy",
    "etcd",
];
const COMMANDS: [&str; 3] = ["serve", "relay", "forward"];
/// Of a second, as the kernel counts for programs.
const TICKS: f64 = 100.0;

/// Seconds of processor time that programs have used since they began, by program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu(BTreeMap<(u32, String), f64>);

impl Cpu {
    /// Looks at all programs of this machine, those in containers included.
    pub(crate) fn now() -> Result<Self> {
        let mut seconds = BTreeMap::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            // What ends while it is looked at is not of interest.
            let read = |name| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let command = String::from_utf8_lossy(&read("cmdline")).into_owned();
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            if let (Some(name), Some(used)) = (name(&command), used(&stat)) {
                seconds.insert((id, name), used);
            }
        }
        Ok(Self(seconds))
    }

    /// What was used since, by program.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let mut used = BTreeMap::new();
        for (program, seconds) in &self.0 {
            let before = before.0.get(program).copied().unwrap_or_default();
            *used.entry(program.1.clone()).or_default() += seconds - before;
        }
        used
    }
}

/// Whether a program is the one under test, which may be a file of another name (`WHARF_BIN`).
pub(crate) fn is_wharf(program: &str) -> bool {
    let given = wharf::binary().ok();
    let given = given.as_deref().and_then(Path::file_name);
    program == "wharf" || given.is_some_and(|given| given == program)
}

/// What a program is called here.
fn name(command: &str) -> Option<String> {
    let mut words = command.split('\0');
    let program = words.next()?.rsplit('/').next()?;
    if is_wharf(program) {
        let command = words.next()?;
        return COMMANDS
            .contains(&command)
            .then(|| format!("wharf {command}"));
    }
    let known = PROGRAMS
        .iter()
        .rev()
        .find(|name| program.starts_with(**name));
    known.map(|name| (*name).to_owned())
}

/// User's and system's time, from proc(5).
fn used(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}
