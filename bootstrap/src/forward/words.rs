//! What is to be forwarded, from the words that were typed.

use anyhow::bail;

use crate::exit::Code;
use crate::kube::{Kind, Port, Target};
use crate::names::{NAMESPACE, REGISTRY, SERVICE_PORT};

/// What somebody wants to have here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// Where to.
    pub(super) target: Named,
    /// The ports. None: the registry's own.
    pub(super) ports: Vec<Pair>,
}

/// A target whose namespace may be the context's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    kind: Kind,
    namespace: Option<String>,
    name: String,
}

/// A port here and a port there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    /// Here; 0 for any that is free.
    pub(super) here: u16,
    /// There.
    pub(super) there: Port,
}

impl Wish {
    /// Reads `[TARGET] [PORTS]...`.
    pub(super) fn read(words: &[String], namespace: Option<&str>) -> anyhow::Result<Self> {
        let (target, ports) = match words.split_first() {
            Some((first, rest)) if !is_ports(first) => (Some(first.as_str()), rest),
            _ => (None, words),
        };
        let target = Named::read(target, namespace)?;
        let ports = ports
            .iter()
            .map(|word| Pair::read(word, &target))
            .collect::<anyhow::Result<Vec<_>>>()?;
        if ports.is_empty() && !target.is_registry() {
            return Err(usage(format!(
                "which port of {}? As in `wharf forward {} 8080:80`",
                target.name, target.name
            )));
        }
        Ok(Self { target, ports })
    }
}

impl Named {
    /// Reads a target: `app`, `service/app`, `pod/app-0`; without one, the registry.
    pub(super) fn read(word: Option<&str>, namespace: Option<&str>) -> anyhow::Result<Self> {
        let Some(word) = word else {
            return Ok(Self {
                kind: Kind::Service,
                namespace: Some(NAMESPACE.to_owned()),
                name: REGISTRY.to_owned(),
            });
        };
        let (kind, name) = match word.split_once('/') {
            None => (Kind::Service, word),
            Some(("service" | "services" | "svc", name)) => (Kind::Service, name),
            Some(("pod" | "pods" | "po", name)) => (Kind::Pod, name),
            Some((kind, _)) => {
                return Err(usage(format!(
                    "{kind} cannot be forwarded to: name a Service or a pod, as in app or pod/app-0"
                )));
            }
        };
        let is_name =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > 253 || !name.chars().all(is_name) {
            return Err(usage(format!("{word} is no name of a Service or a pod")));
        }
        Ok(Self {
            kind,
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// Whether it is wharf's registry.
    pub(super) fn is_registry(&self) -> bool {
        self.kind == Kind::Service
            && self.name == REGISTRY
            && self.namespace.as_deref() == Some(NAMESPACE)
    }

    /// The target, in the context whose own namespace this is.
    pub(super) fn within(self, namespace: &str) -> Target {
        Target {
            kind: self.kind,
            namespace: self.namespace.unwrap_or_else(|| namespace.to_owned()),
            name: self.name,
        }
    }
}

impl Pair {
    fn read(word: &str, target: &Named) -> anyhow::Result<Self> {
        let bad = || usage(format!("{word} is no port: write 8080:80, 8080 or :80"));
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let Some((here, there)) = word.split_once(':') else {
            let here = number(word).ok_or_else(bad)?;
            let there = match target.is_registry() {
                true => Port::Number(SERVICE_PORT),
                false => Port::Only(here),
            };
            return Ok(Self { here, there });
        };
        let here = match here {
            "" | "0" => 0,
            _ => number(here).ok_or_else(bad)?,
        };
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let there = match number(there) {
            Some(number) => Port::Number(number),
            // Kubernetes wants a letter in every name of a port.
            None if there.chars().all(is_name)
                && there.contains(|c: char| c.is_ascii_lowercase()) =>
            {
                Port::Name(there.to_owned())
            }
            None => bail!(bad()),
        };
        Ok(Self { here, there })
    }
}

/// Whether a word is about ports: no name of a Service begins with a digit.
fn is_ports(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit() || c == ':')
}

fn usage(message: String) -> anyhow::Error {
    Code::Usage.error(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> anyhow::Result<Wish> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Wish::read(&words, None)
    }

    #[test]
    fn the_registry_is_meant_where_nothing_is_named() {
        let wish = read(&[]).unwrap();
        assert!(wish.target.is_registry() && wish.ports.is_empty());
        let wish = read(&["5001"]).unwrap();
        let pair = Pair {
            here: 5001,
            there: Port::Number(5000),
        };
        assert!(wish.target.is_registry());
        assert_eq!(wish.ports, [pair]);
    }

    #[test]
    fn services_pods_and_their_ports() {
        let wish = read(&["app", "8080:80", ":http", "9090"]).unwrap();
        let target = wish.target.within("team");
        assert_eq!(target.to_string(), "service team/app");
        let pair = |here, there| Pair { here, there };
        assert_eq!(
            wish.ports,
            [
                pair(8080, Port::Number(80)),
                pair(0, Port::Name("http".into())),
                pair(9090, Port::Only(9090)),
            ]
        );
        let pod = read(&["pod/app-0", "8080"]).unwrap();
        assert_eq!(pod.target.within("team").to_string(), "pod team/app-0");
    }

    #[test]
    fn what_is_no_target_and_no_port() {
        for bad in [
            &["app"][..],
            &["app", "0"],
            &["app", "8080:"],
            &["app", "99999"],
            &["app", "80:80:80"],
            &["node/a", "80"],
            &["../app", "80"],
            &["svc/", "80"],
        ] {
            assert_eq!(Code::of(&read(bad).unwrap_err()), Code::Usage, "{bad:?}");
        }
    }
}
