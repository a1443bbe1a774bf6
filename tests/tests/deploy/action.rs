//! The action, its steps run as a runner of workflows runs them: each `run` a file for bash, with what is written to `GITHUB_PATH`,
//! `GITHUB_ENV` and `GITHUB_OUTPUT` handed on.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command::{self, Output};
use wharf_tests::content::sha256;
use wharf_tests::http::Connection;
use wharf_tests::{talk, wharf};

use crate::{DEPLOY, LONG, VERSION};

/// A job of a workflow.
pub(crate) struct Job<'a> {
    temp: TempDir,
    /// What a step's command is made of: the machine's environment.
    shell: Box<dyn Fn() -> Command + 'a>,
    path: Vec<PathBuf>,
    variables: BTreeMap<String, String>,
}

impl<'a> Job<'a> {
    /// A job on a machine where `shell` starts bash.
    pub(crate) fn new(shell: impl Fn() -> Command + 'a) -> Result<Self> {
        Ok(Self {
            temp: tempfile::tempdir()?,
            shell: Box::new(shell),
            path: Vec::new(),
            variables: BTreeMap::new(),
        })
    }

    /// Uses the action with these inputs. Returns its outputs, or what the step said that failed.
    pub(crate) fn uses(&mut self, with: &[(&str, &str)]) -> Result<Result<Outputs, Output>> {
        let folder = Path::new(DEPLOY).join("action");
        let action = std::fs::read_to_string(folder.join("action.yml"))?;
        let action: Value = serde_saphyr::from_str(&action).context("action.yml is no YAML")?;
        let mut inputs = BTreeMap::new();
        for (name, input) in action["inputs"].as_object().context("no inputs")? {
            inputs.insert(
                name.clone(),
                input["default"].as_str().unwrap_or("").to_owned(),
            );
        }
        for (name, value) in with {
            let input = inputs.get_mut(*name);
            *input.with_context(|| format!("no input {name}"))? = (*value).to_owned();
        }
        let mut known: BTreeMap<String, String> = inputs
            .into_iter()
            .map(|(name, value)| (format!("inputs.{name}"), value))
            .collect();
        ensure!(action["runs"]["using"] == "composite", "{action}");
        for step in action["runs"]["steps"].as_array().context("no steps")? {
            let step = step.as_object().context("no step")?;
            // What this runner knows of; anything else it would do otherwise than a real one.
            let is_known = |key: &str| ["name", "id", "shell", "env", "run"].contains(&key);
            ensure!(
                step.keys().all(|key| is_known(key)) && step["shell"] == "bash",
                "{step:?}"
            );
            let (id, script) = (step["id"].as_str(), step["run"].as_str());
            let (id, script) = (id.context("no id")?, script.context("no script")?);
            ensure!(
                !script.contains("${{"),
                "an input is part of a script: {script}"
            );
            let mut variables = BTreeMap::new();
            for (name, value) in step["env"].as_object().context("no env")? {
                let value = evaluate(value.as_str().context("no text")?, &known)?;
                variables.insert(name.clone(), value);
            }
            variables.insert("GITHUB_ACTION_PATH".into(), folder.display().to_string());
            let (said, outputs) = self.run(script, &variables)?;
            if !said.status.success() {
                return Ok(Err(said));
            }
            for (name, value) in outputs {
                known.insert(format!("steps.{id}.outputs.{name}"), value);
            }
        }
        let outputs = action["outputs"].as_object().context("no outputs")?;
        let outputs = outputs.iter().map(|(name, output)| {
            let value = output["value"].as_str().context("no value")?;
            Ok((name.clone(), evaluate(value, &known)?))
        });
        Ok(Ok(Outputs(outputs.collect::<Result<_>>()?)))
    }

    /// A step of the workflow's own.
    pub(crate) fn step(&mut self, script: &str) -> Result<String> {
        let (said, _) = self.run(script, &BTreeMap::new())?;
        ensure!(said.status.success(), "{said:?}");
        Ok(said.stdout)
    }

    fn run(
        &mut self,
        script: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<(Output, BTreeMap<String, String>)> {
        let file = |name: &str| self.temp.path().join(name);
        let files = ["GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH"];
        std::fs::write(file("script.sh"), script)?;
        let mut command = (self.shell)();
        wharf::without_settings(&mut command);
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail"])
            .arg(file("script.sh"))
            .current_dir(self.temp.path())
            .env("RUNNER_TEMP", self.temp.path())
            .envs(&self.variables)
            .envs(variables);
        for name in files {
            std::fs::write(file(name), "")?;
            command.env(name, file(name));
        }
        let own = command.get_envs().find(|(name, _)| *name == "PATH");
        let own = own.and_then(|(_, value)| value.map(ToOwned::to_owned));
        let own = own.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let path = self.path.iter().cloned().chain(std::env::split_paths(&own));
        command.env("PATH", std::env::join_paths(path)?);
        let said = command::finish(&mut command, LONG)?;
        let [outputs, env, path] = files.map(|name| std::fs::read_to_string(file(name)));
        self.variables.extend(pairs(&env?)?);
        self.path.extend(path?.lines().map(PathBuf::from));
        Ok((said, pairs(&outputs?)?))
    }
}

/// What an action has to say in the end.
#[derive(Debug)]
pub(crate) struct Outputs(BTreeMap<String, String>);

impl Outputs {
    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        let value = self
            .0
            .get(name)
            .with_context(|| format!("no output {name}"))?;
        Ok(value)
    }
}

