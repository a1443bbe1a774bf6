//! The manifests of `deploy/`, with what only this environment knows set in them.
//!
//! The files are whole manifests with defaults that people can read and apply by hand; nothing in them is a template. The
//! kustomization and the Helm chart beside them are made of the same files (decision 008).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::names::{ENVIRONMENT, MANAGED_BY, MANAGER, NAMESPACE, registry_host};

/// The label that says which node a node is.
const HOSTNAME: &str = "kubernetes.io/hostname";

const NAMESPACE_FILE: &str = include_str!("../../../deploy/chart/manifests/namespace.yaml");
const REGISTRY_FILE: &str = include_str!("../../../deploy/chart/manifests/registry.yaml");
const SERVICE_FILE: &str = include_str!("../../../deploy/chart/manifests/service.yaml");
const DATA_FILE: &str = include_str!("../../../deploy/chart/manifests/data.yaml");
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
    /// The registry's user and group, who can write to where the images are.
    pub(crate) owner: (u32, u32),
    /// What keeps the images.
    pub(crate) volume: Volume,
    /// The node that alone has the images.
    pub(crate) pinned_to: Option<String>,
    /// The node that the host's port leads to.
    pub(crate) published_node: Option<String>,
    /// The container through which it does, where the node itself publishes no port.
    pub(crate) guest: Option<String>,
    /// Whether the relays tell containerd where localhost is, because nobody else can.
    pub(crate) tells_containerd: bool,
}

/// What keeps the images, as a pod has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A directory that is on the nodes already.
    Directory(PathBuf),
    /// A directory of a node that the pod itself has to make, and to give to its user.
    OwnDirectory(PathBuf),
    /// A volume of the cluster's.
    Claim,
    /// The pod itself.
    Empty,
}

impl Volume {
    fn render(&self) -> Option<Value> {
        let directory = |path: &Path, kind| json!({"path": path, "type": kind});
        match self {
            // It must be there: an empty one that the kubelet made would be a trap.
            Self::Directory(path) => {
                Some(json!({"name": "data", "hostPath": directory(path, "Directory")}))
            }
            Self::OwnDirectory(path) => {
                Some(json!({"name": "data", "hostPath": directory(path, "DirectoryOrCreate")}))
            }
            Self::Claim => None,
            Self::Empty => Some(json!({"name": "data", "emptyDir": {}})),
        }
    }

    /// Whether the kubelet gives it to the registry's group. A directory's owner is what it is.
    fn is_given(&self) -> bool {
        matches!(self, Self::Claim | Self::Empty)
    }
}

impl Manifests {
    /// What the registry lives on, and what must not be applied again: a claim that is there may have been made larger.
    pub(crate) fn ground(&self) -> anyhow::Result<(Vec<DynamicObject>, Vec<DynamicObject>)> {
        let claim = match self.volume {
            Volume::Claim => documents(DATA_FILE)?,
            _ => Vec::new(),
        };
        Ok((Self::namespace()?, typed(claim)?))
    }

    /// The registry.
    pub(crate) fn registry(&self) -> anyhow::Result<Vec<DynamicObject>> {
        let mut objects = Vec::new();
        for mut object in documents(REGISTRY_FILE)? {
            const POD: &str = "/spec/template/spec";
            set(
                &mut object,
                &format!("{POD}/containers/0/image"),
                self.image.as_str(),
            )?;
            let (user, group) = self.owner;
            let mut context = json!({"runAsUser": user, "runAsGroup": group});
            if self.volume.is_given() {
                context["fsGroup"] = group.into();
                context["fsGroupChangePolicy"] = "OnRootMismatch".into();
            }
            set(&mut object, &format!("{POD}/securityContext"), context)?;
            if let Some(volume) = self.volume.render() {
                set(&mut object, &format!("{POD}/volumes/0"), volume)?;
            }
            let pod = &mut object["spec"]["template"]["spec"];
            if let Some(prepare) = self.prepare() {
                pod["initContainers"] = json!([prepare]);
            }
            if let Some(node) = &self.pinned_to {
                pod["nodeSelector"] = json!({HOSTNAME: node});
            }
            objects.push(object);
        }
        objects.extend(documents(SERVICE_FILE)?);
        typed(objects)
    }

