//! The names that wharf gives to things, each in one place, because they are found again by them.

/// The namespace of everything that wharf installs.
pub(crate) const NAMESPACE: &str = "wharf-system";
/// The Deployment and the Service of the registry.
pub(crate) const REGISTRY: &str = "registry";
/// The DaemonSet that makes `localhost:PORT` true on every node.
pub(crate) const RELAY: &str = "relay";
/// The PersistentVolumeClaim for the images, where a volume of the cluster's keeps them.
pub(crate) const CLAIM: &str = "data";
/// The ConfigMap in which an environment describes itself.
pub(crate) const ENVIRONMENT: &str = "environment";
/// In that ConfigMap: who made the cluster.
pub(crate) const CREATED_BY: &str = "createdBy";
/// In that ConfigMap: who uses a cluster that somebody else has made.
pub(crate) const ADOPTED_BY: &str = "adoptedBy";
/// In that ConfigMap: which version of what runs `wharf up` has applied last.
pub(crate) const APPLIED: &str = "applied";
/// The Service's port, whatever the port that `localhost` has.
pub(crate) const SERVICE_PORT: u16 = 5000;
/// Who owns the fields that wharf applies, and the value of `app.kubernetes.io/managed-by`.
pub(crate) const MANAGER: &str = "wharf";
/// The label by which wharf knows its own objects.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Where every node has the data directory; on a cluster that somebody else made, its first node has one of its own.
pub(crate) const NODE_DATA: &str = "/var/lib/wharf";
/// The repository of wharf's own image, in the nodes and in the registry.
pub(crate) const IMAGE_REPOSITORY: &str = "wharf/wharf";
/// The repository of the image that proves the way from the host to every node.
pub(crate) const PROBE_REPOSITORY: &str = "wharf/probe";
/// Where containerd looks for what a registry's name means.
pub(crate) const HOSTS_DIRECTORY: &str = "/etc/containerd/certs.d";

/// What the user types and what pods name: the registry as the host and every node see it.
pub(crate) fn registry_host(port: u16) -> String {
    format!("localhost:{port}")
}
