//! A context of the kubeconfig, on a machine that has nothing else.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::engine::Nowhere;
use crate::{refused, said};

/// A context that leads to nobody.
const CONTEXT: &str = "admin@nowhere";

/// A machine without an engine, kind or minikube, and with a kubeconfig.
struct Machine(Nowhere);

impl Machine {
    fn new() -> Result<Self> {
        let nowhere = Nowhere::with(&[])?;
        // Nobody listens at port 1.
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(nowhere.path("kubeconfig"), kubeconfig.to_string())?;
        Ok(Self(nowhere))
    }

    fn wharf(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.0.wharf()?;
        command.env("KUBECONFIG", self.0.path("kubeconfig"));
        command.args(arguments);
        Ok(command)
    }
}

#[test]
fn a_cluster_that_does_not_answer() -> Result<()> {
    let machine = Machine::new()?;
    for what in [&["up", "--image=x:1"][..], &["down"], &["status"]] {
        let arguments = [what, &["--context", CONTEXT]].concat();
        let said = refused(&mut machine.wharf(&arguments)?, 7)?;
        let remedy = format!("`kubectl --context {CONTEXT} get nodes`");
        ensure!(said.contains(&remedy), "{what:?}: {said}");
    }
    Ok(())
}

#[test]
fn a_context_that_nobody_has() -> Result<()> {
    let machine = Machine::new()?;
    for what in ["up", "down", "status"] {
        let said = refused(&mut machine.wharf(&[what, "--context=other"])?, 5)?;
        let is_told = said.contains("no context other") && said.contains(CONTEXT);
        ensure!(is_told, "{what}: {said}");
        let said = refused(&mut machine.wharf(&[what, "--provider=existing"])?, 2)?;
        let is_told = said.contains("with --context") && said.contains(CONTEXT);
        ensure!(is_told, "{what}: {said}");
        let mut none = machine.wharf(&[what, "--context", CONTEXT])?;
        let said = refused(none.env("KUBECONFIG", "/nonexistent"), 3)?;
        ensure!(said.contains("KUBECONFIG"), "{what}: {said}");
    }
    Ok(())
}

/// What only who makes a cluster can choose, and what contradicts itself.
#[test]
fn what_does_not_go_together() -> Result<()> {
    let machine = Machine::new()?;
    let existing = ["up", "--image=x:1", "--context", CONTEXT];
    for (flags, words) in [
        (&["--nodes=2"][..], "--nodes"),
        (&["--kubernetes-image=x"], "--kubernetes-image"),
        (&["--data=/srv"], "--storage host:DIR"),
        (&["--", "--memory=4g"], "arguments after --"),
    ] {
        let arguments = [&existing[..], flags].concat();
        let said = refused(&mut machine.wharf(&arguments)?, 2)?;
        ensure!(said.contains(words), "{flags:?}: {said}");
    }
    for (arguments, words) in [
        (
            ["--provider=kind", "--context=other", "--name=a"],
            "no context of kind's",
        ),
        (
            ["--provider=kind", "--context=kind-a", "--name=b"],
            "kind's cluster a",
        ),
        (
            ["--provider=minikube", "--context=a", "--name=b"],
            "minikube's cluster a",
        ),
    ] {
        let arguments = [&["up"], &arguments[..]].concat();
        let said = refused(&mut machine.wharf(&arguments)?, 2)?;
        ensure!(said.contains(words), "{arguments:?}: {said}");
    }
    Ok(())
}

#[test]
fn storage_is_one_of_three() -> Result<()> {
    let machine = Machine::new()?;
    for bad in ["", "host", "host:", "nfs", "/srv"] {
        let storage = format!("--storage={bad}");
        let done = machine.wharf(&["up", &storage])?.output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let is_told = said.contains("host:DIR, pvc or emptydir") && said.contains("--storage");
        ensure!(done.status.code() == Some(2) && is_told, "{bad}: {said}");
    }
    let script = said(&mut machine.wharf(&["completion", "bash"])?)?;
    ensure!(script.contains("host: pvc emptydir"), "{script}");
    for (name, value) in [
        ("WHARF_CONTEXT", CONTEXT),
        ("WHARF_PROVIDER", "existing"),
        ("WHARF_STORAGE", "pvc"),
    ] {
        let help = said(&mut machine.wharf(&["up", "--help"])?)?;
        ensure!(help.contains(name), "no {name} ({value}) in {help}");
    }
    Ok(())
}
