//! Which program makes the cluster, where nobody says so, and where that one cannot.

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_tests::command;

use crate::engine::Nowhere;
use crate::{PATIENCE, refused};

/// Nobody has a cluster of that name.
const NAME: &str = "wharf-test-cli-provider";

/// A profile of minikube's, as it keeps it.
fn profile(nowhere: &Nowhere, driver: &str) -> Result<()> {
    let folder = nowhere.path("home/.minikube/profiles").join(NAME);
    std::fs::create_dir_all(&folder)?;
    let profile = json!({
        "Name": NAME,
        "Driver": driver,
        "KubernetesConfig": {"ContainerRuntime": "containerd"},
        "Nodes": [{"Name": "", "ControlPlane": true}],
        "ContainerVolumeMounts": null,
    });
    Ok(std::fs::write(
        folder.join("config.json"),
        profile.to_string(),
    )?)
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
        let nowhere = Nowhere::with(programs)?;
        let mut plan = nowhere.wharf()?;
        plan.args(["up", "--dry-run", "--port", "5999", "--name", NAME]);
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
    let nowhere = Nowhere::with(&["docker", "kind", "minikube"])?;
    profile(&nowhere, "qemu2")?;
    for what in ["up", "down", "status"] {
        let said = refused(nowhere.wharf()?.args([what, "--name", NAME]), 6)?;
        ensure!(said.contains("qemu2 driver"), "{what}: {said}");
    }
    // Its containers are gone; its volume, and who made it, may come back.
    profile(&nowhere, "docker")?;
    let said = refused(
        nowhere
            .wharf()?
            .args(["up", "--port", "5998", "--name", NAME]),
        6,
    )?;
    ensure!(
        said.contains(&format!("minikube delete --profile {NAME}")),
        "{said}"
    );
    Ok(())
}

#[test]
fn what_is_for_minikube_alone() -> Result<()> {
    let nowhere = Nowhere::with(&["docker", "kind", "minikube"])?;
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
        let said = refused(nowhere.wharf()?.args(arguments), 2)?;
        ensure!(said.contains(words), "{arguments:?}: {said}");
    }
    Ok(())
}

#[test]
fn without_minikube() -> Result<()> {
    let nowhere = Nowhere::with(&["docker", "kind"])?;
    for what in ["up", "down", "status"] {
        let said = refused(nowhere.wharf()?.args([what, "--provider=minikube"]), 3)?;
        ensure!(said.contains("minikube is not on PATH"), "{what}: {said}");
    }
    Ok(())
}
