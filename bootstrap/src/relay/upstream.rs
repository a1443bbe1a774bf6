//! Where a relay leads to.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::resolve::resolve;

/// One attempt: an address without anybody behind it does not even refuse.
const PATIENCE: Duration = Duration::from_secs(2);

/// An address, or a name that is looked up for each connection: what has it may have another address tomorrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Upstream {
    /// An address.
    Address(SocketAddr),
    /// A name and a port.
    Name(String, u16),
}

impl Upstream {
    /// Connects, if somebody is there.
    pub(super) async fn connect(&self) -> Option<TcpStream> {
        let addresses = match self {
            Self::Address(address) => vec![*address],
            Self::Name(name, port) => {
                // As a whole name: what the machine's own domains have of that name is not meant.
                let found = timeout(PATIENCE, resolve(&format!("{name}."))).await;
                let mut found = found.ok()?.ok()?;
                found.sort();
                let with_port = |ip| SocketAddr::new(ip, *port);
                found.into_iter().map(with_port).collect()
            }
        };
        for address in addresses {
            if let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(address)).await {
                return Some(stream);
            }
        }
        None
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        text.rsplit_once(':')
            .filter(|(name, _)| !name.is_empty() && name.chars().all(is_name))
            .and_then(|(name, port)| Some(Self::Name(name.to_owned(), port.parse().ok()?)))
            .ok_or_else(|| format!("{text} is neither IP:PORT nor NAME:PORT"))
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        let parse = |text: &str| text.parse::<Upstream>();
        assert!(matches!(parse("10.96.0.7:5000"), Ok(Upstream::Address(_))));
        assert!(matches!(parse("[fd00::7]:5000"), Ok(Upstream::Address(_))));
        let name = Upstream::Name("dev-control-plane".into(), 5000);
        assert_eq!(parse("dev-control-plane:5000"), Ok(name.clone()));
        assert_eq!(name.to_string(), "dev-control-plane:5000");
        for bad in ["", "dev", ":5000", "dev:", "dev:x", "a b:1", "fd00::7:5000"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
