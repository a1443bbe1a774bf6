//! The way to one pod's port through the API server: which pod it is just now, and a connection to it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, bail};
use http::StatusCode;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::ListParams;
use kube::client::Body;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use wharf_registry::server::TUNNEL_PROTOCOL;

use super::Kube;
use super::wait::is_ready;
use crate::exit::Code;

/// Bytes that a frame's reader asks for: one of TLS's records, which is all that it gets at once. The space is zeroed for each read.
const READ_BYTES: usize = 16 * 1024;

/// WebSocket messages, each of which begins with its channel (see [`Kube::forwarded`]).
pub(crate) type Messages = WebSocketStream<TokioIo<Upgraded>>;

/// What is said to a registry and by it, as it is.
pub(crate) type Tunnel = TokioIo<Upgraded>;

/// What a port of this machine leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// A pod or a Service.
    pub(crate) kind: Kind,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

/// What can be led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The ready pods of a Service, by turns.
    Service,
    /// One pod.
    Pod,
}

/// A port, as a Service or a pod has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Port {
    /// By number.
    Number(u16),
    /// By name.
    Name(String),
    /// The only one that there is, preferably the one of this number.
    Only(u16),
}

/// A port of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The pod.
    pub(crate) pod: String,
    /// The number of its port.
    pub(crate) port: u16,
}

impl Kube {
    /// Where a target's port is at this moment; `None` where no pod is ready. An error says that there is no such thing.
    pub(crate) async fn place(
        &self,
        target: &Target,
        port: &Port,
        turn: usize,
    ) -> anyhow::Result<Option<Place>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &target.namespace);
        if target.kind == Kind::Pod {
            let pod = pods.get_opt(&target.name).await?;
            let Some(pod) = pod else {
                return Err(missing(target));
            };
            let found = port_of_pod(&pod, port).ok_or_else(|| {
                Code::NotFound.error(format!("{target} has no port called {port}"))
            })?;
            return Ok(serves(&pod).then(|| Place {
                pod: target.name.clone(),
                port: found,
            }));
        }
        let services: Api<Service> = Api::namespaced(self.client.clone(), &target.namespace);
        let service = services.get_opt(&target.name).await?;
        let spec = service
            .ok_or_else(|| missing(target))?
            .spec
            .unwrap_or_default();
        let wanted = port_of_service(target, spec.ports.as_deref().unwrap_or_default(), port)?;
        let selector = selector(&spec.selector.unwrap_or_default());
        if selector.is_empty() {
            bail!("{target} selects no pods: name a pod, as in pod/NAME");
        }
        let listed = pods.list(&ListParams::default().labels(&selector)).await?;
        let places = listed.items.iter().filter(|pod| serves(pod));
        let mut places: Vec<Place> = places.filter_map(|pod| place(pod, &wanted)).collect();
        if places.is_empty() {
            return Ok(None);
        }
        let turn = turn % places.len();
        Ok(Some(places.swap_remove(turn)))
    }

    /// Opens a connection to a port of a pod. Channel 0 is what the pod says and hears, channel 1 what kept it from
    /// that; the first message on each is the port's number.
    pub(crate) async fn forwarded(
        &self,
        namespace: &str,
        place: &Place,
    ) -> anyhow::Result<Messages> {
        let path = format!(
            "/api/v1/namespaces/{namespace}/pods/{}/portforward?ports={}",
            place.pod, place.port
        );
        let request = http::Request::get(path).body(Vec::new())?;
        let connection = self
            .client
            .connect(request)
            .await
            .with_context(|| format!("connecting to pod {namespace}/{}", place.pod))?;
        // Nothing was read from it yet, so that nothing is lost with the first frame's reader.
        let socket = connection.into_stream().into_inner();
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        Ok(WebSocketStream::from_raw_socket(socket, Role::Client, Some(config)).await)
    }

    /// Opens a connection to a registry in a pod that accepts tunnels. The API server itself hands on what is said,
    /// byte for byte. What it or the registry answers instead is the inner error.
    pub(crate) async fn tunnel(
        &self,
        namespace: &str,
        place: &Place,
    ) -> anyhow::Result<Result<Tunnel, StatusCode>> {
        let request = http::Request::get(format!(
            "/api/v1/namespaces/{namespace}/pods/{}:{}/proxy/v2/",
            place.pod, place.port
        ))
        .header(http::header::CONNECTION, "Upgrade")
        .header(http::header::UPGRADE, TUNNEL_PROTOCOL)
        .body(Body::empty())?;
        let response = self.client.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Err(response.status()));
        }
        Ok(Ok(TokioIo::new(hyper::upgrade::on(response).await?)))
    }
}

