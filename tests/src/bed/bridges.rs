//! Bridges that an engine of ours left when its data went away without it, and the packet filter's rules for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Bed, engine};
use crate::command::{self, say};

const PATIENCE: Duration = Duration::from_secs(20);

/// Removes what no network of the engine needs. kind's network has the same addresses every time: the host would look for the new
/// cluster behind the old bridge; and by the old rules, what comes from those addresses and leaves by any other bridge seems to come from
/// the host, which may do more than its neighbours.
///
/// The engine may remove a network meanwhile, and what belongs to it: then there is nothing left to remove here, and that is no error.
///
/// # Errors
/// The engine does not say what networks it has, or a program does not end.
pub(super) fn remove_orphans(bed: &Bed) -> Result<()> {
    if !engine::is_ours(bed) {
        return Ok(());
    }
    // The networks last: one that is made meanwhile is among them.
    let (bridges, rules) = (unused_bridges()?, rules());
    let arguments = ["network", "ls", "--quiet", "--no-trunc"];
    let networks = command::output(bed.command("docker").args(arguments), PATIENCE)?;
    for bridge in bridges.iter().filter(|name| is_orphan(name, &networks)) {
        say(&format!(
            "bed: removing {bridge}, a bridge that no network of the engine has"
        ));
        command::finish(
            Command::new("ip").args(["link", "delete", bridge]),
            PATIENCE,
        )?;
    }
    for Rule { tables, words } in rules {
        let of_orphan = |word: &String| is_orphan(word, &networks) && !interface(word).exists();
        if let Some(bridge) = words.iter().find(|word| of_orphan(word)) {
            say(&format!("bed: removing a rule for {bridge}, which is gone"));
            let [program, table] = tables;
            let delete = ["--wait", "--table", table, "--delete"];
            command::finish(Command::new(program).args(delete).args(&words), PATIENCE)?;
        }
    }
    Ok(())
}

/// A rule of the packet filter: the program and the table that have it, its chain and what it says.
struct Rule {
    tables: [&'static str; 2],
    words: Vec<String>,
}

/// The rules of the tables that Docker uses, as far as this machine has them.
fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for program in ["iptables", "ip6tables"] {
        for table in ["filter", "nat"] {
            let list = ["--wait", "--table", table, "--list-rules"];
            let list = command::output(Command::new(program).args(list), PATIENCE);
            rules.extend(list.unwrap_or_default().lines().filter_map(|line| {
                let words = line.strip_prefix("-A ")?.split(' ').map(str::to_owned);
                Some(Rule {
                    tables: [program, table],
                    words: words.collect(),
                })
            }));
        }
    }
    rules
}

/// The bridges with nothing attached to them.
fn unused_bridges() -> Result<Vec<String>> {
    let mut bridges = Vec::new();
    for entry in std::fs::read_dir(interface(""))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Ok(mut attached) = std::fs::read_dir(interface(&name).join("brif"))
            && attached.next().is_none()
        {
            bridges.push(name);
        }
    }
    Ok(bridges)
}

fn interface(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

/// Whether it is a bridge's name as Docker gives them, `br-` and the beginning of the network's id, and no network has it.
fn is_orphan(name: &str, networks: &str) -> bool {
    let Some(id) = name.strip_prefix("br-") else {
        return false;
    };
    let is_dockers = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_dockers && !networks.lines().any(|network| network.starts_with(id))
}

#[cfg(test)]
mod tests {
    use super::is_orphan;

    #[test]
    fn a_bridge_without_a_network_is_an_orphan() {
        let networks = "b41bd1f37c3e0011\nc75d5fba1f740022\n";
        assert!(is_orphan("br-6ce2db6c231b", networks));
        for other in [
            "br-b41bd1f37c3e",
            "br-lan",
            "br-mybridge1234",
            "docker0",
            "MASQUERADE",
        ] {
            assert!(!is_orphan(other, networks), "{other}");
        }
    }
}
