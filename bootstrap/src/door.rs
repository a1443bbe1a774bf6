//! The host's side of a cluster that wharf did not make: no port can be added to its nodes, so a container beside them
//! publishes it, and leads to the relay of a node.
//!
//! It is made of the node's own image, which the engine has, with this program as its one process: nothing is pulled, and
//! nothing but the container is left to remove.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use anyhow::Context;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig,
    PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    UploadToContainerOptionsBuilder,
};

use crate::cluster::ClusterName;
use crate::docker::Docker;
use crate::exit::Code;
use crate::image::NodeBinary;
use crate::names::{MANAGED_BY, MANAGER, SERVICE_PORT};
use crate::port;

/// The label of the program that a door runs, and of the port that it publishes.
const PROGRAM: &str = "wharf.program";
const PORT: &str = "wharf.port";
/// The label of minikube's networks.
const MINIKUBE_NETWORK: &str = "created_by.minikube.sigs.k8s.io";

/// A container that leads from the host into a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    name: String,
    port: u16,
    node: String,
}

/// The container's name: nobody has it on the nodes' network but this one, so the relays know it by it.
pub(crate) fn name(cluster: &ClusterName) -> String {
    format!("{cluster}.wharf")
}

impl Door {
    /// The door of a cluster, to the relay of this node.
    pub(crate) fn of(cluster: &ClusterName, port: u16, node: &str) -> Self {
        Self {
            name: name(cluster),
            port,
            node: node.to_owned(),
        }
    }

    /// Whether it is there, as it should be.
    pub(crate) async fn is_open(&self, docker: &Docker, tag: &str) -> anyhow::Result<bool> {
        let containers = docker.containers(None).await?;
        Ok(containers.iter().any(|container| {
            let has = |label, value| container.labels.get(label).is_some_and(|is| *is == value);
            container.name == self.name
                && container.is_running
                && has(PROGRAM, tag.to_owned())
                && has(PORT, self.port.to_string())
        }))
    }

    /// Makes it, unless it is there as it should be.
    pub(crate) async fn open(&self, docker: &Docker, binary: &NodeBinary) -> anyhow::Result<()> {
        if self.is_open(docker, &binary.tag()).await? {
            return Ok(());
        }
        remove(docker, &self.name).await?;
        port::require_free(self.port, Some(docker)).await?;
        let make = async {
            let options = CreateContainerOptionsBuilder::new().name(&self.name);
            let body = self.body(docker, binary).await?;
            docker
                .api()
                .create_container(Some(options.build()), body)
                .await?;
            let options = UploadToContainerOptionsBuilder::new().path("/").build();
            let archive = bollard::body_full(binary.archive().await?);
            docker
                .api()
                .upload_to_container(&self.name, Some(options), archive)
                .await?;
            docker
                .api()
                .start_container(&self.name, None::<StartContainerOptions>)
                .await?;
            anyhow::Ok(())
        };
        make.await
            .with_context(|| format!("making the container {}", self.name))
    }

