//! `wharf.toml`: what need not be typed in a project's folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Place;
use crate::engine::Nowhere;
use crate::{refused, said};

const FILE: &str = r#"
    name = "wharf-test-cli-project"
    nodes = 3
    port = 5998
    data = "images"
    wait = "2m"
"#;

/// A project with a folder below it, where commands are typed.
fn project(folder: &Path, file: &str) -> Result<PathBuf> {
    let below = folder.join("project/cmd/app");
    std::fs::create_dir_all(&below)?;
    std::fs::write(folder.join("project/wharf.toml"), file)?;
    Ok(below)
}

#[test]
fn what_is_typed_counts_more_than_the_file() -> Result<()> {
    let place = Place::new("cli-project")?;
    let here = project(place.cluster.dir(), FILE)?;
    let plan = |arguments: &[&str], variables: &[(&str, &str)]| -> Result<Value> {
        let mut command = place
            .cluster
            .wharf(&["up", "--dry-run", "--output", "json"])?;
        command.args(arguments).current_dir(&here);
        command
            .env_remove("WHARF_NAME")
            .envs(variables.iter().copied());
        let plan: Value = serde_json::from_str(&said(&mut command)?)?;
        Ok(plan["result"].clone())
    };
    let of_file = plan(&[], &[])?;
    let images = place.cluster.dir().join("project/images");
    ensure!(
        of_file["nodes"] == 3 && of_file["port"] == 5998,
        "{of_file}"
    );
    ensure!(of_file["data"] == images.display().to_string(), "{of_file}");
    let typed = plan(&["--nodes", "2", "--port=5997"], &[("WHARF_PORT", "5996")])?;
    ensure!(typed["nodes"] == 2 && typed["port"] == 5997, "{typed}");
    let set = plan(&[], &[("WHARF_PORT", "5996")])?;
    ensure!(set["nodes"] == 3 && set["port"] == 5996, "{set}");
    let another = here.join("other.toml");
    std::fs::write(&another, "nodes = 4\nstorage = \"host:there\"")?;
    let named = plan(&["--file", "other.toml"], &[])?;
    let there = here.join("there").display().to_string();
    ensure!(
        named["nodes"] == 4 && named["port"] == 5000 && named["data"] == there,
        "{named}"
    );
    // Commands that have fewer flags take what they have.
    for what in ["status", "env"] {
        let mut command = place.cluster.wharf(&[what])?;
        command.current_dir(&here).env_remove("WHARF_NAME");
        let text = refused(&mut command, 5)?;
        ensure!(text.contains("wharf-test-cli-project"), "{what}: {text}");
    }
    place.is_untouched()
}

#[test]
fn a_wrong_file_is_named_with_what_is_wrong() -> Result<()> {
    let nowhere = Nowhere::with(&[])?;
    for (file, words) in [
        ("nods = 3", "there is no nods; there are name, provider"),
        ("nodes = 99", "'99' for '--nodes <N>'"),
        ("nodes = [1]", "nodes is one string, number or boolean"),
        ("name = \"Shop\"", "'Shop' for '--name <NAME>'"),
        ("arguments = \"a\"", "arguments is a list"),
        ("name = ", "line 1, column 8"),
    ] {
        let here = project(&nowhere.path("home"), file)?;
        let output = wharf_tests::command::finish(
            nowhere.wharf()?.arg("up").current_dir(&here),
            crate::PATIENCE,
        )?;
        let path = here.ancestors().nth(2).context("no folder above")?;
        let path = path.join("wharf.toml").display().to_string();
        ensure!(
            output.status.code() == Some(2)
                && output.stderr.starts_with(&format!("error: {path}: "))
                && output.stderr.contains(words),
            "{file}: {output:?}"
        );
    }
    let text = refused(nowhere.wharf()?.args(["up", "--file", "none.toml"]), 2)?;
    ensure!(text.contains("cannot read /none.toml"), "{text}");
    Ok(())
}
