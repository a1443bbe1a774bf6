//! Where the test happens: a cluster's name, a port, a data directory, and the commands that a user
//! of them types.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::bed::{Bed, Cluster};
use wharf_tests::command;
use wharf_tests::example;
use wharf_tests::http;
use wharf_tests::is_long;
use wharf_tests::localhost;
use wharf_tests::steps::Run;

/// Longer than any command takes on a busy machine, but for those that make or push something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// For what makes a cluster or moves hundreds of megabytes.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// Of the big image, in bytes that cannot be compressed: a push of it lasts. With `WHARF_LONG=1`, two gigabytes.
pub(crate) fn big() -> u64 {
    match is_long() {
        true => 2 << 30,
        false => 320 << 20,
    }
}

/// The cluster of the test, before, while and after it exists.
pub(crate) struct World {
    bed: Bed,
    pub(crate) cluster: Cluster,
    pub(crate) port: u16,
}

impl World {
    pub(crate) fn new(bed: Bed) -> Result<Self> {
        let cluster = Cluster::reserve(&bed, "whole")?;
        let port = localhost::free_port(5123..5200)?;
        Ok(Self { bed, cluster, port })
    }

    /// The data directory of this world.
    pub(crate) fn data(&self) -> PathBuf {
        self.cluster.dir().join("data")
    }

    /// The big file that the big image is made of.
    pub(crate) fn big_file(&self) -> PathBuf {
        self.cluster.dir().join("big/big")
    }

    /// An image's name, for docker on the host and for pods alike.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("localhost:{}/{name}", self.port)
    }

    /// `wharf` for this world's cluster.
    pub(crate) fn wharf(&self, arguments: &[&str]) -> Result<Command> {
        self.cluster.wharf(arguments)
    }

    /// What `wharf` says that must succeed.
    pub(crate) fn wharf_says(&self, arguments: &[&str]) -> Result<Value> {
        self.cluster.wharf_says(arguments)
    }

    /// `wharf up` as the first one is typed.
    pub(crate) fn up(&self) -> Result<Command> {
        let port = self.port.to_string();
        let mut command = self.wharf(&["up", "--nodes", "2", "--port", &port])?;
        command.arg("--data").arg(self.data());
        if let Some(image) = self.bed.node_image() {
            command.args(["--kubernetes-image", image]);
        }
        Ok(command)
    }

    /// The same, beside the test.
    pub(crate) fn start_up(&self) -> Result<Run> {
        Run::start(self.up()?, self.cluster.dir())
    }

    /// `docker`, which must succeed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.docker(arguments)
    }

    /// `kubectl` for this cluster.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> Command {
        self.cluster.kubectl_command(arguments)
    }

    /// `kubectl`, which must succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(arguments)
    }

    /// What `kubectl get` knows.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value> {
        self.cluster.get(arguments)
    }

    /// Applies an object.
    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        self.cluster.apply(object)
    }

    /// The containers that are the cluster's nodes, running or not, the control plane first.
    pub(crate) fn nodes(&self) -> Result<Vec<String>> {
        self.cluster.nodes()
    }

    /// The digest under which an image of docker's was pushed.
    pub(crate) fn pushed(&self, image: &str) -> Result<String> {
        let format = "{{range .RepoDigests}}{{println .}}{{end}}";
        let digests = self.docker(&["image", "inspect", "--format", format, image])?;
        let prefix = format!("{image}@");
        let pushed = digests.lines().find_map(|line| line.strip_prefix(&prefix));
        Ok(pushed
            .with_context(|| format!("{image} was not pushed: {digests}"))?
            .to_owned())
    }

    /// What is asked for over HTTP at `localhost`, in each family that this machine has.
    pub(crate) fn get_everywhere(&self, path: &str) -> Result<Vec<http::Answer>> {
        let ask = |ip| {
            let address = SocketAddr::new(ip, self.port);
            let mut http = http::Connection::open(address).with_context(|| address.to_string())?;
            http.send(http::Request::new("GET", path))
                .with_context(|| address.to_string())
        };
        localhost::addresses().into_iter().map(ask).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Missing where the test ended before it was made, as are the images.
        if let Ok(mut stop) = self.wharf(&["forward", "stop", "--all"]) {
            let _ = command::finish(&mut stop, PATIENCE);
        }
        for name in ["python-server", "big"] {
            let _ = self.docker(&["image", "rm", "--force", &self.image(name)]);
        }
    }
}

/// Builds the example, and an image whose push lasts.
pub(crate) fn build_images(world: &World) -> Result<()> {
    // It is also the image with a program that can open connections.
    example::build(&world.cluster, &world.image("python-server"))?;
    let file = world.big_file();
    let folder = file.parent().context("the root directory is no file")?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(
        folder.join("Dockerfile"),
        "FROM scratch\nCOPY big /big\nCMD [\"/big\"]\n",
    )?;
    std::io::copy(
        &mut File::open("/dev/urandom")?.take(big()),
        &mut File::create(&file)?,
    )?;
    world.docker(&[
        "build",
        "--tag",
        &world.image("big"),
        &folder.display().to_string(),
    ])?;
    Ok(())
}

/// Waits until something is so, and says what was not if it does not come true.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(
            Instant::now() < deadline,
            "it did not come true that {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Starts a command that runs beside the test, with all that it says in a file.
pub(crate) fn start(command: &mut Command, log: &Path) -> Result<std::process::Child> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    command
        .spawn()
        .with_context(|| format!("cannot start `{}`", command::describe(command)))
}