    async fn body(
        &self,
        docker: &Docker,
        binary: &NodeBinary,
    ) -> anyhow::Result<ContainerCreateBody> {
        let node = docker.api().inspect_container(&self.node, None).await?;
        let networks = node.network_settings.and_then(|settings| settings.networks);
        let network = networks
            .and_then(|networks| networks.into_keys().min())
            .with_context(|| format!("{} is on no network", self.node))?;
        let address = address_out_of_the_way(docker, &network).await?;
        let endpoint = address.map(|address| EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        });
        let endpoints = endpoint.map(|endpoint| HashMap::from([(network.clone(), endpoint)]));
        let labels = HashMap::from([
            (MANAGED_BY.to_owned(), MANAGER.to_owned()),
            (PROGRAM.to_owned(), binary.tag()),
            (PORT.to_owned(), self.port.to_string()),
        ]);
        let there = format!("{SERVICE_PORT}/tcp");
        Ok(ContainerCreateBody {
            image: node.image,
            entrypoint: Some(vec!["/wharf".to_owned()]),
            cmd: Some(vec![
                "relay".to_owned(),
                format!("--port={SERVICE_PORT}"),
                format!("--to={}:{}", self.node, self.port),
                // Its neighbours on the network are kept out of it as they are out of the node.
                "--published-node=door".to_owned(),
                "--node-name=door".to_owned(),
            ]),
            user: Some("65532:65532".to_owned()),
            stop_signal: Some("SIGTERM".to_owned()),
            labels: Some(labels),
            exposed_ports: Some(vec![there.clone()]),
            networking_config: endpoints.map(|endpoints| NetworkingConfig {
                endpoints_config: Some(endpoints),
            }),
            host_config: Some(HostConfig {
                network_mode: Some(network),
                port_bindings: Some(HashMap::from([(there, Some(self.bindings()))])),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
                    maximum_retry_count: None,
                }),
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        })
    }

    fn bindings(&self) -> Vec<PortBinding> {
        let addresses: &[&str] = match port::has_ipv6() {
            true => &["127.0.0.1", "::1"],
            false => &["127.0.0.1"],
        };
        let binding = |address: &&str| PortBinding {
            host_ip: Some((*address).to_owned()),
            host_port: Some(self.port.to_string()),
        };
        addresses.iter().map(binding).collect()
    }
}

/// The last address of a network in which minikube gives addresses to its nodes, one after the other from the first on, whoever
/// has one of them. Elsewhere Docker gives them.
async fn address_out_of_the_way(
    docker: &Docker,
    network: &str,
) -> anyhow::Result<Option<Ipv4Addr>> {
    let inspected = docker.api().inspect_network(network, None).await?;
    if !inspected
        .labels
        .is_some_and(|labels| labels.contains_key(MINIKUBE_NETWORK))
    {
        return Ok(None);
    }
    let configs = inspected.ipam.and_then(|ipam| ipam.config);
    let mut subnets = configs.into_iter().flatten().filter_map(|c| c.subnet);
    Ok(subnets.find_map(|subnet| last_address(&subnet)))
}

/// The last address of a subnet that a machine can have.
fn last_address(subnet: &str) -> Option<Ipv4Addr> {
    let (first, bits) = subnet.split_once('/')?;
    let first = u32::from(first.parse::<Ipv4Addr>().ok()?);
    let bits: u32 = bits.parse().ok().filter(|bits| (1..=29).contains(bits))?;
    let broadcast = first | (u32::MAX >> bits);
    Some(Ipv4Addr::from(broadcast - 1))
}

/// Whether there is a container of this name, wharf's or not.
pub(crate) async fn is_there(docker: &Docker, name: &str) -> anyhow::Result<bool> {
    let containers = docker.containers(None).await?;
    Ok(containers.iter().any(|container| container.name == name))
}

/// Removes a cluster's door. One that is not there is removed already; one that is not wharf's stays.
pub(crate) async fn remove(docker: &Docker, name: &str) -> anyhow::Result<()> {
    let containers = docker.containers(None).await?;
    let Some(door) = containers.iter().find(|container| container.name == name) else {
        return Ok(());
    };
    if door.labels.get(MANAGED_BY).is_none_or(|by| by != MANAGER) {
        return Err(Code::Conflict.error(format!(
            "there is a container {name}, and it is not wharf's: rename it with `docker rename`"
        )));
    }
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true);
    docker
        .api()
        .remove_container(name, Some(options.build()))
        .await
        .with_context(|| format!("removing the container {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_address_of_a_subnet() {
        let last = |subnet| last_address(subnet).map(|address| address.to_string());
        assert_eq!(last("192.168.49.0/24").as_deref(), Some("192.168.49.254"));
        assert_eq!(last("10.0.0.0/22").as_deref(), Some("10.0.3.254"));
        for none in ["fc00::/64", "10.0.0.0", "10.0.0.0/31", "10.0.0.0/0", "x/24"] {
            assert_eq!(last(none), None, "{none}");
        }
    }
}
