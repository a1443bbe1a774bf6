//! A Docker Engine that answers.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Bed, root_debian, tools};
use crate::command;
use crate::talk::until;

/// Longer than a busy machine takes to answer, shorter than anybody waits for one that never will.
const ANSWER: Duration = Duration::from_secs(20);
/// Longer than an engine takes to stop all containers.
const STOP: Duration = Duration::from_secs(120);

/// Starts an engine where none answers, and installs one if need be and possible.
pub(super) fn ensure(bed: &Bed) -> Result<()> {
    let Err(why) = answers(bed) else {
        return Ok(());
    };
    if let Some(host) = std::env::var_os("DOCKER_HOST") {
        bail!(
            "the Docker Engine that DOCKER_HOST names ({}) does not answer; unset DOCKER_HOST or start that engine\n{why:#}",
            host.display()
        );
    }
    if root_debian() {
        bed.script("engine.sh", &[])?;
        return answers(bed);
    }
    if !tools::on_path("docker") {
        bail!(
            "tests need Docker: install it (https://docs.docker.com/engine/install/). On Debian, run as root, they do it themselves"
        );
    }
    let said = format!("{why:#}");
    if said.contains("permission denied") {
        bail!(
            "no permission to use Docker: run `sudo usermod -aG docker $USER`, log in again and try again\n{said}"
        );
    }
    bail!(
        "Docker does not answer: start it (`sudo systemctl start docker`, or Docker Desktop) and try again\n{said}"
    )
}

/// Asks for containers: an engine that is half dead still tells its version.
fn answers(bed: &Bed) -> Result<()> {
    bed.docker(&["ps", "--all", "--quiet"], ANSWER).map(drop)
}

/// Whether the engine is one that the bed itself started, on this machine and in this network namespace.
pub(super) fn is_ours(bed: &Bed) -> bool {
    our_process(bed).is_some()
}

/// The process id of the engine that the bed itself started, if it runs.
fn our_process(bed: &Bed) -> Option<String> {
    let pid = std::fs::read_to_string(bed.dir().join("dockerd.pid")).ok()?;
    let pid = pid.trim();
    let name = std::fs::read_to_string(Path::new("/proc").join(pid).join("comm")).ok()?;
    let is_it = std::env::var_os("DOCKER_HOST").is_none() && name.trim() == "dockerd";
    is_it.then(|| pid.to_owned())
}

/// Ends the engine, and starts it again, if it is one that the bed itself started. Says whether it is.
pub(super) fn restart(bed: &Bed) -> Result<bool> {
    let Some(pid) = our_process(bed) else {
        return Ok(false);
    };
    command::output(Command::new("kill").arg(&pid), ANSWER)?;
    // It stops its containers first. Dead, it may still have an entry there, if nobody reaps it, but no program.
    let program = Path::new("/proc").join(&pid).join("exe");
    until(STOP, &false, || Ok(program.exists()))?;
    bed.script("engine.sh", &[])?;
    Ok(true)
}

/// Whether this machine withholds CAP_SYS_RESOURCE (number 24), without which kind's own node image does not start.
pub(super) fn is_bounded(bed: &Bed) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let granted = bounding
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_none_or(|set| set >> 24 & 1 == 1);
    !granted && is_ours(bed)
}

/// Removes kind's network if its bridge is gone, as after the end of an engine whose network namespace went with it: containers that
/// join it would have no network. kind makes it anew. One that anybody's container is still attached to is left alone.
pub(super) fn heal_network(bed: &Bed) -> Result<()> {
    // Elsewhere the engine's bridges are not to be seen from here.
    if !is_ours(bed) {
        return Ok(());
    }
    let arguments = [
        "network",
        "inspect",
        "kind",
        "--format",
        "{{.Id}} {{.Driver}} {{len .Containers}}",
    ];
    let inspected = command::finish(bed.command("docker").args(arguments), ANSWER)?;
    let [id, "bridge", "0"] = inspected.stdout.split_whitespace().collect::<Vec<_>>()[..] else {
        return Ok(());
    };
    let bridge = format!("/sys/class/net/br-{}", id.get(..12).unwrap_or(id));
    if !Path::new(&bridge).exists() {
        bed.docker(&["network", "rm", "kind"], ANSWER)?;
    }
    Ok(())
}
