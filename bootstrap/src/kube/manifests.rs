//! The manifests of `deploy/`, with what only this environment knows set in them.
//!
//! The files are whole manifests with defaults that people can read and apply by hand; nothing in them is a template. The
//! kustomization and the Helm chart beside them are made of the same files (decision 008).

use std::net::SocketAddr;

use anyhow::Context;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::names::{ENVIRONMENT, MANAGED_BY, MANAGER, NAMESPACE, NODE_DATA, registry_host};

/// The label that says which node a node is.
const HOSTNAME: &str = "kubernetes.io/hostname";

const NAMESPACE_FILE: &str = include_str!("../../../deploy/chart/manifests/namespace.yaml");
const REGISTRY_FILE: &str = include_str!("../../../deploy/chart/manifests/registry.yaml");
const SERVICE_FILE: &str = include_str!("../../../deploy/chart/manifests/service.yaml");
const RELAY_FILE: &str = include_str!("../../../deploy/chart/manifests/relay.yaml");
const HOSTING_FILE: &str =
    include_str!("../../../deploy/chart/manifests/local-registry-hosting.yaml");
const HELP_FILE: &str = include_str!("../../../deploy/chart/manifests/local-registry-help.yaml");

/// What wharf installs, for one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifests {
    /// wharf's own image.
    pub(crate) image: String,
    /// The port of localhost.
    pub(crate) port: u16,
    /// The owner of the data directory, user and group.
    pub(crate) owner: (u32, u32),
    /// The node that the host's port leads to.
    pub(crate) published_node: String,
    /// The container through which it does, where the node itself publishes no port.
    pub(crate) guest: Option<String>,
    /// Whether the images are on that node alone.
    pub(crate) is_pinned: bool,
}

impl Manifests {
    /// The registry and where it lives.
    pub(crate) fn registry(&self) -> anyhow::Result<Vec<DynamicObject>> {
        let mut objects = documents(NAMESPACE_FILE)?;
        for mut object in documents(REGISTRY_FILE)? {
            set(
                &mut object,
                "/spec/template/spec/containers/0/image",
                self.image.as_str(),
            )?;
            // No group for the volume: the directory's owner is what it is.
            set(
                &mut object,
                "/spec/template/spec/securityContext",
                json!({"runAsUser": self.owner.0, "runAsGroup": self.owner.1}),
            )?;
            // It must be the host's directory, which outlives the cluster; an empty one of the node would be a trap.
            set(
                &mut object,
                "/spec/template/spec/volumes/0",
                json!({"name": "data", "hostPath": {"path": NODE_DATA, "type": "Directory"}}),
            )?;
            if self.is_pinned {
                object["spec"]["template"]["spec"]["nodeSelector"] =
                    json!({HOSTNAME: self.published_node});
            }
            objects.push(object);
        }
        objects.extend(documents(SERVICE_FILE)?);
        typed(objects)
    }

    /// The relays, towards the registry's Service.
    pub(crate) fn relay(&self, registry: SocketAddr) -> anyhow::Result<Vec<DynamicObject>> {
        let mut objects = documents(RELAY_FILE)?;
        let mut args = vec![
            "relay".to_owned(),
            format!("--port={}", self.port),
            format!("--to={registry}"),
            format!("--published-node={}", self.published_node),
        ];
        if let Some(guest) = &self.guest {
            args.push(format!("--guest={guest}"));
        }
        let args = json!(args);
        let check = json!([
            "/wharf",
            "relay",
            "--check",
            format!("--port={}", self.port)
        ]);
        for object in &mut objects {
            set(
                object,
                "/spec/template/spec/containers/0/image",
                self.image.as_str(),
            )?;
            set(
                object,
                "/spec/template/spec/containers/0/args",
                args.clone(),
            )?;
            for probe in ["startupProbe", "readinessProbe"] {
                set(
                    object,
                    &format!("/spec/template/spec/containers/0/{probe}/exec/command"),
                    check.clone(),
                )?;
            }
            // `up` tells containerd itself, where it is known to listen.
            take(object, "/spec/template/spec/containers/0", "volumeMounts")?;
            take(object, "/spec/template/spec", "volumes")?;
        }
        typed(objects)
    }

