//! Takes the protections of `tests/protections.toml` away, one at a time and in a copy of the
//! sources, and shows the test that falls: `cargo run -p wharf-tests --bin protections [NAME…]`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wharf_tests::command::{self, say};
use wharf_tests::protections::{self, Protection, Target};
use wharf_tests::wharf;

/// Longer than any single test takes, but for one on a real cluster.
const PATIENCE: Duration = Duration::from_secs(900);

/// What came of a test.
enum Outcome {
    Passed,
    /// With the first line of what it said.
    Fell(String),
}

fn main() -> Result<ExitCode> {
    let checkout = protections::checkout();
    let mut list = protections::list(&checkout)?;
    let names: Vec<String> = std::env::args().skip(1).collect();
    for name in &names {
        ensure!(
            list.iter().any(|protection| protection.name == *name),
            "there is no protection '{name}'"
        );
    }
    list.retain(|protection| names.is_empty() || names.contains(&protection.name));
    let copy = Copy::new(&checkout)?;
    let mut sound = true;
    let mut out = std::io::stdout();

    // A test that fails anyway proves nothing.
    let mut before = BTreeMap::new();
    for protection in &list {
        let target = protection.target(&checkout)?;
        if !before.contains_key(&protection.test) {
            say(&format!("with all protections: {}", protection.test));
            before.insert(protection.test.clone(), copy.run(&target)?);
        }
    }
    for protection in &list {
        say(&format!("without {}", protection.name));
        let started = Instant::now();
        let (mark, said) = match before.get(&protection.test) {
            Some(Outcome::Fell(said)) => ("BROKEN", format!("fails with it as well: {said}")),
            _ => match copy.run_without(protection) {
                Ok(Outcome::Fell(said)) => ("falls", said),
                Ok(Outcome::Passed) => ("PASSES", "the test does not notice".to_owned()),
                Err(error) => ("BROKEN", format!("{error:#}")),
            },
        };
        sound &= mark == "falls";
        writeln!(
            out,
            "{mark:<6} {:<32} {:<72} {:>3} s  {said}",
            protection.name,
            protection.test,
            started.elapsed().as_secs()
        )?;
    }
    writeln!(
        out,
        "{} protections: {}",
        list.len(),
        match sound {
            true => "every test falls without its own",
            false => "some are not held by their test",
        }
    )?;
    Ok(match sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Sources to break, with a folder for what is built of them. Both stay, so that the next run
/// builds little.
struct Copy {
    checkout: PathBuf,
    sources: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn new(checkout: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("this program has no path")?;
        let folder = program.with_file_name("without-protections");
        let copy = Self {
            checkout: checkout.to_owned(),
            sources: folder.join("sources"),
            target: folder.join("target"),
        };
        copy.restore()?;
        Ok(copy)
    }

    fn restore(&self) -> Result<()> {
        protections::copy_sources(&self.checkout, &self.sources)
    }

    fn run_without(&self, protection: &Protection) -> Result<Outcome> {
        for (file, text) in protection.removed(&self.checkout)? {
            std::fs::write(self.sources.join(file), text)?;
        }
        let outcome = protection
            .target(&self.checkout)
            .and_then(|target| self.run(&target));
        self.restore()?;
        outcome
    }

    /// Runs one test of the copy.
    fn run(&self, target: &Target) -> Result<Outcome> {
        let mut build = wharf::cargo();
        build
            .arg("build")
            .current_dir(&self.sources)
            .env("CARGO_TARGET_DIR", &self.target);
        let binary = wharf::build_with(&mut build).context("it does not build")?;
        let mut test = wharf::cargo();
        test.arg("test")
            .args(&target.arguments)
            .current_dir(&self.sources)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("WHARF_BIN", binary);
        let mut compile = wharf::cargo();
        compile
            .args(test.get_args())
            .arg("--no-run")
            .current_dir(&self.sources)
            .env("CARGO_TARGET_DIR", &self.target);
        command::output(&mut compile, PATIENCE).context("the test does not build")?;
        test.args(["--", "--exact", &target.path]);
        let output = command::finish(&mut test, PATIENCE)?;
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(
            said.contains("running 1 test\n"),
            "not exactly one test ran:\n{}",
            command::tail(&said, 20)
        );
        if output.status.success() {
            return Ok(Outcome::Passed);
        }
        ensure!(
            output.stdout.contains("0 passed; 1 failed"),
            "the test came to no end:\n{}",
            command::tail(&said, 20)
        );
        Ok(Outcome::Fell(first_line(&output.stdout)))
    }
}

/// What a failed test said first: its error, or its panic.
fn first_line(said: &str) -> String {
    let mut lines = said.lines();
    let line = lines.find_map(|line| {
        let panicked = line.starts_with("thread '") && line.contains("panicked at");
        line.strip_prefix("Error: ")
            .map(|line| Some(line.to_owned()))
            .or_else(|| panicked.then_some(None))
    });
    let line = match line {
        Some(Some(line)) => line,
        Some(None) => lines.next().unwrap_or_default().to_owned(),
        None => "failed without a word".to_owned(),
    };
    line.chars().take(160).collect()
}
