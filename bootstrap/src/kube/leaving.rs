//! Pods that take wharf's files off the nodes.

use std::path::Path;

use kube::api::DynamicObject;
use serde_json::json;

use super::manifests::{labels, object};
use crate::names::{HOSTS_DIRECTORY, NAMESPACE};

/// What takes wharf's files off nodes that nobody can reach from outside: a pod on each.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    /// wharf's own image.
    pub(crate) image: String,
    /// The port of localhost.
    pub(crate) port: u16,
}

impl Leaving {
    /// The component that these pods are.
    pub(crate) const COMPONENT: &str = "leave";

    /// The pod of one node; with a directory of images, those go as well.
    pub(crate) fn pod(
        &self,
        name: &str,
        node: &str,
        data: Option<&Path>,
    ) -> anyhow::Result<DynamicObject> {
        let mut args = vec![
            "node".to_owned(),
            "leave".to_owned(),
            format!("--port={}", self.port),
            "--hosts=/hosts".to_owned(),
        ];
        let mut mounts = vec![json!({"name": "hosts", "mountPath": "/hosts"})];
        let hosts = json!({"path": HOSTS_DIRECTORY, "type": "DirectoryOrCreate"});
        let mut volumes = vec![json!({"name": "hosts", "hostPath": hosts})];
        if let Some((parent, directory)) = data.and_then(|d| Some((d.parent()?, d.file_name()?))) {
            // Nobody can remove the folder that is mounted, so the one above it is.
            args.push(format!("--data=/parent/{}", directory.to_string_lossy()));
            mounts.push(json!({"name": "parent", "mountPath": "/parent"}));
            volumes.push(json!({"name": "parent", "hostPath": {"path": parent}}));
        }
        object(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels(Self::COMPONENT)},
            "spec": {
                "nodeName": node,
                "tolerations": [{"operator": "Exists"}],
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "leave",
                    "image": self.image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": args,
                    "securityContext": {
                        "runAsUser": 0,
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
                    },
                    "volumeMounts": mounts,
                }],
                "volumes": volumes,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered() {
        let leaving = Leaving {
            image: "registry.example.com/wharf:0.1.0".into(),
            port: 5055,
        };
        let pod = leaving.pod("leave-0", "node-1", Some(Path::new("/srv/images")));
        insta::assert_snapshot!(serde_json::to_string_pretty(&pod.unwrap()).unwrap());
    }
}
