//! Keeps web pages out. A browser on the same machine reaches a server on loopback, and lets any
//! page talk to it: by a name of the page's own that resolves to 127.0.0.1 (DNS rebinding), or by a
//! plain cross-site request. Neither comes with a login that could be asked for, so both are refused
//! by what a browser cannot help saying.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, header};

/// Which host names a listener answers to.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    /// Names beside `localhost` and addresses.
    names: Arc<[String]>,
    /// Whether other names are refused.
    strict: bool,
}

impl Hosts {
    /// For a listener on `ip`. Loopback is strict from the start; elsewhere names are checked once
    /// some are configured.
    pub(super) fn new(names: Arc<[String]>, ip: IpAddr) -> Self {
        let strict = ip.is_loopback() || !names.is_empty();
        Self { names, strict }
    }

    /// An address cannot be rebound, and `localhost` is not looked up.
    fn admits(&self, authority: &Authority) -> bool {
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        !self.strict
            || address.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&host))
    }

    /// Says no to requests of browsers that were sent here by somebody else's page.
    ///
    /// # Errors
    /// A message for the client.
    pub(super) fn check(&self, request: &Request) -> Result<(), String> {
        let headers = request.headers();
        let named = match request.uri().authority() {
            Some(authority) => Some(authority.clone()),
            None => host_header(headers)?,
        };
        let Some(host) = named else {
            // HTTP/1.0 has no Host, and no browser speaks it.
            return Ok(());
        };
        if !self.admits(&host) {
            return Err(format!(
                "this registry does not answer to the name '{host}'; start it with --allow-host {} if it should",
                host.host()
            ));
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let own = origin
                .to_str()
                .ok()
                .and_then(|origin| origin.split_once("://"))
                .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()));
            if !own {
                return Err("requests from pages of other sites are refused".to_owned());
            }
        }
        let safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let cross_site = HeaderValue::from_static("cross-site");
        if !safe && headers.get("sec-fetch-site") == Some(&cross_site) {
            return Err("requests from pages of other sites are refused".to_owned());
        }
        Ok(())
    }
}

fn host_header(headers: &HeaderMap) -> Result<Option<Authority>, String> {
    let mut values = headers.get_all(header::HOST).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("a request has one Host header".to_owned());
    }
    let authority = Authority::try_from(value.as_bytes());
    authority
        .map(Some)
        .map_err(|_| "the Host header is not a host name".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str], ip: &str) -> Hosts {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Hosts::new(names.into(), ip.parse().unwrap())
    }

    #[test]
    fn loopback_answers_to_what_cannot_be_rebound() {
        let strict = hosts(&["Registry.example"], "127.0.0.1");
        for host in [
            "localhost:5000",
            "LOCALHOST",
            "127.0.0.1:5000",
            "[::1]:5000",
            "10.0.0.1",
            "a.localhost",
            "registry.example:5000",
            "registry.example.",
        ] {
            assert!(strict.admits(&host.parse().unwrap()), "{host} was refused");
        }
        for host in [
            "evil.example:5000",
            "localhost.evil.example",
            "notlocalhost",
            "1.2.3.4.evil.example",
        ] {
            assert!(
                !strict.admits(&host.parse().unwrap()),
                "{host} was admitted"
            );
        }
    }

    #[test]
    fn elsewhere_names_count_once_there_are_some() {
        let name: Authority = "anything.example".parse().unwrap();
        assert!(hosts(&[], "0.0.0.0").admits(&name));
        assert!(!hosts(&["registry"], "0.0.0.0").admits(&name));
    }
}
