//! The Docker Engine: the nodes of a kind cluster are its containers.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bollard::API_DEFAULT_VERSION;
use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::{
    ContainerSummary, ContainerSummaryStateEnum, ExecConfig, PortSummary, PortSummaryTypeEnum,
};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, StartContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use wharf_registry::oci::Digest;

use crate::exit::Code;
use crate::resolve::resolve;

/// Seconds that one request may take; an image import is one.
const REQUEST_SECONDS: u64 = 300;
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// A connection to the engine that the `docker` command would use.
#[derive(Debug, Clone)]
pub(crate) struct Docker {
    api: bollard::Docker,
    host: String,
}

/// A container, as far as wharf cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Whether it runs.
    pub(crate) is_running: bool,
    /// When it was made, in seconds since 1970.
    pub(crate) created: i64,
    /// Its labels.
    pub(crate) labels: HashMap<String, String>,
    /// Directories of the host that it sees: there, and here.
    pub(crate) mounts: Vec<(String, String)>,
    /// Ports of the host that lead into it.
    pub(crate) published: Vec<u16>,
}

/// How a program ended that ran in a container.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code.
    pub(crate) code: i64,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    /// What it complained about.
    pub(crate) stderr: Vec<u8>,
}

impl Docker {
    /// Connects, and agrees on a version that both sides speak.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        let host = host();
        let api = open(&host)
            .await?
            .negotiate_version()
            .await
            .map_err(|error| unreachable(&host, error))?;
        Ok(Self { api, host })
    }

    /// The engine's own API.
    pub(crate) fn api(&self) -> &bollard::Docker {
        &self.api
    }

    /// Whether the engine's ports are this machine's: then who has a port can be found out here.
    pub(crate) fn is_local(&self) -> bool {
        !self.host.starts_with("tcp://") && !self.host.starts_with("http://")
    }

    /// The architecture of the machine that containers run on, in Kubernetes' words.
    pub(crate) async fn architecture(&self) -> anyhow::Result<String> {
        let version = self
            .api
            .version()
            .await
            .context("asking Docker for its version")?;
        version.arch.context("Docker does not say its architecture")
    }

    /// All containers, running or not, that have a label, or all.
    pub(crate) async fn containers(&self, label: Option<&str>) -> anyhow::Result<Vec<Container>> {
        let mut options = ListContainersOptionsBuilder::new().all(true);
        if let Some(label) = label {
            options = options.filters(&HashMap::from([("label", vec![label])]));
        }
        let listed = self
            .api
            .list_containers(Some(options.build()))
            .await
            .context("listing containers")?;
        let mut containers: Vec<Container> = listed.into_iter().map(Container::from).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// Where a running container listens that publishes a port of this machine's, on a network of the engine's.
    pub(crate) async fn behind(&self, port: u16) -> anyhow::Result<Option<SocketAddr>> {
        let listed = self.api.list_containers(None).await;
        let listed = listed.context("listing containers")?;
        Ok(listed
            .iter()
            .find_map(|container| listens_behind(container, port)))
    }

    /// Starts a container that has stopped.
    pub(crate) async fn start(&self, name: &str) -> anyhow::Result<()> {
        self.api
            .start_container(name, None::<StartContainerOptions>)
            .await
            .with_context(|| format!("starting {name}"))
    }

    /// Removes networks that have a label, and on which nothing is.
    pub(crate) async fn remove_network(&self, label: &str) -> anyhow::Result<()> {
        let options = ListNetworksOptionsBuilder::new()
            .filters(&HashMap::from([("label", vec![label])]))
            .build();
        let listed = self.api.list_networks(Some(options)).await;
        for network in listed.context("listing networks")? {
            let id = network.id.unwrap_or_default();
            let inspected = self.api.inspect_network(&id, None).await;
            let is_used = inspected
                .context("looking at a network")?
                .containers
                .is_some_and(|containers| !containers.is_empty());
            if !is_used {
                let removed = self.api.remove_network(&id).await;
                removed.context("removing a network")?;
            }
        }
        Ok(())
    }

    /// Runs a program in a container and fails unless it succeeds.
    pub(crate) async fn run(
        &self,
        container: &str,
        command: &[&str],
        stdin: Option<Bytes>,
    ) -> anyhow::Result<String> {
        let ended = self.exec(container, command, stdin).await?;
        if ended.code != 0 {
            let words = if ended.stderr.is_empty() {
                &ended.stdout
            } else {
                &ended.stderr
            };
            bail!(
                "`{}` in {container} failed ({}): {}",
                command.join(" "),
                ended.code,
                String::from_utf8_lossy(words).trim()
            );
        }
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    /// Runs a program in a container to its end.
    pub(crate) async fn exec(
        &self,
        container: &str,
        command: &[&str],
        stdin: Option<Bytes>,
    ) -> anyhow::Result<Ended> {
        let doing = || {
            format!(
                "running {} in {container}",
                command.first().copied().unwrap_or_default()
            )
        };
        let config = ExecConfig {
            attach_stdin: Some(stdin.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
            ..ExecConfig::default()
        };
        let exec = self
            .api
            .create_exec(container, config)
            .await
            .with_context(doing)?;
        let StartExecResults::Attached {
            mut output,
            mut input,
        } = self
            .api
            .start_exec(&exec.id, None)
            .await
            .with_context(doing)?
        else {
            bail!("{}: the engine detached it", doing());
        };
        let feed = async {
            if let Some(bytes) = stdin {
                // A program that stops reading says why on its own.
                let _ = input.write_all(&bytes).await;
                let _ = input.shutdown().await;
            }
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let listen = async {
            while let Some(piece) = output.next().await {
                match piece.with_context(doing)? {
                    LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                    LogOutput::StdOut { message } | LogOutput::Console { message } => {
                        stdout.extend_from_slice(&message)
                    }
                    LogOutput::StdIn { .. } => {}
                }
            }
            anyhow::Ok(())
        };
        let ((), listened) = tokio::join!(feed, listen);
        listened?;
        let code = self
            .api
            .inspect_exec(&exec.id)
            .await
            .with_context(doing)?
            .exit_code
            .unwrap_or(-1);
        Ok(Ended {
            code,
            stdout,
            stderr,
        })
    }
}

impl From<ContainerSummary> for Container {
    fn from(summary: ContainerSummary) -> Self {
        let name = summary
            .names
            .unwrap_or_default()
            .into_iter()
            .next()
            .unwrap_or_default();
        let mut published: Vec<u16> = summary
            .ports
            .unwrap_or_default()
            .iter()
            .filter_map(|port| port.public_port)
            .collect();
        published.sort_unstable();
        published.dedup();
        Self {
            id: summary.id.unwrap_or_default(),
            name: name.trim_start_matches('/').to_owned(),
            is_running: summary.state == Some(ContainerSummaryStateEnum::RUNNING),
            created: summary.created.unwrap_or_default(),
            labels: summary.labels.unwrap_or_default(),
            mounts: summary
                .mounts
                .unwrap_or_default()
                .into_iter()
                .filter_map(|m| Some((m.source?, m.destination?)))
                .collect(),
            published,
        }
    }
}

/// Where a container listens that publishes this port on a loopback.
fn listens_behind(container: &ContainerSummary, port: u16) -> Option<SocketAddr> {
    let address = |text: &String| text.parse::<IpAddr>().ok();
    let ports = container.ports.as_deref()?;
    // The same port of another address is somebody else's on the loopback.
    let is_on_loopback = |has: &PortSummary| {
        let ip = has.ip.as_ref().and_then(address);
        ip.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified())
    };
    let listens = ports.iter().find(|has| {
        has.public_port == Some(port)
            && has.typ == Some(PortSummaryTypeEnum::TCP)
            && is_on_loopback(has)
    })?;
    let networks = container.network_settings.as_ref()?.networks.as_ref()?;
    let ip = networks
        .values()
        .find_map(|network| network.ip_address.as_ref().and_then(address))?;
    Some(SocketAddr::new(ip, listens.private_port))
}

async fn open(host: &str) -> anyhow::Result<bollard::Docker> {
    let opened = if let Some(address) = host
        .strip_prefix("tcp://")
        .or_else(|| host.strip_prefix("http://"))
    {
        let (name, port) = address
            .trim_end_matches('/')
            .rsplit_once(':')
            .unwrap_or((address, "2375"));
        let ip = resolve(name)
            .await?
            .into_iter()
            .next()
            .with_context(|| format!("{name} has no address"))?;
        let ip = if ip.is_ipv6() {
            format!("[{ip}]")
        } else {
            ip.to_string()
        };
        bollard::Docker::connect_with_http(
            &format!("tcp://{ip}:{port}"),
            REQUEST_SECONDS,
            API_DEFAULT_VERSION,
        )
    } else if cfg!(unix) && host.starts_with("unix://") {
        // bollard's own check for the socket cannot tell "none" from "not allowed"; the first request can.
        bollard::Docker::connect_with_local(host, REQUEST_SECONDS, API_DEFAULT_VERSION)
    } else {
        bollard::Docker::connect_with_host(host)
    };
    opened.map_err(|error| unreachable(host, error))
}

/// Where the `docker` command would go: `DOCKER_HOST`, or the context that is in use.
fn host() -> String {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let configuration = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let configuration =
        configuration.or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
    set("DOCKER_HOST")
        .or_else(|| context_host(&configuration?, set("DOCKER_CONTEXT")))
        .unwrap_or_else(|| DEFAULT_HOST.to_owned())
}

/// The engine of a context, from docker's own configuration directory.
fn context_host(directory: &Path, named: Option<String>) -> Option<String> {
    let json = |path: PathBuf| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok();
    let current = || {
        json(directory.join("config.json"))?
            .get("currentContext")?
            .as_str()
            .map(str::to_owned)
    };
    let name = named.or_else(current).filter(|name| name != "default")?;
    // A context's folder is called by the hash of its name.
    let folder = Digest::sha256(name.as_bytes());
    let meta = json(
        directory
            .join("contexts/meta")
            .join(folder.hex())
            .join("meta.json"),
    )?;
    meta.pointer("/Endpoints/docker/Host")?
        .as_str()
        .map(str::to_owned)
}

/// What to do about an engine that does not answer.
fn unreachable(host: &str, error: bollard::errors::Error) -> anyhow::Error {
    let socket = host.trim_start_matches("unix://").to_owned();
    // bollard passes an I/O error through as itself, which hides it from its own chain.
    let kind = match &error {
        bollard::errors::Error::IOError { err } => Some(err.kind()),
        _ => None,
    };
    let error = anyhow::Error::from(error);
    let kind = kind.or_else(|| {
        error
            .chain()
            .find_map(|cause| cause.downcast_ref::<io::Error>())
            .map(io::Error::kind)
    });
    // The permission is asked of the socket itself, because a library may wrap its answer in words.
    let denied = kind == Some(io::ErrorKind::PermissionDenied)
        || (host.starts_with("unix://") && cfg!(unix) && is_denied(&socket));
    let message = if denied {
        format!(
            "no permission to use Docker at {socket}: run `sudo usermod -aG docker $USER`, log in again, and repeat the command"
        )
    } else if cfg!(target_os = "linux") && host == DEFAULT_HOST {
        format!(
            "Docker does not run (nothing answers at {socket}): start it with `sudo systemctl start docker`"
        )
    } else {
        format!(
            "Docker does not answer at {host} ({:#}): start it, or point DOCKER_HOST at one that runs",
            error.root_cause()
        )
    };
    Code::Prerequisite.error(message)
}

#[cfg(unix)]
fn is_denied(socket: &str) -> bool {
    matches!(std::os::unix::net::UnixStream::connect(socket), Err(error) if error.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(not(unix))]
fn is_denied(_socket: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_is_behind_a_port_of_the_loopback() {
        let behind = |ip: &str, protocol: &str| {
            let container = json!({
                "Ports": [{"IP": ip, "PrivatePort": 6443, "PublicPort": 40000, "Type": protocol}],
                "NetworkSettings": {"Networks": {"kind": {"IPAddress": "172.18.0.2"}}},
            });
            listens_behind(&serde_json::from_value(container).unwrap(), 40000)
        };
        let address = "172.18.0.2:6443".parse().ok();
        assert_eq!(behind("127.0.0.1", "tcp"), address);
        assert_eq!(behind("0.0.0.0", "tcp"), address);
        assert_eq!(behind("192.168.1.7", "tcp"), None);
        assert_eq!(behind("127.0.0.1", "udp"), None);
    }

    #[test]
    fn the_engine_of_a_context() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(context_host(path, None), None);
        let folder = path
            .join("contexts/meta")
            .join(Digest::sha256(b"colima").hex());
        std::fs::create_dir_all(&folder).unwrap();
        let meta = r#"{"Name":"colima","Endpoints":{"docker":{"Host":"unix:///home/ann/.colima/docker.sock"}}}"#;
        std::fs::write(folder.join("meta.json"), meta).unwrap();
        assert_eq!(context_host(path, None), None, "not the current one");
        let expected = Some("unix:///home/ann/.colima/docker.sock".to_owned());
        assert_eq!(context_host(path, Some("colima".to_owned())), expected);
        std::fs::write(path.join("config.json"), r#"{"currentContext":"colima"}"#).unwrap();
        assert_eq!(context_host(path, None), expected);
        assert_eq!(context_host(path, Some("default".to_owned())), None);
    }

    #[test]
    fn no_engine_is_a_missing_prerequisite() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = unreachable(DEFAULT_HOST, refused.into());
        assert_eq!(Code::of(&error), Code::Prerequisite);
        let denied = unreachable(
            DEFAULT_HOST,
            io::Error::from(io::ErrorKind::PermissionDenied).into(),
        );
        assert!(denied.to_string().contains("usermod"), "{denied}");
    }
}