    /// Where tools find the registry.
    pub(crate) fn hosting(&self) -> anyhow::Result<Vec<DynamicObject>> {
        let mut objects = documents(HOSTING_FILE)?;
        for object in &mut objects {
            let text = object["data"]["localRegistryHosting.v1"]
                .as_str()
                .context("no localRegistryHosting.v1")?;
            let text = text.replace(&registry_host(5000), &registry_host(self.port));
            set(object, "/data/localRegistryHosting.v1", text)?;
        }
        typed(objects)
    }
}

impl Manifests {
    /// What says that there is no registry.
    pub(crate) fn without_registry() -> anyhow::Result<Vec<DynamicObject>> {
        typed(documents(HELP_FILE)?)
    }
}

/// The ConfigMap in which an environment describes itself.
pub(crate) fn environment(data: &Value) -> anyhow::Result<DynamicObject> {
    object(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ENVIRONMENT, "namespace": NAMESPACE, "labels": labels("environment")},
        "data": data,
    }))
}

/// A pod that runs on one node, from an image that its kubelet must pull.
pub(crate) fn probe_pod(name: &str, node: &str, image: &str) -> anyhow::Result<DynamicObject> {
    object(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels("probe")},
        "spec": {
            // Not the scheduler's choice: the control plane's node must be proved as well.
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "probe", "image": image, "imagePullPolicy": "Always"}],
        },
    }))
}

fn labels(component: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "wharf",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "wharf",
        MANAGED_BY: MANAGER,
    })
}

fn documents(yaml: &str) -> anyhow::Result<Vec<Value>> {
    serde_saphyr::from_multiple(yaml).context("reading an embedded manifest")
}

/// Replaces a value that the manifest has; one that it has not is a mistake in the manifest.
fn set(object: &mut Value, path: &str, value: impl Into<Value>) -> anyhow::Result<()> {
    *object
        .pointer_mut(path)
        .with_context(|| format!("the manifest has no {path}"))? = value.into();
    Ok(())
}

/// Removes a field that the manifest has.
fn take(object: &mut Value, path: &str, field: &str) -> anyhow::Result<()> {
    let fields = object.pointer_mut(path).and_then(Value::as_object_mut);
    let taken = fields.and_then(|fields| fields.remove(field));
    taken
        .map(|_| ())
        .with_context(|| format!("the manifest has no {path}/{field}"))
}

fn typed(objects: Vec<Value>) -> anyhow::Result<Vec<DynamicObject>> {
    objects.into_iter().map(object).collect()
}

fn object(object: Value) -> anyhow::Result<DynamicObject> {
    serde_json::from_value(object).context("an object without a kind or a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests() -> Manifests {
        Manifests {
            image: "docker.io/wharf/wharf:0.1.0-abc".into(),
            port: 5055,
            owner: (1000, 100),
            published_node: "dev-control-plane".into(),
            guest: None,
            is_pinned: false,
        }
    }

    #[test]
    fn rendered_for_a_cluster_of_somebody_else() {
        let adopted = Manifests {
            guest: Some("dev.wharf".into()),
            is_pinned: true,
            ..manifests()
        };
        let registry = adopted.registry().unwrap();
        let deployment = registry.iter().find(|object| title(object) == "Deployment");
        let selector = &deployment.unwrap().data["spec"]["template"]["spec"]["nodeSelector"];
        assert_eq!(selector[HOSTNAME], "dev-control-plane");
        let relay = adopted.relay("10.96.0.7:5000".parse().unwrap()).unwrap();
        let args = &relay[0].data["spec"]["template"]["spec"]["containers"][0]["args"];
        assert_eq!(args[4], "--guest=dev.wharf");
    }

    fn title(object: &DynamicObject) -> &str {
        object.types.as_ref().map_or("", |types| &types.kind)
    }

    #[test]
    fn rendered() {
        let mut all = manifests().registry().unwrap();
        all.extend(
            manifests()
                .relay("10.96.0.7:5000".parse().unwrap())
                .unwrap(),
        );
        all.extend(manifests().hosting().unwrap());
        insta::assert_snapshot!(serde_json::to_string_pretty(&all).unwrap());
    }

    #[test]
    fn all_are_wharfs_and_nothing_is_tagged_latest() {
        let files = [
            NAMESPACE_FILE,
            REGISTRY_FILE,
            RELAY_FILE,
            HOSTING_FILE,
            HELP_FILE,
        ];
        for file in files {
            for object in documents(file).unwrap() {
                assert_eq!(
                    object["metadata"]["labels"][MANAGED_BY], MANAGER,
                    "{object}"
                );
            }
            assert!(!file.contains(":latest"));
        }
    }
}
