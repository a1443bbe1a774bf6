//! The forward that `wharf up` keeps for an environment: from its port of localhost to its registry.

use super::background::{end, launch};
use super::record::Files;
use super::words::Named;
use crate::exit::Code;
use crate::kube::Target;

/// How long a new connection is held while the registry restarts, as `wharf forward` has it.
const HOLD: &str = "30s";

/// The forward of an environment.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    context: String,
    port: u16,
}

/// How it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, as it should.
    Runs,
    /// It runs from other ports.
    Elsewhere(Vec<u16>),
    /// It does not run.
    Missing,
}

impl Kept {
    /// The forward of the environment in this context's cluster that has this port.
    pub(crate) fn of(context: String, port: u16) -> Self {
        Self { context, port }
    }

    fn target() -> anyhow::Result<Target> {
        Ok(Named::read(None, None)?.within(""))
    }

    fn files(&self) -> anyhow::Result<Files> {
        Files::of(&self.context, &Self::target()?)
    }

    /// Looks at it, and changes nothing.
    pub(crate) fn state(&self) -> anyhow::Result<State> {
        let files = self.files()?;
        let Some(record) = files.read() else {
            return Ok(State::Missing);
        };
        if files.hold()?.is_some() {
            // Of one that was killed.
            return Ok(State::Missing);
        }
        let ports: Vec<u16> = record.ports.iter().map(|port| port.port).collect();
        Ok(match ports.contains(&self.port) {
            true => State::Runs,
            false => State::Elsewhere(ports),
        })
    }

    /// Whether it runs as it should.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.state(), Ok(State::Runs))
    }

    /// What is wrong with it, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.state() {
            Ok(State::Runs) => Ok(()),
            Ok(State::Missing) => Err("it does not run: `wharf up` starts it".to_owned()),
            Ok(State::Elsewhere(ports)) => Err(self.explain(&ports)),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// Starts it, unless it runs as it should.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        match self.state()? {
            State::Runs => return Ok(()),
            State::Elsewhere(ports) => return Err(Code::Conflict.error(self.explain(&ports))),
            State::Missing => {}
        }
        let port = self.port.to_string();
        crate::port::require_free(self.port, None).await?;
        launch(&self.context, &Self::target()?, HOLD, &[port]).await?;
        Ok(())
    }

    /// Ends it, whatever port it has. One that does not run is ended already.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        end(&self.files()?).await
    }

    fn explain(&self, ports: &[u16]) -> String {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        format!(
            "this registry is forwarded from port {} already, not from {}: end that with `wharf forward stop --context {}`",
            ports.join(", "),
            self.port,
            self.context
        )
    }
}
