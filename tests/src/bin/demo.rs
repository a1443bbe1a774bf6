//! `cargo demo`: from nothing to a running pod. Sets everything up, deploys `deploy/examples/python-server` and shows it answering.
//! `cargo demo --down` deletes the cluster.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wharf_tests::bed::{Bed, NodeRuntime, Provider, Tool};
use wharf_tests::{command, wharf};

const USAGE: &str = "\
Sets up a cluster with a registry, deploys an example and shows it answering.

Usage: cargo demo [--provider kind|minikube] [--port PORT] | cargo demo --down [--purge] [--provider kind|minikube]

      --provider NAME  what makes the cluster, instead of kind
      --port PORT      the registry's port, instead of 5000
      --down           delete the cluster; its images are kept for the next time
      --purge          delete the images too";

const TEST_BED: &str = "test bed";

/// What kubectl is asked for all about the example's pods.
const DESCRIBE: [&str; 4] = [
    "describe",
    "pods",
    "-l",
    "app.kubernetes.io/name=python-server",
];

fn main() -> ExitCode {
    let (provider, choice) = match Choice::parse(std::env::args().skip(1)) {
        Ok(choice) => choice,
        Err(error) => {
            command::say(&format!("{error}\n\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    let mut demo = Demo {
        provider,
        what: String::new(),
        inspect: String::new(),
    };
    let done = match choice {
        Choice::Help => {
            command::say(USAGE);
            Ok(())
        }
        Choice::Down { purge } => demo.down(purge),
        Choice::Run { port } => demo.run(port),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            demo.tell_failure(&error);
            ExitCode::FAILURE
        }
    }
}

enum Choice {
    Run { port: u16 },
    Down { purge: bool },
    Help,
}

impl Choice {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<(Provider, Self)> {
        // `cargo demo -- --down` is what people type who know cargo; the alias has said `--` already.
        let mut arguments = arguments.filter(|argument| argument != "--");
        let (mut provider, mut port) = (Provider::Kind, None);
        let (mut down, mut purge, mut help) = (false, false, false);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--provider" => {
                    provider = match arguments.next().as_deref() {
                        Some("kind") => Provider::Kind,
                        Some("minikube") => Provider::Minikube,
                        _ => bail!("--provider is kind or minikube"),
                    };
                }
                "--port" => {
                    let number = arguments.next().and_then(|port| port.parse().ok());
                    port = Some(number.context("--port needs a number")?);
                }
                "--down" => down = true,
                "--purge" => purge = true,
                "--help" | "-h" => help = true,
                other => bail!("unknown argument `{other}`"),
            }
        }
        ensure!(!purge || down, "--purge goes with --down");
        ensure!(!down || port.is_none(), "--port does not go with --down");
        let choice = match (help, down) {
            (true, _) => Self::Help,
            (false, true) => Self::Down { purge },
            (false, false) => Self::Run {
                port: port.unwrap_or(5000),
            },
        };
        Ok((provider, choice))
    }
}

/// The demo, and where it is: the step that runs, and how to look into it if it fails.
struct Demo {
    provider: Provider,
    what: String,
    inspect: String,
}