    /// What has to be done to the volume, or known of it, before the registry has it.
    fn prepare(&self) -> Option<Value> {
        let mut args = vec![
            "node".to_owned(),
            "prepare".to_owned(),
            "--data=/data".to_owned(),
        ];
        let mut context = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        match self.volume {
            Volume::Directory(_) | Volume::Empty => return None,
            // The cluster's volumes may be on a network, which nobody says.
            Volume::Claim => {}
            Volume::OwnDirectory(_) => {
                args.push(format!("--owner={}:{}", self.owner.0, self.owner.1));
                // The kubelet has made it root's.
                context["runAsUser"] = 0.into();
                context["capabilities"]["add"] = json!(["CHOWN", "DAC_OVERRIDE"]);
            }
        }
        Some(json!({
            "name": "prepare",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "args": args,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            "securityContext": context,
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }))
    }

    /// The relays, towards the registry's Service.
    pub(crate) fn relay(&self, registry: SocketAddr) -> anyhow::Result<Vec<DynamicObject>> {
        let mut objects = documents(RELAY_FILE)?;
        let mut args = vec![
            "relay".to_owned(),
            format!("--port={}", self.port),
            format!("--to={registry}"),
        ];
        if let Some(node) = &self.published_node {
            args.push(format!("--published-node={node}"));
        }
        if self.tells_containerd {
            args.push("--hosts=/hosts".to_owned());
        }
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
            if !self.tells_containerd {
                // `up` does it from outside, where containerd is known to listen.
                take(object, "/spec/template/spec/containers/0", "volumeMounts")?;
                take(object, "/spec/template/spec", "volumes")?;
            }
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

    /// What everything of wharf's is in.
    pub(crate) fn namespace() -> anyhow::Result<Vec<DynamicObject>> {
        typed(documents(NAMESPACE_FILE)?)
    }

    /// All that runs in the cluster, as far as it is needed to delete it.
    pub(crate) fn workloads() -> anyhow::Result<Vec<DynamicObject>> {
        let files = [REGISTRY_FILE, SERVICE_FILE, RELAY_FILE];
        let objects: Vec<Vec<Value>> =
            files.into_iter().map(documents).collect::<Result<_, _>>()?;
        typed(objects.concat())
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

pub(super) fn labels(component: &str) -> Value {
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

pub(super) fn object(object: Value) -> anyhow::Result<DynamicObject> {
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
            volume: Volume::Directory("/var/lib/wharf".into()),
            pinned_to: None,
            published_node: Some("dev-control-plane".into()),
            guest: None,
            tells_containerd: false,
        }
    }

    /// Where nodes can't be reached: the registry's pod and the relay's.
    fn existing(volume: Volume) -> Manifests {
        Manifests {
            image: "registry.example.com/wharf:0.1.0".into(),
            owner: (65532, 65532),
            volume,
            published_node: None,
            tells_containerd: true,
            ..manifests()
        }
    }

    #[test]
    fn rendered_for_a_cluster_of_somebody_else() {
        let adopted = Manifests {
            guest: Some("dev.wharf".into()),
            pinned_to: Some("dev-control-plane".into()),
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

    fn render(manifests: &Manifests) -> String {
        let (mut all, claim) = manifests.ground().unwrap();
        all.extend(claim);
        all.extend(manifests.registry().unwrap());
        all.extend(manifests.relay("10.96.0.7:5000".parse().unwrap()).unwrap());
        all.extend(manifests.hosting().unwrap());
        serde_json::to_string_pretty(&all).unwrap()
    }

    /// What is another with each storage: the registry's pod, and a claim where there is one.
    fn storage(manifests: &Manifests) -> String {
        let (_, claim) = manifests.ground().unwrap();
        let registry = manifests.registry().unwrap();
        let pod = &registry[0].data["spec"]["template"]["spec"];
        let parts = [
            "securityContext",
            "initContainers",
            "nodeSelector",
            "volumes",
        ];
        let pod: Vec<(&str, &Value)> = parts.iter().map(|part| (*part, &pod[*part])).collect();
        serde_json::to_string_pretty(&json!({"claim": claim, "pod": pod})).unwrap()
    }

    #[test]
    fn rendered() {
        insta::assert_snapshot!(render(&manifests()));
    }

    #[test]
    fn rendered_for_an_existing_cluster() {
        insta::assert_snapshot!(render(&existing(Volume::Claim)));
    }

    #[test]
    fn rendered_with_a_directory_of_a_node_out_of_reach() {
        insta::assert_snapshot!(storage(&Manifests {
            pinned_to: Some("node-1".into()),
            ..existing(Volume::OwnDirectory("/srv/images".into()))
        }));
    }

    #[test]
    fn rendered_with_the_pod_alone() {
        insta::assert_snapshot!(storage(&existing(Volume::Empty)));
    }

    #[test]
    fn all_are_wharfs_and_nothing_is_tagged_latest() {
        let files = [
            NAMESPACE_FILE,
            DATA_FILE,
            REGISTRY_FILE,
            SERVICE_FILE,
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
