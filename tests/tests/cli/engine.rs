//! A machine without an engine, without the programs, or without the permission.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use wharf_tests::command;
use wharf_tests::wharf;

use crate::{COMMANDS, PATIENCE, refused, said};

/// Nobody's user and group, on every Linux.
const NOBODY: u32 = 65534;

/// A machine on which nothing is installed, as far as `wharf` can see.
pub(crate) struct Nowhere {
    folder: TempDir,
}

impl Nowhere {
    /// With these programs on PATH. They do nothing: nobody is to come as far as to run them.
    pub(crate) fn with(programs: &[&str]) -> Result<Self> {
        let nowhere = Self {
            folder: tempfile::tempdir()?,
        };
        std::fs::create_dir(nowhere.path("bin"))?;
        for program in programs {
            let file = File::create(nowhere.path("bin").join(program))?;
            file.set_permissions(PermissionsExt::from_mode(0o755))?;
        }
        Ok(nowhere)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"));
        command.current_dir("/");
        command
    }

    pub(crate) fn wharf(&self) -> Result<Command> {
        Ok(self.command(&wharf::binary()?))
    }
}

#[test]
fn it_says_what_it_can_do() -> Result<()> {
    let nowhere = Nowhere::with(&[])?;
    let help = said(nowhere.wharf()?.arg("--help"))?;
    for command in COMMANDS.iter().chain(&["serve", "version", "completion"]) {
        ensure!(
            help.lines()
                .any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "no {command} in\n{help}"
        );
        said(nowhere.wharf()?.args([command, "--help"]))?;
    }
    for flag in ["--nodes", "--port", "--data", "--dry-run", "WHARF_PORT"] {
        ensure!(
            said(nowhere.wharf()?.args(["up", "--help"]))?.contains(flag),
            "no {flag}"
        );
    }
    let version = said(nowhere.wharf()?.arg("version"))?;
    let number = version
        .trim_end()
        .strip_prefix("wharf ")
        .context(version.clone())?;
    ensure!(number.split('.').count() == 3, "{version}");
    ensure!(
        said(nowhere.wharf()?.arg("--version"))? == version,
        "two versions"
    );
    let wrong = command::finish(nowhere.wharf()?.args(["up", "--port", "70000"]), PATIENCE)?;
    ensure!(
        wrong.status.code() == Some(2) && wrong.stderr.contains("--port"),
        "{wrong:?}"
    );
    Ok(())
}

#[test]
fn without_kind() -> Result<()> {
    let nowhere = Nowhere::with(&["docker"])?;
    for what in COMMANDS {
        let said = refused(nowhere.wharf()?.arg(what), 3)?;
        ensure!(
            said.contains("kind is not on PATH") && said.contains("kind@v0"),
            "{what}: {said}"
        );
    }
    Ok(())
}

#[test]
fn without_docker() -> Result<()> {
    let nowhere = Nowhere::with(&["kind"])?;
    for what in COMMANDS {
        let said = refused(nowhere.wharf()?.arg(what), 3)?;
        ensure!(
            said.contains("docker is not on PATH") && said.contains("https://docs.docker.com"),
            "{what}: {said}"
        );
    }
    Ok(())
}

#[test]
fn docker_does_not_run() -> Result<()> {
    let nowhere = Nowhere::with(&["docker", "kind"])?;
    // Nothing is there, or nobody listens any more.
    let left = nowhere.path("left.sock");
    drop(UnixListener::bind(&left)?);
    for socket in [Path::new("/nonexistent"), &left] {
        let host = format!("unix://{}", socket.display());
        for what in COMMANDS {
            let said = refused(nowhere.wharf()?.arg(what).env("DOCKER_HOST", &host), 3)?;
            ensure!(
                said.contains(&host) && said.contains("start it") && said.contains("DOCKER_HOST"),
                "{what}: {said}"
            );
        }
    }
    Ok(())
}

/// Root may use every socket, so it becomes somebody who may not.
#[test]
fn no_permission_to_use_docker() -> Result<()> {
    let nowhere = Nowhere::with(&["docker", "kind"])?;
    let folder = nowhere.folder.path();
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    let socket = nowhere.path("docker.sock");
    let _engine = UnixListener::bind(&socket)?;
    let is_root = rustix::process::geteuid().is_root();
    // The owner of a socket is asked for permission like everybody else.
    let mode = if is_root { 0o600 } else { 0o000 };
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(mode))?;
    // Nobody can look into the folder that the program was built in.
    let program = nowhere.path("wharf");
    std::fs::copy(wharf::binary()?, &program)?;
    std::fs::create_dir(nowhere.path("home"))?;
    if is_root {
        chown(nowhere.path("home"), Some(NOBODY), Some(NOBODY))?;
    }
    for what in COMMANDS {
        let mut command = nowhere.command(&program);
        command
            .arg(what)
            .env("DOCKER_HOST", format!("unix://{}", socket.display()));
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let said = refused(&mut command, 3)?;
        ensure!(
            said.contains("no permission")
                && said.contains("sudo usermod -aG docker $USER")
                && said.contains(&socket.display().to_string()),
            "{what}: {said}"
        );
    }
    Ok(())
}
