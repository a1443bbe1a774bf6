//! Suites that take step after step on one cluster, because making one takes longer than everything that is done with it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bed::Cluster;
use crate::command::{self, say};
use crate::talk::until;

/// Longer than looking takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// For nodes and pods to come up again.
const LONG: Duration = Duration::from_secs(600);

/// A step: what is true after it, and what it takes to see it.
pub type Step<World> = (&'static str, fn(&World) -> Result<()>);

/// Takes the steps in order, and says how long each took. Where one fails, it shows the cluster first.
///
/// # Errors
/// The first step's that fails.
pub fn walk<World>(cluster: &Cluster, world: &World, steps: &[Step<World>]) -> Result<()> {
    let name = cluster.name();
    for (what, step) in steps {
        let started = Instant::now();
        if let Err(error) = step(world) {
            let seen = description(cluster);
            say(&format!("---- {name}, when it failed:\n{seen}----"));
            return Err(error).with_context(|| format!("not so: {what}"));
        }
        let seconds = started.elapsed().as_secs_f32();
        say(&format!("{name}: {what}: {seconds:.1} s"));
    }
    Ok(())
}

/// Waits until `wharf status` finds nothing wrong: Kubernetes takes its time to notice what works again.
///
/// # Errors
/// It still does after ten minutes.
pub fn until_well(status: impl Fn() -> Result<Command>) -> Result<()> {
    until(LONG, &Some(0), || {
        Ok(command::finish(&mut status()?, LONG)?.status.code())
    })
}

/// What somebody who looks into a failure wants to see first.
fn description(cluster: &Cluster) -> String {
    let of_wharf = "--namespace=wharf-system";
    let kubectl = |arguments: &[&str]| Some(cluster.kubectl_command(arguments));
    let commands = [
        cluster.wharf(&["status"]).ok(),
        kubectl(&[
            "get",
            "pods,persistentvolumeclaims",
            "--all-namespaces",
            "--output=wide",
        ]),
        kubectl(&["get", "events", "--all-namespaces"]),
        kubectl(&["describe", "pods", of_wharf]),
        kubectl(&["logs", "deployment/registry", "--all-containers", of_wharf]),
    ];
    let mut text = String::new();
    for mut command in commands.into_iter().flatten() {
        text += &format!("$ {}\n", command::describe(&command));
        text += &match command::finish(&mut command, PATIENCE) {
            Ok(said) => command::tail(&(said.stdout + &said.stderr), 20),
            Err(error) => format!("{error:#}"),
        };
        text.push('\n');
    }
    text
}
