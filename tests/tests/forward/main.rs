//! `wharf forward` against an API server of the test's own, which can do at any moment what a real one does rarely.
//! That a real one is understood, the suite `cluster` sees to.

mod api;
mod life;
mod tunnel;
mod ways;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use wharf_tests::content::Random;
use wharf_tests::{command, wharf};

use api::Api;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of nothing but an API server, and a home to forward from.
struct World {
    api: Api,
    home: TempDir,
}

impl World {
    fn new(ports: &[(u16, SocketAddr)]) -> Result<Self> {
        let (api, home) = (Api::start(ports)?, tempfile::tempdir()?);
        let world = Self { api, home };
        world.api.write_kubeconfig(&world.kubeconfig())?;
        Ok(world)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    /// `wharf forward` with this home and cluster.
    fn forward(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(wharf::binary()?);
        wharf::without_settings(&mut command)
            .env("KUBECONFIG", self.kubeconfig())
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .env("WHARF_CONTEXT", "fake")
            .env("WHARF_OUTPUT", "json")
            .arg("forward")
            .args(arguments);
        Ok(command)
    }

    /// What a command says that must succeed.
    fn says(&self, arguments: &[&str]) -> Result<Value> {
        let said = command::output(&mut self.forward(arguments)?, PATIENCE)?;
        Ok(serde_json::from_str::<Value>(&said)?["result"].take())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What is forwarded in the background would outlive the test.
        if let Ok(mut stop) = self.forward(&["stop", "--all"]) {
            let _ = command::finish(&mut stop, PATIENCE);
        }
    }
}

/// A running `wharf forward`. Killed when dropped.
struct Running {
    child: Child,
    said: Value,
}

impl Running {
    fn start(world: &World, arguments: &[&str]) -> Result<Self> {
        let mut command = world.forward(arguments)?;
        let log = std::fs::File::create(world.home.path().join("errors"))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let mut running = Self {
            child,
            said: Value::Null,
        };
        let said: Value = serde_json::from_str(&line).with_context(|| {
            std::fs::read_to_string(world.home.path().join("errors")).unwrap_or_default()
        })?;
        running.said = said["result"].clone();
        Ok(running)
    }

    /// Where one of its ports is, in each family that this machine has.
    fn addresses(&self, port: usize) -> Result<Vec<SocketAddr>> {
        addresses(&self.said, port)
    }

    /// A connection to one of its ports.
    fn connect(&self, port: usize) -> Result<TcpStream> {
        connect(self.addresses(port)?[0])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn addresses(forward: &Value, port: usize) -> Result<Vec<SocketAddr>> {
    let addresses = forward["ports"][port]["addresses"].as_array();
    let parse = |address: &Value| Ok(address.as_str().context("no text")?.parse()?);
    addresses
        .context("no addresses")?
        .iter()
        .map(parse)
        .collect()
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| address.to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A server that does one thing with each connection, until the test ends.
fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// Says back what it hears.
fn echo() -> Result<SocketAddr> {
    server(|mut stream| {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    })
}

/// Sends a line and reads it back.
fn echoes(stream: &mut TcpStream, line: &str) -> Result<()> {
    stream.write_all(line.as_bytes())?;
    let mut heard = vec![0; line.len()];
    stream.read_exact(&mut heard)?;
    ensure!(
        heard == line.as_bytes(),
        "{}",
        String::from_utf8_lossy(&heard)
    );
    Ok(())
}

/// Sends some megabytes and reads them back.
fn echoes_much(stream: &mut TcpStream) -> Result<()> {
    let bytes = Random::new(7).bytes(5 << 20);
    let mut sending = stream.try_clone()?;
    std::thread::scope(|scope| {
        // Beside the reading: whoever sent all before it reads would wait for itself.
        let sent = scope.spawn(|| sending.write_all(&bytes));
        let mut heard = vec![0; bytes.len()];
        stream.read_exact(&mut heard)?;
        ensure!(heard == bytes, "it says something else");
        Ok(sent.join().map_err(|_| anyhow::anyhow!("panicked"))??)
    })
}

/// Answers a word, but not at once.
fn slow_to_answer() -> Result<SocketAddr> {
    server(|mut stream| {
        let mut line = [0; 6];
        if stream.read_exact(&mut line).is_ok() {
            std::thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(b"answer");
        }
    })
}

/// Says all that it has to say to [`slow_to_answer`], and is answered then.
fn is_answered_after_its_end(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"please")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer == "answer", "{answer}");
    Ok(())
}

/// Sends to somebody who does not read, until nothing more is taken.
fn fill(stream: &mut TcpStream, byte: u8) -> Result<()> {
    stream.set_write_timeout(Some(Duration::from_millis(100)))?;
    let full = std::io::copy(&mut std::io::repeat(byte), stream);
    ensure!(full.is_err(), "nobody reads, and everything was sent");
    Ok(())
}
