#!/bin/sh
# kind's own script (https://kind.sigs.k8s.io/docs/user/local-registry/), with a second node, and with names, the registry's image and the
# node image given from outside.
set -o errexit

# 1. Create registry container unless it already exists
if [ "$(docker inspect -f '{{.State.Running}}' "${reg_name}" 2>/dev/null || true)" != 'true' ]; then
  docker run \
    -d --restart=always -p "127.0.0.1:${reg_port}:5000" --network bridge --name "${reg_name}" \
    "${reg_image}"
fi

# 2. Create kind cluster with containerd registry config dir enabled
cat <<YAML | kind create cluster --name "${cluster_name}" ${node_image:+--image "${node_image}"} --config=-
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
- role: worker
containerdConfigPatches:
- |-
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
YAML

# 3. Add the registry config to the nodes
#
# This is necessary because localhost resolves to loopback addresses that are network-namespace local. In other words: localhost in the
# container is not localhost on the host. We want a consistent name that works from both ends, so we tell containerd to alias
# localhost:${reg_port} to the registry container when pulling images
REGISTRY_DIR="/etc/containerd/certs.d/localhost:${reg_port}"
for node in $(kind get nodes --name "${cluster_name}"); do
  docker exec "${node}" mkdir -p "${REGISTRY_DIR}"
  cat <<TOML | docker exec -i "${node}" cp /dev/stdin "${REGISTRY_DIR}/hosts.toml"
[host."http://${reg_name}:5000"]
TOML
done

# 4. Connect the registry to the cluster network if not already connected. This allows kind to bootstrap the network but ensures they're on
# the same network
if [ "$(docker inspect -f='{{json .NetworkSettings.Networks.kind}}' "${reg_name}")" = 'null' ]; then
  docker network connect "kind" "${reg_name}"
fi

# 5. Document the local registry
# https://github.com/kubernetes/enhancements/tree/master/keps/sig-cluster-lifecycle/generic/1755-communicating-a-local-registry
cat <<YAML | kubectl --context "kind-${cluster_name}" apply -f -
apiVersion: v1
kind: ConfigMap
metadata:
  name: local-registry-hosting
  namespace: kube-public
data:
  localRegistryHosting.v1: |
    host: "localhost:${reg_port}"
    help: "https://kind.sigs.k8s.io/docs/user/local-registry/"
YAML
