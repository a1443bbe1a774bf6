//! Which program makes the cluster, where nobody says so, and where that one cannot.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_tests::command;

use crate::cluster::Place;
use crate::engine::Nowhere;
use crate::{PATIENCE, refused};

/// A machine with an engine and with these programs, and nothing of minikube's but what is put there.
struct Machine {
    place: Place,
    nowhere: Nowhere,
}

impl Machine {
    fn with(name: &str, programs: &[&str]) -> Result<Self> {
        Ok(Self {
            place: Place::new(name)?,
            nowhere: Nowhere::with(programs)?,
        })
    }

    fn wharf(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.place.cluster.wharf(arguments)?;
        command
            .env("PATH", self.nowhere.path("bin"))
            .env("MINIKUBE_HOME", self.nowhere.path("home"));
        Ok(command)
    }

    /// A profile of minikube's, as it keeps it.
    fn profile(&self, driver: &str) -> Result<()> {
        let name = self.place.cluster.name();
        let profiles: PathBuf = self.nowhere.path("home/.minikube/profiles");
        std::fs::create_dir_all(profiles.join(name))?;
        let profile = json!({
            "Name": name,
            "Driver": driver,
            "KubernetesConfig": {"ContainerRuntime": "containerd"},
            "Nodes": [{"Name": "", "ControlPlane": true}],
            "ContainerVolumeMounts": null,
        });
        std::fs::write(profiles.join(name).join("config.json"), profile.to_string())?;
        Ok(())
    }
}

#[test]
fn the_one_that_is_there_is_taken() -> Result<()> {
    for (programs, why, step) in [
        (&["docker", "kind"][..], "Using kind: the default.", ""),
        (
            &["docker", "kind", "minikube"],
            "Using kind: the default; --provider minikube is the other.",
            "",
        ),
        (
            &["docker", "minikube"],
            "Using minikube: kind is not on PATH.",
            "Publish localhost:5999 beside the nodes",
        ),
    ] {
        let machine = Machine::with("cli-provider", programs)?;
        let mut plan = machine.wharf(&["up", "--dry-run", "--port", "5999"])?;
        let said = command::finish(&mut plan, PATIENCE)?;
        ensure!(
            said.status.success()
                && said.stderr.lines().next() == Some(why)
                && said.stdout.contains(step)
                && said.stdout.contains("beside") != step.is_empty(),
            "{programs:?}: {said:?}"
        );
    }
    Ok(())
}

#[test]
fn a_profile_of_somebody_else_stays() -> Result<()> {
    let machine = Machine::with("cli-profile", &["docker", "kind", "minikube"])?;
    machine.profile("qemu2")?;
    for what in ["up", "down", "status"] {
        let said = refused(&mut machine.wharf(&[what])?, 6)?;
        ensure!(said.contains("qemu2 driver"), "{what}: {said}");
    }
    // Its containers are gone; its volume, and who made it, may come back.
    machine.profile("docker")?;
    let said = refused(&mut machine.wharf(&["up", "--port", "5998"])?, 6)?;
    let remedy = format!("minikube delete --profile {}", machine.place.cluster.name());
    ensure!(said.contains(&remedy), "{said}");
    Ok(())
}

#[test]
fn what_is_for_minikube_alone() -> Result<()> {
    let machine = Machine::with("cli-arguments", &["docker", "kind", "minikube"])?;
    for (arguments, words) in [
        (&["up", "--", "--memory=4g"][..], "for `minikube start`"),
        (
            &["up", "--provider=minikube", "--", "-p", "x"],
            "say --name",
        ),
        (
            &["up", "--provider=minikube", "--", "--nodes=2"],
            "say --nodes",
        ),
        (
            &["up", "--provider=minikube", "--image=x:1"],
            "--node-binary",
        ),
    ] {
        let said = refused(&mut machine.wharf(arguments)?, 2)?;
        ensure!(said.contains(words), "{arguments:?}: {said}");
    }
    Ok(())
}

#[test]
fn without_minikube() -> Result<()> {
    let machine = Machine::with("cli-programs", &["docker", "kind"])?;
    for what in ["up", "down", "status"] {
        let said = refused(&mut machine.wharf(&[what, "--provider=minikube"])?, 3)?;
        ensure!(said.contains("minikube is not on PATH"), "{what}: {said}");
    }
    Ok(())
}
