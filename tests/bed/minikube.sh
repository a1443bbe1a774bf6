# shellcheck shell=bash
# Sourced: the release of minikube, and what of it is built. Not in versions.sh, which is part of the recipe of kind's node image.
# shellcheck source=tests/bed/go.sh
. "$(dirname "${BASH_SOURCE[0]}")/go.sh"
# cri-dockerd is the newest release that works with Debian's Docker Engine: 0.4 wants API 1.42.
readonly MINIKUBE=v1.38.1 CRICTL=v1.34.0 CRI_DOCKERD=v0.3.17 CRI_DOCKERD_MODULE=github.com/Mirantis/cri-dockerd

# Its driver for virtual machines is C, and loads its library only when it is used.
minikube_program() {
  command -v gcc >/dev/null || install_packages gcc libc6-dev
  local v=k8s.io/minikube/pkg/version
  CGO_ENABLED=1 TAGS=libvirt_dlopen LDFLAGS="-X $v.version=$MINIKUBE -X $v.storageProvisionerVersion=v5" \
    build_programs "$WHARF_BED/bin" k8s.io/minikube "$MINIKUBE" k8s.io/minikube/cmd/minikube </dev/null
}

# The sources of the node's files.
minikube_source() { go mod download -json k8s.io/minikube@$MINIKUBE | jq -r .Dir; }

# With the libraries of the Kubernetes that the node runs, which are there already.
crictl_program() {
  local library
  for library in api apimachinery apiserver cli-runtime client-go component-base cri-api cri-client kubectl kubelet; do
    echo "replace k8s.io/$library => k8s.io/$library v0.${KUBERNETES#v1.}"
  done | GONOSUMDB=sigs.k8s.io/cri-tools build_programs "$WHARF_BED/node-bin" sigs.k8s.io/cri-tools "$CRICTL" sigs.k8s.io/cri-tools/cmd/crictl
}

cri_dockerd_source() { go mod download -json $CRI_DOCKERD_MODULE@$CRI_DOCKERD | jq -r .Dir; }

# What it replaces is in its own go.mod.
cri_dockerd_program() {
  sed -n '/^replace (/,$p' "$(cri_dockerd_source)/go.mod" |
    build_programs "$WHARF_BED/node-bin" $CRI_DOCKERD_MODULE "$CRI_DOCKERD" $CRI_DOCKERD_MODULE
}
