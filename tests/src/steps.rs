//! A `wharf up` or `wharf down` that runs beside the test, so that the test can stop it at a moment of its choice: the steps are
//! those that it names itself (`--dry-run --output json`), so that one that is added is interrupted as well.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::command::{self, say};
use crate::content::Random;

/// Longer than a step takes to begin on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// For what makes a cluster.
const LONG: Duration = Duration::from_secs(600);
/// The longest moment within a step, as a power of two of milliseconds. Moments are as likely short as long: most steps are.
const LONGEST: usize = 11;

/// How often a command may have other steps than it has just planned.
const REPLANS: u32 = 20;

/// A running command with `--output json`, in a process group of its own.
#[derive(Debug)]
pub struct Run {
    child: Child,
    name: String,
    events: PathBuf,
    errors: PathBuf,
}

impl Run {
    /// Starts a command of wharf's; what it says goes to two files of this directory.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, dir: &Path) -> Result<Self> {
        let (events, errors) = (dir.join("run.events"), dir.join("run.errors"));
        command
            .args(["--output", "json"])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(File::create(&events)?)
            .stderr(File::create(&errors)?);
        let name = command::describe(&command);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{name}`"))?;
        Ok(Self {
            child,
            name,
            events,
            errors,
        })
    }

    /// Waits until it has begun a step, which is named by how its title begins.
    ///
    /// # Errors
    /// It ends, or does not come there.
    pub fn reaches(&mut self, title: &str) -> Result<()> {
        self.says(title, |event| {
            event["name"]
                .as_str()
                .is_some_and(|name| name.starts_with(title))
        })
        .map(drop)
    }

    /// Waits for an event, which comes unless it ends before.
    fn says(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            // Asked first: what ended has said everything.
            let ended = self.child.try_wait()?;
            if let Some(event) = self.events()?.into_iter().find(|event| is_it(event)) {
                return Ok(event);
            }
            if let Some(status) = ended {
                bail!(
                    "`{}` ended ({status}) before \"{what}\":\n{}",
                    self.name,
                    self.said()
                );
            }
            ensure!(
                Instant::now() < end,
                "`{}` did not come to \"{what}\":\n{}",
                self.name,
                self.said()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it has ended, well or not.
    ///
    /// # Errors
    /// It does not end.
    pub fn ends(&mut self) -> Result<ExitStatus> {
        let status = command::wait_for(&mut self.child, LONG)?;
        status.with_context(|| format!("`{}` does not end:\n{}", self.name, self.said()))
    }

    /// Kills it alone, not what it has started, in the middle of what it does.
    ///
    /// # Errors
    /// It had ended already.
    pub fn kill(&mut self) -> Result<()> {
        let status = self.kill_or_end()?;
        ensure!(
            status.signal() == Some(Signal::KILL.as_raw()),
            "it was to be killed and had ended ({status}):\n{}",
            self.said()
        );
        Ok(())
    }

    fn kill_or_end(&mut self) -> Result<ExitStatus> {
        // Of one that has ended, and was seen to, nothing is left that could be killed.
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::KILL)?;
        self.ends()
    }

    /// Sends a signal to it, as long as it lives, and to all that it has started.
    ///
    /// # Errors
    /// Nothing of that lives.
    pub fn signal_all(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process_group(Pid::from_child(&self.child), signal)
            .with_context(|| format!("nothing runs any more of `{}`", self.name))
    }

    /// Waits for its good end.
    ///
    /// # Errors
    /// It fails; what it said is in the error.
    pub fn succeeds(mut self) -> Result<Vec<Value>> {
        let status = self.ends()?;
        ensure!(status.success(), "{status}:\n{}", self.said());
        self.events()
    }

    /// Its events so far; half a line at the end is none yet.
    ///
    /// # Errors
    /// What it says is no JSON.
    pub fn events(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&self.events)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
        whole.lines().map(parse).collect()
    }

    /// What it said to people.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn errors(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.errors)?)
    }

    fn said(&self) -> String {
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        command::tail(&(read(&self.events) + &read(&self.errors)), 30)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal_all(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Where in a step something is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// In the middle of it, or just as it ends.
    Within,
    /// When it has said that it is over.
    After,
}

/// A command of wharf's that is killed in each of its steps.
pub struct Killed<'a> {
    /// The command, without `--output` and `--dry-run`.
    pub command: &'a dyn Fn() -> Result<Command>,
    /// Where what it says is kept.
    pub dir: &'a Path,
    /// The choice of moments.
    pub random: Random,
    /// The moments of each step that are to be tried, from those that are known as the step is called.
    pub moments: &'a dyn Fn(&str, &mut Random) -> Vec<Moment>,
    /// What must hold after each kill.
    pub holds: &'a dyn Fn() -> Result<()>,
}

impl std::fmt::Debug for Killed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Killed")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Killed<'_> {
    /// Kills it at each moment of each step that it has at first, or comes to have when it is run again. Returns the steps.
    ///
    /// # Errors
    /// It does not come to a step that it named, or something does not hold.
    pub fn in_every_step(&mut self) -> Result<BTreeSet<String>> {
        let mut seen = BTreeSet::new();
        let mut due: Vec<(String, Moment)> = Vec::new();
        let mut replanned = 0;
        loop {
            let steps = planned((self.command)()?)?;
            for step in &steps {
                if seen.insert(step.clone()) {
                    let moments = (self.moments)(step, &mut self.random);
                    due.extend(moments.into_iter().map(|moment| (step.clone(), moment)));
                }
            }
            // The first that is still to be taken: what a later one finds is then as a first run has it.
            let position = |due: &(String, Moment)| steps.iter().position(|step| *step == due.0);
            let next = due.iter().enumerate();
            let next = next.filter_map(|(at, due)| Some((position(due)?, at)));
            let Some((number, at)) = next.min() else {
                return Ok(seen);
            };
            let (step, moment) = due.remove(at);
            let was_planned = self.kill(&steps, number, moment).with_context(|| {
                format!("killed {moment:?} {step}, step {} of {steps:?}", number + 1)
            })?;
            if !was_planned {
                // What it found was another thing than the plan before had found: a node that had only just been started, say.
                due.insert(at, (step, moment));
                replanned += 1;
                ensure!(
                    replanned < REPLANS,
                    "it never does what it has just planned"
                );
            }
        }
    }

    /// Kills it at a moment of a step, or, where its steps are others than were planned, at once: `false` then.
    fn kill(&mut self, steps: &[String], number: usize, moment: Moment) -> Result<bool> {
        let is = |event: &Value, state: &str| {
            event["step"] == number + 1 && event["of"] == steps.len() && event["state"] == state
        };
        let step = &steps[number];
        let mut run = Run::start((self.command)()?, self.dir)?;
        let first = run.says(step, |event| event["of"].is_u64())?;
        if first["of"] != steps.len() {
            run.kill_or_end()?;
            (self.holds)()?;
            return Ok(false);
        }
        run.says(step, |event| is(event, "running"))?;
        match moment {
            Moment::After => drop(run.says(step, |event| is(event, "done"))?),
            Moment::Within => {
                // Any moment will do: this is the choice, and nothing is waited for. A step that is over sooner is over.
                let most = 1 << self.random.below(LONGEST + 1);
                let wait = u64::try_from(1 + self.random.below(most))?;
                let end = Instant::now() + Duration::from_millis(wait);
                while Instant::now() < end && !run.events()?.iter().any(|e| is(e, "done")) {
                    std::thread::sleep(Duration::from_micros(500));
                }
            }
        }
        let status = run.kill_or_end()?;
        // After its last step, it may have come to its good end before it was killed.
        ensure!(
            status.signal() == Some(Signal::KILL.as_raw())
                || (status.success() && number + 1 == steps.len()),
            "it was to be killed and had ended ({status}):\n{}",
            run.said()
        );
        say(&format!("killed {moment:?} {step}"));
        (self.holds)()?;
        Ok(true)
    }
}

/// The steps that a command would take now, as `--dry-run --output json` calls them.
///
/// # Errors
/// It has no such plan.
pub fn planned(mut command: Command) -> Result<Vec<String>> {
    command.args(["--dry-run", "--output", "json"]);
    let said = command::output(&mut command, LONG)?;
    let plan: Value = serde_json::from_str(&said).with_context(|| format!("no plan: {said}"))?;
    let steps = plan["result"]["steps"].as_array();
    let steps = steps.with_context(|| format!("no steps in {plan}"))?;
    steps
        .iter()
        .map(|step| match step {
            Value::String(name) => Ok(name.clone()),
            // Whatever it is about: the step is the same.
            Value::Object(named) if named.len() == 1 => Ok(named.keys().cloned().collect()),
            _ => bail!("no step: {step}"),
        })
        .collect()
}

/// The seed of a run's choices: `WHARF_SEED` repeats them.
///
/// # Errors
/// It is no number.
pub fn seed() -> Result<u64> {
    match std::env::var("WHARF_SEED") {
        Ok(seed) => seed.parse().context("WHARF_SEED is no number"),
        Err(_) => Ok(u64::from(std::process::id())),
    }
}
