//! Names to addresses, without the C library: a static program must not call its resolver (decision 001).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context;

/// The addresses of a name, of an address itself, or of `localhost`.
pub(crate) async fn resolve(name: &str) -> anyhow::Result<Vec<IpAddr>> {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    if name == "localhost" || name.ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    // It reads /etc/hosts and /etc/resolv.conf.
    let resolver =
        hickory_resolver::TokioResolver::builder_tokio().and_then(|builder| builder.build());
    let resolver = resolver.context("reading the resolver's configuration")?;
    let found = resolver
        .lookup_ip(name)
        .await
        .with_context(|| format!("resolving {name}"))?;
    Ok(found.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_and_addresses_need_no_resolver() {
        assert_eq!(resolve("localhost").await.unwrap().len(), 2);
        assert_eq!(
            resolve("[::1]").await.unwrap(),
            [IpAddr::from(Ipv6Addr::LOCALHOST)]
        );
        assert_eq!(
            resolve("192.0.2.7").await.unwrap(),
            ["192.0.2.7".parse::<IpAddr>().unwrap()]
        );
    }
}
