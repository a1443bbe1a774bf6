//! What keeps a registry's images in its cluster.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::names::{CLAIM, NAMESPACE};

/// What keeps the images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Storage {
    /// A directory: of this machine, in a cluster that wharf made; of one node, in one that somebody else made.
    #[default]
    Host,
    /// A volume of the cluster's, by a claim.
    Pvc,
    /// The registry's pod alone.
    EmptyDir,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This directory.
    Host(PathBuf),
    /// A volume of the cluster's.
    Pvc,
    /// The registry's pod alone.
    EmptyDir,
}

impl Storage {
    /// Where the images are, as the end of a sentence; `data` is the directory, where they are in one.
    pub(crate) fn place(self, data: &Path) -> String {
        match self {
            Self::Host => data.display().to_string(),
            Self::Pvc => format!("a volume of the cluster's (claim {NAMESPACE}/{CLAIM})"),
            Self::EmptyDir => "the registry's pod alone, lost with it".to_owned(),
        }
    }
}

impl Wanted {
    /// What kind it is.
    pub(crate) fn storage(&self) -> Storage {
        match self {
            Self::Host(_) => Storage::Host,
            Self::Pvc => Storage::Pvc,
            Self::EmptyDir => Storage::EmptyDir,
        }
    }

    /// The directory, where one is meant.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Host(directory) => Some(directory),
            Self::Pvc | Self::EmptyDir => None,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(directory) => write!(f, "host:{}", directory.display()),
            Self::Pvc => f.write_str("pvc"),
            Self::EmptyDir => f.write_str("emptydir"),
        }
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("host:")) {
            ("pvc", _) => Ok(Self::Pvc),
            ("emptydir", _) => Ok(Self::EmptyDir),
            (_, Some(directory)) if !directory.is_empty() => Ok(Self::Host(directory.into())),
            _ => Err("images are kept in host:DIR, pvc or emptydir".to_owned()),
        }
    }
}

/// Reads a [`Wanted`], and tells shells what there is to complete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WantedParser;

impl TypedValueParser for WantedParser {
    type Value = Wanted;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Wanted, clap::Error> {
        value.to_string_lossy().parse().map_err(|problem| {
            let argument = argument.map(ToString::to_string).unwrap_or_default();
            let value = value.to_string_lossy();
            let message = format!("invalid value '{value}' for '{argument}': {problem}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = ["host:", "pvc", "emptydir"].map(PossibleValue::new);
        Some(Box::new(values.into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked_for() {
        for good in ["host:/srv/images", "host:images", "pvc", "emptydir"] {
            assert_eq!(good.parse::<Wanted>().unwrap().to_string(), good);
        }
        for bad in ["", "host", "host:", "/srv", "PVC", "emptyDir", "pvc:20Gi"] {
            assert!(bad.parse::<Wanted>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_remembered_is_what_is_asked_for() {
        for (storage, word) in [
            (Storage::Host, "\"host\""),
            (Storage::Pvc, "\"pvc\""),
            (Storage::EmptyDir, "\"emptydir\""),
        ] {
            assert_eq!(serde_json::to_string(&storage).unwrap(), word);
        }
    }
}
