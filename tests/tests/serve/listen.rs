//! Where it listens, and how it says so.

use anyhow::{Result, ensure};
use rustix::process::Signal;
use wharf_tests::command;
use wharf_tests::wharf::Server;

use crate::{PATIENCE, Started, fails, get, wharf_serve};

#[test]
fn the_ready_file_names_all_addresses_for_as_long_as_they_serve() -> Result<()> {
    let mut server = Started::new(|command, folder| {
        command.args(["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
        command.arg("--data").arg(folder.join("data"));
        command.arg("--ready-file").arg(folder.join("ready"));
    })?;
    let addresses = server.ready()?;
    assert_eq!(addresses.len(), 2);
    assert_ne!(addresses[0], addresses[1]);
    for address in addresses {
        // At once: that is what the file promises.
        assert_eq!(get(address, "/v2/")?.status, 200);
    }
    server.signal(Signal::TERM)?;
    server.ends_well()?;
    ensure!(
        !server.path("ready").exists(),
        "the ready file is still there"
    );
    Ok(())
}

#[test]
fn every_flag_may_come_from_the_environment_and_the_command_line_wins() -> Result<()> {
    let mut server = Started::new(|command, folder| {
        command.env("WHARF_LISTEN", "127.0.0.1:0,127.0.0.1:0");
        command.env("WHARF_DATA", folder.join("from environment"));
        command.env("WHARF_READY_FILE", folder.join("ready"));
        command.env("WHARF_LOCK_WAIT", "1");
    })?;
    assert_eq!(server.ready()?.len(), 2);
    ensure!(server.path("from environment").join("catalog.db").exists());

    let mut server = Started::new(|command, folder| {
        command.env("WHARF_LISTEN", "127.0.0.1:0,127.0.0.1:0");
        command.env("WHARF_DATA", folder.join("from environment"));
        command.env("WHARF_READY_FILE", folder.join("unready"));
        command.args(["--listen", "127.0.0.1:0"]);
        command.arg("--data").arg(folder.join("data"));
        command.arg("--ready-file").arg(folder.join("ready"));
    })?;
    assert_eq!(server.ready()?.len(), 1);
    ensure!(server.path("data").join("catalog.db").exists());
    ensure!(!server.path("from environment").exists() && !server.path("unready").exists());

    let output = fails(wharf_serve()?.env("WHARF_LOCK_WAIT", "soon"))?;
    ensure!(output.stderr.contains("--lock-wait"), "{}", output.stderr);
    Ok(())
}

#[test]
fn it_listens_on_loopback_of_both_families_unless_told_otherwise() -> Result<()> {
    // Read, not tried: the port may be somebody's, and then this test would be about that.
    let help = command::output(wharf_serve()?.arg("--help"), PATIENCE)?;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        help.contains("127.0.0.1:5000") && help.contains("[::1]:5000"),
        "{help}"
    );
    Ok(())
}

#[test]
fn an_ipv6_address_that_the_machine_has_not_is_left_out() -> Result<()> {
    // From the range for documentation, which no machine has.
    let missing = "[2001:db8::1]:0";
    let server = Server::start_with(["--listen", missing])?;
    assert_eq!(server.addresses().len(), 1);
    assert_eq!(get(server.address(), "/v2/")?.status, 200);
    // Alone, it is all that was asked for.
    let folder = tempfile::tempdir()?;
    let output = fails(
        wharf_serve()?
            .args(["--listen", missing, "--data"])
            .arg(folder.path().join("data")),
    )?;
    ensure!(output.stderr.contains("[2001:db8::1]"), "{}", output.stderr);
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_named() -> Result<()> {
    let server = Server::start()?;
    let folder = tempfile::tempdir()?;
    let taken = server.address().to_string();
    // The one that is free is not served either: half a server would be found out much later.
    let output = fails(
        wharf_serve()?
            .args([
                "--listen",
                "127.0.0.1:0",
                "--listen",
                &taken,
                "--ready-file",
            ])
            .arg(folder.path().join("ready"))
            .arg("--data")
            .arg(folder.path().join("data")),
    )?;
    ensure!(output.stderr.contains(&taken), "{}", output.stderr);
    ensure!(!folder.path().join("ready").exists());
    Ok(())
}

#[test]
fn the_first_words_say_where_it_is_and_what_to_type() -> Result<()> {
    let server = Server::start()?;
    let port = server.address().port();
    let log = server.log();
    for part in [
        format!("wharf {}", env!("CARGO_PKG_VERSION")),
        format!("http://127.0.0.1:{port}"),
        server.data().display().to_string(),
        format!("docker push localhost:{port}/"),
    ] {
        ensure!(log.contains(&part), "{part:?} is missing in {log}");
    }
    Ok(())
}