/// A pod that is ready and stays: one that is going may be ready until it has gone.
pub(super) fn serves(pod: &Pod) -> bool {
    is_ready(pod) && pod.metadata.deletion_timestamp.is_none()
}

fn place(pod: &Pod, port: &IntOrString) -> Option<Place> {
    let port = match port {
        IntOrString::Int(number) => u16::try_from(*number).ok()?,
        IntOrString::String(name) => port_of_pod(pod, &Port::Name(name.clone()))?,
    };
    let pod = pod.metadata.name.clone()?;
    Some(Place { pod, port })
}

/// The number of a pod's port. A pod need not list its ports, so a number is always good.
fn port_of_pod(pod: &Pod, port: &Port) -> Option<u16> {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice());
    let mut ports = containers
        .unwrap_or_default()
        .iter()
        .filter_map(|container| container.ports.as_ref())
        .flatten();
    let found = match port {
        Port::Number(number) => return Some(*number),
        Port::Name(name) => ports.find(|port| port.name.as_ref() == Some(name))?,
        Port::Only(number) => match (ports.next(), ports.next()) {
            (Some(only), None) => only,
            _ => return Some(*number),
        },
    };
    u16::try_from(found.container_port).ok()
}

/// What a Service's port is called in its pods.
fn port_of_service(
    target: &Target,
    ports: &[ServicePort],
    port: &Port,
) -> anyhow::Result<IntOrString> {
    let numbered = |number: u16| ports.iter().find(|port| port.port == i32::from(number));
    let found = match port {
        Port::Number(number) => numbered(*number),
        Port::Name(name) => ports.iter().find(|port| port.name.as_ref() == Some(name)),
        Port::Only(number) => numbered(*number).or(match ports {
            [only] => Some(only),
            _ => None,
        }),
    };
    let Some(found) = found else {
        let has: Vec<String> = ports.iter().map(|port| port.port.to_string()).collect();
        return Err(Code::NotFound.error(format!(
            "{target} has no port {port}: it has {}",
            has.join(", ")
        )));
    };
    Ok(found
        .target_port
        .clone()
        .unwrap_or(IntOrString::Int(found.port)))
}

fn selector(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

fn missing(target: &Target) -> anyhow::Error {
    Code::NotFound.error(format!("there is no {target}"))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Service => "service",
            Kind::Pod => "pod",
        };
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) | Self::Only(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> Pod {
        let ports = json!([{"name": "web", "containerPort": 8080}, {"containerPort": 9090}]);
        serde_json::from_value(json!({
            "metadata": {"name": "app-1"},
            "spec": {"containers": [{"name": "app", "ports": ports}]},
            "status": status,
        }))
        .unwrap()
    }

    fn service(ports: Value) -> Vec<ServicePort> {
        serde_json::from_value(ports).unwrap()
    }

    fn target() -> Target {
        Target {
            kind: Kind::Service,
            namespace: "default".into(),
            name: "app".into(),
        }
    }

    #[test]
    fn a_port_of_a_service_becomes_one_of_a_pod() {
        let ports = service(json!([
            {"name": "http", "port": 80, "targetPort": "web"},
            {"port": 9090},
        ]));
        let pod = pod(json!({}));
        let found = |port: &Port| {
            let port = port_of_service(&target(), &ports, port).unwrap();
            place(&pod, &port).map(|place| place.port)
        };
        assert_eq!(found(&Port::Number(80)), Some(8080));
        assert_eq!(found(&Port::Name("http".into())), Some(8080));
        assert_eq!(found(&Port::Only(9090)), Some(9090));
        let error = port_of_service(&target(), &ports, &Port::Only(8080)).unwrap_err();
        assert_eq!(Code::of(&error), Code::NotFound);
        assert!(error.to_string().ends_with("it has 80, 9090"), "{error}");
        let only = service(json!([{"port": 80, "targetPort": 8080}]));
        let only = port_of_service(&target(), &only, &Port::Only(12345)).unwrap();
        assert_eq!(only, IntOrString::Int(8080));
    }

    #[test]
    fn a_pod_that_is_going_serves_no_more() {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let mut going = pod(ready);
        assert!(serves(&going));
        going.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert!(!serves(&going));
        assert!(!serves(&pod(json!({}))));
    }
}