impl Demo {
    fn run(&mut self, port: u16) -> Result<()> {
        let started = Instant::now();
        let (bed, wharf) = self.ready()?;
        let (name, context) = (self.name(), self.context());
        let settings = self.settings(&bed)?;
        let words = settings.iter().filter(|(name, _)| *name == "MINIKUBE_HOME");
        let words = words.map(|(name, value)| format!("{name}={} ", value.display()));
        let words = words.collect::<String>();
        let status = words + &bed.by_hand(&format!("{wharf} status --name {name}"));

        let mut up = bed.command(&wharf);
        up.args(["up", "--name", name, "--port", &port.to_string()]);
        up.args(["--provider", self.program()]).envs(settings);
        if self.provider == Provider::Kind
            && let Some(image) = bed.node_image()
        {
            up.args(["--kubernetes-image", image]);
        }
        if self.provider == Provider::Minikube {
            up.arg("--").args(bed.minikube_arguments());
        }
        self.logged_step(&bed, "wharf up", &status, &mut up, 900)?;

        let example = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/examples/python-server")
            .canonicalize()?;
        let image = format!("localhost:{port}/python-server");
        let mut build = bed.command("docker");
        build.args(["build", "-t", &image]).arg(&example);
        self.logged_step(
            &bed,
            &format!("docker build -t {image} deploy/examples/python-server"),
            "docker images",
            &mut build,
            600,
        )?;
        let mut push = bed.command("docker");
        push.args(["push", &image]);
        self.logged_step(
            &bed,
            &format!("docker push {image}"),
            &status,
            &mut push,
            600,
        )?;

        let kubectl = |arguments: &[&str]| {
            let mut command = bed.command("kubectl");
            command.args(["--context", &context]).args(arguments);
            command
        };
        let pods = bed.by_hand(&format!(
            "kubectl --context {context} {}",
            DESCRIBE.join(" ")
        ));
        self.step("deploy it", &pods, || {
            let pushed = pushed_digest(&bed, &image)?;
            let manifests = manifests(&bed, &example, &pushed)?;
            command::output(
                kubectl(&["apply", "--filename"]).arg(manifests),
                Duration::from_secs(60),
            )
        })?;
        self.step("wait until its pod is ready", &pods, || {
            let mut rollout = kubectl(&[
                "rollout",
                "status",
                "deployment/python-server",
                "--timeout=180s",
            ]);
            let ready = command::output(&mut rollout, Duration::from_secs(200));
            // That time passed is no reason; the pod's events, at the end of its description, say why.
            ready.map_err(|error| {
                match command::output(&mut kubectl(&DESCRIBE), Duration::from_secs(30)) {
                    Ok(pods) => anyhow::anyhow!("{error:#}\n{}", command::tail(&pods, 15)),
                    Err(_) => error,
                }
            })
        })?;
        let greeting = self.step("ask it over HTTP", &pods, || {
            // Through the API server, which asks the pod: no port of this machine is taken.
            let url = "/api/v1/namespaces/default/services/http:python-server:80/proxy/";
            command::output(
                &mut kubectl(&["get", "--raw", url]),
                Duration::from_secs(30),
            )
        })?;

        let mut out = std::io::stdout();
        writeln!(out, "\n{}\n", greeting.trim_end())?;
        command::say(&format!(
            "That was a pod, {:.0} s after the start. Change deploy/examples/python-server/server.py and run it again, or type:\n\
             \x20 kubectl --context {context} get pods\n\
             \x20 {status}\n\
             \x20 cargo demo --down{}",
            started.elapsed().as_secs_f32(),
            match self.provider {
                Provider::Kind => "",
                Provider::Minikube => " --provider minikube",
            }
        ));
        Ok(())
    }

    fn down(&mut self, purge: bool) -> Result<()> {
        let (bed, wharf) = self.ready()?;
        let mut down = bed.command(&wharf);
        down.args(["down", "--name", self.name(), "--provider", self.program()]);
        down.args(purge.then_some("--purge"))
            .envs(self.settings(&bed)?);
        self.logged_step(&bed, "wharf down", "docker ps", &mut down, 300)?;
        if !purge {
            command::say(
                "The images are kept for the next time; `cargo demo --down --purge` deletes them too.",
            );
        }
        Ok(())
    }