/// Replaces `${{ inputs.NAME }}` and `${{ steps.ID.outputs.NAME }}`; of an output that was not set, nothing is left.
fn evaluate(text: &str, known: &BTreeMap<String, String>) -> Result<String> {
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").context("an expression has no end")?;
        let name = expression.trim();
        done += before;
        match known.get(name) {
            Some(value) => done += value,
            None if name.starts_with("steps.") => {}
            None => bail!("{name} is nothing that is known"),
        }
        rest = after;
    }
    Ok(done + rest)
}

/// `NAME=VALUE`, line by line.
fn pairs(text: &str) -> Result<BTreeMap<String, String>> {
    let pair = |line: &str| {
        let (name, value) = line
            .split_once('=')
            .with_context(|| format!("no pair: {line}"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    text.lines().map(pair).collect()
}

/// Ends the server that a step has left, as a runner does at the end of a job.
struct Server(Pid);

impl Server {
    fn of(outputs: &Outputs) -> Result<Self> {
        let pid = Pid::from_raw(outputs.get("pid")?.parse()?);
        Ok(Self(pid.context("0 is no process")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::TERM);
    }
}

fn bash() -> Command {
    Command::new("bash")
}

fn refused(with: &[(&str, &str)]) -> Result<String> {
    match Job::new(bash)?.uses(with)? {
        Ok(outputs) => bail!("{with:?} is not refused: {outputs:?}"),
        Err(said) => Ok(said.stdout),
    }
}

#[test]
fn a_registry_beside_the_steps() -> Result<()> {
    let binary = wharf::binary()?.display().to_string();
    let mut job = Job::new(bash)?;
    let with = [
        ("binary", binary.as_str()),
        ("version", VERSION),
        ("port", "0"),
        // As it comes from a block of several lines.
        ("arguments", "--no-delete\n--gc-grace=2h\n"),
    ];
    let outputs = job.uses(&with)?;
    let outputs = outputs.map_err(|said| anyhow::anyhow!("{said:?}"))?;
    let server = Server::of(&outputs)?;
    ensure!(outputs.get("version")? == VERSION, "{outputs:?}");
    // Later steps have it by name, and the program on their path.
    let said = job.step("wharf version && echo $WHARF_REGISTRY")?;
    let registry = outputs.get("registry")?;
    ensure!(said == format!("wharf {VERSION}\n{registry}\n"), "{said}");
    let port = registry
        .strip_prefix("localhost:")
        .context("not localhost")?;
    let mut http = Connection::open(SocketAddr::from(([127, 0, 0, 1], port.parse()?)))?;
    talk::push_image(&mut http, "app", "1")?;
    talk::ask(&mut http, 200, talk::get("/v2/app/manifests/1"))?;
    talk::ask(&mut http, 405, talk::delete("/v2/app/manifests/1"))?;
    let log = std::fs::read_to_string(outputs.get("log")?)?;
    ensure!(log.contains("serves http://127.0.0.1:"), "{log}");
    drop(server);
    Ok(())
}

#[test]
fn a_download_is_run_only_if_it_is_what_was_meant() -> Result<()> {
    Bed::ensure_tools(&[Tool::Curl])?;
    let binary = wharf::binary()?;
    let digest = sha256(&std::fs::read(&binary)?);
    let digest = digest.strip_prefix("sha256:").context("no digest")?;
    let url = format!("file://{}", binary.display());
    let other = "0".repeat(64);
    let with = [("url", url.as_str()), ("port", "0")];
    for (more, words) in [
        (&[][..], "set sha256"),
        (&[("sha256", other.as_str())], "has another digest"),
        (&[("sha256", digest), ("version", "9.9.9")], "not 9.9.9"),
    ] {
        let said = refused(&[&with, more].concat())?;
        ensure!(said.contains("::error") && said.contains(words), "{said}");
    }
    let mut job = Job::new(bash)?;
    let outputs = job.uses(&[&with[..], &[("sha256", digest)]].concat())?;
    let outputs = outputs.map_err(|said| anyhow::anyhow!("{said:?}"))?;
    let _server = Server::of(&outputs)?;
    Ok(())
}

/// Cargo has built it for the other tests: it only looks.
#[test]
fn it_is_built_from_the_checkout_that_the_action_is_in() -> Result<()> {
    let own = std::env::current_exe()?;
    // Below it are the target, the profile, `deps` and this program.
    let target = own.ancestors().nth(4).context("built elsewhere")?;
    let target = target.to_owned();
    let shell = move || {
        let mut bash = bash();
        bash.env("CARGO_TARGET_DIR", &target);
        bash
    };
    let outputs = Job::new(shell)?.uses(&[("port", "0")])?;
    let outputs = outputs.map_err(|said| anyhow::anyhow!("{said:?}"))?;
    let _server = Server::of(&outputs)?;
    ensure!(outputs.get("version")? == VERSION, "{outputs:?}");
    Ok(())
}

#[test]
fn what_cannot_be_started_is_said() -> Result<()> {
    let binary = wharf::binary()?.display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let with =
        |more: [&'static str; 2]| [("binary", binary.clone()), (more[0], more[1].to_owned())];
    for (with, words) in [
        (with(["mode", "sideways"]), "no mode sideways"),
        (
            with(["arguments", "--nonsense"]),
            "unexpected argument '--nonsense'",
        ),
        (
            [("binary", binary.clone()), ("port", port.clone())],
            "is taken",
        ),
    ] {
        let with = with.each_ref().map(|(name, value)| (*name, value.as_str()));
        let said = refused(&with)?;
        ensure!(said.contains("::error") && said.contains(words), "{said}");
    }
    Ok(())
}
