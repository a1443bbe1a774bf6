//! `wharf.toml`, the environment file of a project: what else would have to be said on every command line in its folder.
//!
//! A key is the name of a flag of `wharf up`, and its value is that flag's default, for `up` and for every other command
//! that has the flag: what is typed, or stands in a `WHARF_*` variable, counts more. The file of the current folder is
//! meant, or that of the nearest folder above it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches};
use toml::{Table, Value};

use crate::cli::{Cli, Command};
use crate::exit::Code;
use crate::output;

/// The file's name, where nobody says another.
const FILE: &str = "wharf.toml";
/// What it may say.
const KEYS: [&str; 13] = [
    "name",
    "provider",
    "context",
    "nodes",
    "port",
    "data",
    "storage",
    "adopt",
    "kubernetes-image",
    "node-binary",
    "image",
    "wait",
    "arguments",
];
/// Those that are paths, and what stands before one: from the file's folder on, wherever the command is typed.
const PATHS: [(&str, &str); 3] = [("data", ""), ("node-binary", ""), ("storage", "host:")];

/// Reads the command line, with the environment file's values where nothing else was said.
pub(crate) fn parse() -> anyhow::Result<Cli> {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let Some(named) = cli.command.environment_file() else {
        return Ok(cli);
    };
    let Some(file) = find(named)? else {
        return Ok(cli);
    };
    let defaults = read(&file)?;
    // The same words were fine without the file, so what is wrong now is the file's.
    let read_again = with_defaults(Cli::command(), &defaults)
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = read_again.map_err(|error| wrong(&file, &cause(&error)))?;
    if matches!(cli.command, Command::Up(_) | Command::Down(_)) {
        output::note(&format!("Using {}.", file.display()));
    }
    Ok(cli)
}

/// The file that was named, or else the nearest one.
fn find(named: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(named) = named {
        return Ok(Some(std::path::absolute(named)?));
    }
    // In a folder that is gone there is no file.
    let Ok(here) = std::env::current_dir() else {
        return Ok(None);
    };
    let mut files = here.ancestors().map(|folder| folder.join(FILE));
    Ok(files.find(|file| file.is_file()))
}

/// The values of each key, as they would be typed.
fn read(file: &Path) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Code::Usage.error(format!("cannot read {}: {error}", file.display())))?;
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| wrong(file, error.to_string().trim_end()))?;
    let folder = file.parent().context("a file without a folder")?;
    let words = |(key, value): (String, Value)| {
        if !KEYS.contains(&key.as_str()) {
            let known = KEYS.join(", ");
            return Err(wrong(
                file,
                &format!("there is no {key}; there are {known}"),
            ));
        }
        let said = match (key.as_str(), value) {
            ("arguments", Value::Array(values)) => values.into_iter().map(word).collect(),
            ("arguments", _) => None,
            (_, value) => word(value).map(|word| vec![word]),
        };
        let Some(mut said): Option<Vec<String>> = said else {
            let form = match key.as_str() {
                "arguments" => "a list, as in arguments = [\"--memory=4g\"]",
                _ => "one string, number or boolean",
            };
            return Err(wrong(file, &format!("{key} is {form}")));
        };
        for (_, before) in PATHS.iter().filter(|(name, _)| *name == key) {
            for word in &mut said {
                if let Some(path) = word.strip_prefix(before) {
                    *word = format!("{before}{}", folder.join(path).display());
                }
            }
        }
        Ok((key.replace('-', "_"), said))
    };
    table.into_iter().map(words).collect()
}

/// A value, as it would be typed.
fn word(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(is_so) => Some(is_so.to_string()),
        _ => None,
    }
}

/// The same command line, with other defaults wherever it leads to a cluster.
fn with_defaults(mut command: clap::Command, defaults: &[(String, Vec<String>)]) -> clap::Command {
    let leads_to_cluster = command.get_arguments().any(|arg| arg.get_id() == "file");
    for (id, values) in defaults {
        if leads_to_cluster && command.get_arguments().any(|arg| arg.get_id() == id) {
            command = command.mut_arg(id, |arg| arg.default_values(values));
        }
    }
    let below: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    below.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |command| with_defaults(command, defaults))
    })
}

/// What clap has to say, without what it says of how to type.
fn cause(error: &clap::Error) -> String {
    let said = error.to_string();
    let first = said.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

fn wrong(file: &Path, what: &str) -> anyhow::Error {
    Code::Usage.error(format!("{}: {what}", file.display()))
}
