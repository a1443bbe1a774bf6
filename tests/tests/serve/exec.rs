//! A registry for the time of one command.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use wharf_tests::{command, wharf};

const LIMIT: Duration = Duration::from_secs(60);

fn exec(arguments: &[&str]) -> Result<command::Output> {
    let mut serve = Command::new(wharf::binary()?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WHARF_") {
            serve.env_remove(name);
        }
    }
    serve.args(["serve", "--exec", "--"]).args(arguments);
    command::finish(&mut serve, LIMIT)
}

/// The registry answers while the command runs, under the name that the command is told.
#[test]
fn the_command_finds_the_registry() -> Result<()> {
    let script = r#"exec 3<>"/dev/tcp/${WHARF_REGISTRY%:*}/${WHARF_REGISTRY#*:}"
        printf 'GET /v2/ HTTP/1.0\r\n\r\n' >&3 && head -n 1 <&3"#;
    let output = exec(&["bash", "-c", script])?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(output.stdout.contains(" 200 OK"), "{output:?}");
    Ok(())
}

#[test]
fn its_exit_code_is_passed_on() -> Result<()> {
    assert_eq!(exec(&["sh", "-c", "exit 7"])?.status.code(), Some(7));
    // As a shell tells of a signal.
    assert_eq!(
        exec(&["sh", "-c", "kill -TERM $$"])?.status.code(),
        Some(143)
    );
    let missing = exec(&["no-such-program"])?;
    assert_eq!(missing.status.code(), Some(1));
    ensure!(missing.stderr.contains("no-such-program"), "{missing:?}");
    Ok(())
}
