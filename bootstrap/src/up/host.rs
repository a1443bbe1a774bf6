//! The host's side: what answers at the published port, and is it ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::health::{self, Health};
use crate::port;

const PATIENCE: Duration = Duration::from_secs(5);

/// What one family of localhost leads to.
#[derive(Debug)]
pub(crate) struct Face {
    /// The address.
    pub(crate) address: SocketAddr,
    /// What answered there.
    pub(crate) answer: anyhow::Result<Health>,
}

/// Asks both families of localhost, where the host has both.
pub(crate) async fn ask_host(port: u16) -> Vec<Face> {
    let mut loopbacks = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    if port::has_ipv6() {
        loopbacks.push(Ipv6Addr::LOCALHOST.into());
    }
    let ask = |ip| async move {
        let address = SocketAddr::new(ip, port);
        Face {
            address,
            answer: health::ask(address, PATIENCE).await,
        }
    };
    futures_util::future::join_all(loopbacks.into_iter().map(ask)).await
}

/// What is wrong with a family, if anything is: the registry of the cluster must answer, and no other.
pub(crate) fn describe(face: &Face, expected: Option<&Health>) -> Result<(), String> {
    match (&face.answer, expected) {
        (Err(error), _) => Err(format!("{}: {error:#}", face.address)),
        (Ok(health), Some(expected)) if health.instance != expected.instance => Err(format!(
            "{}: another registry answers (instance {}, not {}): something else has this port",
            face.address, health.instance, expected.instance
        )),
        (Ok(_), _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(instance: &str) -> Health {
        Health {
            status: "ok".into(),
            instance: instance.into(),
            version: "1".into(),
        }
    }

    #[test]
    fn another_registry_on_one_family_is_noticed() {
        let face = Face {
            address: "[::1]:5000".parse().unwrap(),
            answer: Ok(health("theirs")),
        };
        let problem = describe(&face, Some(&health("ours"))).unwrap_err();
        assert!(
            problem.contains("[::1]:5000") && problem.contains("another registry"),
            "{problem}"
        );
        assert_eq!(describe(&face, Some(&health("theirs"))), Ok(()));
        assert_eq!(describe(&face, None), Ok(()));
    }
}