    fn program(&self) -> &'static str {
        match self.provider {
            Provider::Kind => "kind",
            Provider::Minikube => "minikube",
        }
    }

    /// The cluster's name: the one that `wharf up` takes when it is told none, where both are not meant to be in each other's way.
    fn name(&self) -> &'static str {
        match self.provider {
            Provider::Kind => "wharf",
            Provider::Minikube => "wharf-minikube",
        }
    }

    fn context(&self) -> String {
        match self.provider {
            Provider::Kind => format!("kind-{}", self.name()),
            Provider::Minikube => self.name().to_owned(),
        }
    }

    /// What minikube is told. Where it finds its own things, it keeps them where it always does.
    fn settings(&self, bed: &Bed) -> Result<Vec<(&'static str, OsString)>> {
        if self.provider == Provider::Kind {
            return Ok(Vec::new());
        }
        let mut settings = bed.minikube_settings(&bed.dir().join("minikube"))?;
        settings.retain(|(name, _)| {
            *name != "MINIKUBE_HOME" || bed.minikube_image(NodeRuntime::Containerd).is_some()
        });
        Ok(settings)
    }

    /// What everything begins with: the test bed, and the path of the program.
    fn ready(&mut self) -> Result<(Bed, String)> {
        let tool = match self.provider {
            Provider::Kind => Tool::Kind,
            Provider::Minikube => Tool::Minikube,
        };
        let bed = self.step(TEST_BED, "docker info", || {
            Bed::ensure_with(&[tool, Tool::Kubectl])
        })?;
        let binary = self.step(
            "build wharf",
            "cargo build --release --package wharf",
            wharf::binary,
        )?;
        Ok((bed, binary.display().to_string()))
    }

    /// A step that is one command. What it says is shown only if it fails.
    fn logged_step(
        &mut self,
        bed: &Bed,
        what: &str,
        inspect: &str,
        command: &mut Command,
        limit: u64,
    ) -> Result<()> {
        let words: Vec<_> = what.split(' ').take(2).collect();
        let log = bed
            .dir()
            .join("log")
            .join(format!("demo-{}.log", words.join("-")));
        std::fs::create_dir_all(bed.dir().join("log"))?;
        self.step(what, inspect, || {
            command::logged(command, Duration::from_secs(limit), &log)
        })
    }

    fn step<T>(
        &mut self,
        what: &str,
        inspect: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        what.clone_into(&mut self.what);
        inspect.clone_into(&mut self.inspect);
        let mut err = std::io::stderr();
        // What runs now is shown to people only, and where nothing else is: the test bed tells its own steps.
        let pending = err.is_terminal() && what != TEST_BED;
        if pending {
            write!(err, "  {what} ...")?;
            err.flush()?;
        }
        let started = Instant::now();
        let done = work();
        if pending {
            write!(err, "\r\x1b[K")?;
        }
        if done.is_ok() {
            command::say(&format!(
                "✓ {what:<78} {:>6.1} s",
                started.elapsed().as_secs_f32()
            ));
        }
        done
    }

    fn tell_failure(&self, error: &anyhow::Error) {
        command::say(&format!(
            "✗ {}\n\n{error:#}\n\nEverything is left as it is. To look into it: {}",
            self.what, self.inspect
        ));
    }
}

/// The image as the registry knows it, by digest. Its tag says nothing new when the example changed, and the node would go on with what it
/// has; a digest is also what makes a second run with nothing changed a rollout of nothing.
fn pushed_digest(bed: &Bed, image: &str) -> Result<String> {
    let format = "{{range .RepoDigests}}{{println .}}{{end}}";
    let digests = command::output(
        bed.command("docker")
            .args(["image", "inspect", "--format", format, image]),
        Duration::from_secs(30),
    )?;
    let pushed = digests
        .lines()
        .find(|line| line.starts_with(&format!("{image}@")));
    Ok(pushed
        .context("docker does not know the digest of what it pushed")?
        .to_owned())
}

/// A folder with the example's manifests, naming this image instead of the one that they name for people who apply them by hand.
fn manifests(bed: &Bed, example: &Path, image: &str) -> Result<PathBuf> {
    let folder = bed.dir().join("demo");
    std::fs::create_dir_all(&folder)?;
    for file in ["deployment.yaml", "service.yaml"] {
        let text = std::fs::read_to_string(example.join(file))?;
        let named = text.replace("localhost:5000/python-server:1.0", image);
        ensure!(
            file != "deployment.yaml" || named != text,
            "deployment.yaml no longer names localhost:5000/python-server:1.0"
        );
        std::fs::write(folder.join(file), named)?;
    }
    Ok(folder)
}
