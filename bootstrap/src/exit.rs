//! Exit codes: the one place that knows which number says what.

use std::fmt;
use std::process::ExitCode;

/// How a command ended, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Something failed that no other code describes.
    Failure = 1,
    /// It was typed wrong.
    Usage = 2,
    /// Something that the machine must have is missing: an engine, a program, a permission.
    Prerequisite = 3,
    /// What was asked about does not exist.
    NotFound = 5,
    /// Something that belongs to somebody else is in the way.
    Conflict = 6,
    /// It exists and does not work as it should.
    Unhealthy = 7,
    /// It did not come true within `--wait`.
    Timeout = 124,
    /// The user, or the system, asked to stop.
    Interrupted = 130,
}

impl Code {
    /// An error that ends the program with this code, wherever on its way up it gets more context.
    pub(crate) fn error(self, message: impl Into<String>) -> anyhow::Error {
        Fault {
            code: self,
            message: message.into(),
        }
        .into()
    }

    /// The code that another run of this program ended with.
    pub(crate) fn of_program(code: Option<i32>) -> Self {
        let all = [
            Self::Usage,
            Self::Prerequisite,
            Self::NotFound,
            Self::Conflict,
            Self::Unhealthy,
            Self::Timeout,
            Self::Interrupted,
        ];
        let found = all
            .into_iter()
            .find(|known| Some(i32::from(*known as u8)) == code);
        found.unwrap_or(Self::Failure)
    }

    /// The code that an error carries; a plain failure where it carries none.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error
            .downcast_ref::<Fault>()
            .map_or(Self::Failure, |fault| fault.code)
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// An error with an exit code of its own.
#[derive(Debug)]
struct Fault {
    code: Code,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_code_survives_context() {
        let failed: anyhow::Result<()> = Err(Code::Conflict.error("port taken"));
        let error = failed
            .context("creating the cluster")
            .context("up")
            .unwrap_err();
        assert_eq!(Code::of(&error), Code::Conflict);
        assert_eq!(Code::of(&anyhow::anyhow!("plain")), Code::Failure);
    }
}
