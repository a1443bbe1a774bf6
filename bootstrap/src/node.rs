//! `wharf node`: what is done on a node, in a pod, where nobody can run programs on the nodes from outside.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::{data, hosts, output};

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Make a directory ready for a registry's images, or refuse it
    Prepare(PrepareArgs),
    /// Remove what wharf has left on this node
    Leave(LeaveArgs),
}

/// Arguments of `wharf node prepare`.
#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    /// The directory, where this pod has it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Who is to own it: user and group. Without, it is only looked at: it is a volume's, which may have things of its own
    #[arg(long, value_name = "USER:GROUP", value_parser = owner)]
    owner: Option<(u32, u32)>,
}

/// Arguments of `wharf node leave`.
#[derive(Debug, Args)]
pub(crate) struct LeaveArgs {
    /// The port that the registry had on localhost
    #[arg(long)]
    port: u16,
    /// Where containerd looks for what localhost:PORT is
    #[arg(long, value_name = "DIR")]
    hosts: PathBuf,
    /// The directory with the images, if they are to go as well
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs `wharf node`.
pub(crate) fn run(command: &NodeCommand) -> anyhow::Result<ExitCode> {
    match command {
        NodeCommand::Prepare(args) => prepare(args)?,
        NodeCommand::Leave(args) => leave(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn prepare(args: &PrepareArgs) -> anyhow::Result<()> {
    let Some((user, group)) = args.owner else {
        return data::require_local(&args.data);
    };
    let path = data::prepare(&args.data)?;
    if data::owner(&path)? != (user, group) {
        #[cfg(unix)]
        std::os::unix::fs::chown(&path, Some(user), Some(group))
            .with_context(|| format!("giving {} to user {user}", path.display()))?;
    }
    Ok(())
}

fn leave(args: &LeaveArgs) -> anyhow::Result<()> {
    let is_gone = hosts::forget(&args.hosts, args.port)
        .with_context(|| format!("removing wharf's file below {}", args.hosts.display()))?;
    if !is_gone {
        output::note("somebody else's hosts.toml stays");
    }
    match &args.data {
        Some(directory) => data::purge(directory),
        None => Ok(()),
    }
}

fn owner(text: &str) -> Result<(u32, u32), String> {
    let numbers = text.split_once(':').and_then(|(user, group)| {
        let (user, group) = (user.parse().ok()?, group.parse().ok()?);
        Some((user, group))
    });
    numbers.ok_or_else(|| "user and group are numbers, as in 65532:65532".to_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_on_a_node_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (hosts, data) = (
            directory.path().join("certs.d"),
            directory.path().join("images"),
        );
        hosts::write(&hosts, 5055).unwrap();
        let own = std::fs::metadata(directory.path()).unwrap();
        let owner = {
            use std::os::unix::fs::MetadataExt;
            (own.uid(), own.gid())
        };
        prepare(&PrepareArgs {
            data: data.clone(),
            owner: Some(owner),
        })
        .unwrap();
        std::fs::write(data.join("wharf.lock"), "").unwrap();
        let left = LeaveArgs {
            port: 5055,
            hosts: hosts.clone(),
            data: Some(data.clone()),
        };
        leave(&left).unwrap();
        leave(&left).unwrap();
        assert!(!data.exists());
        assert_eq!(std::fs::read_dir(&hosts).unwrap().count(), 0);
    }

    #[test]
    fn owners() {
        assert_eq!(owner("65532:100"), Ok((65532, 100)));
        for bad in ["", "65532", "a:b", "-1:0"] {
            assert!(owner(bad).is_err(), "{bad}");
        }
    }
}
