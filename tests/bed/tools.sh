#!/bin/bash
# Makes the named command-line tools of the bed: kind, minikube, crane, regctl, helm, distribution and the nodes' containerd from Go
# modules, kubectl from Kubernetes', the others from Debian.
#   tools.sh kind|minikube|crane|regctl|helm|kubectl|node-containerd|distribution|skopeo|buildah|podman|containerd|mkfs.xfs|strace|curl|wrk|nginx...
# shellcheck source=tests/bed/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
here=$(dirname "$(readlink -f "$0")")
# Not in versions.sh, which is part of the recipe of images: they would be made again for nothing.
readonly REGCTL=v0.11.7 DISTRIBUTION=v3.1.2 HELM=v3.22.0

# In node-bin, which is not on PATH: `registry` is what many programs could be called.
distribution() {
  if [ -x "$WHARF_BED/node-bin/registry" ] && ! command -v go; then return; fi
  # shellcheck source=tests/bed/go.sh
  . "$here/go.sh"
  local d=github.com/distribution/distribution/v3
  built "$WHARF_BED/node-bin/registry" $d "$DISTRIBUTION" || step "building distribution $DISTRIBUTION" install_program "$WHARF_BED/node-bin" $d/cmd/registry "$DISTRIBUTION"
}

go_tool() { # NAME MODULE PACKAGE VERSION
  # A cache from elsewhere serves a machine without Go.
  if [ -x "$WHARF_BED/bin/$1" ] && ! command -v go; then return; fi
  # shellcheck source=tests/bed/go.sh
  . "$here/go.sh"
  built "$WHARF_BED/bin/$1" "$2" "$4" || step "building $1 $4" install_program "$WHARF_BED/bin" "$3" "$4"
}

minikube() {
  if [ -x "$WHARF_BED/bin/minikube" ] && ! command -v go; then return; fi
  # shellcheck source=tests/bed/minikube.sh
  . "$here/minikube.sh"
  built "$WHARF_BED/bin/minikube" k8s.io/minikube "$MINIKUBE" || step "building minikube $MINIKUBE (about a minute)" minikube_program
}

kubectl() {
  if [ -x "$WHARF_BED/bin/kubectl" ] && ! command -v go; then return; fi
  # shellcheck source=tests/bed/go.sh
  . "$here/go.sh"
  built "$WHARF_BED/node-bin/kubectl" k8s.io/kubernetes "$KUBERNETES" || step "building kubectl $KUBERNETES (about 2 minutes)" build_kubernetes kubectl
  ln -sf ../node-bin/kubectl "$WHARF_BED/bin/kubectl"
}

# Unpacked and not installed: Debian's package would start a server on port 80.
unpack_nginx() {
  install_packages libcrypt1 libpcre2-8-0 libssl3 zlib1g
  local packages
  packages=$(mktemp -d)
  # As another user, apt could not write there.
  (cd "$packages" && apt-get download -o APT::Sandbox::User=root nginx)
  dpkg-deb --extract "$packages"/nginx_*.deb "$WHARF_BED/nginx"
  rm -r "$packages"
  ln -sf ../nginx/usr/sbin/nginx "$WHARF_BED/bin/nginx"
}

# With its client. In node-bin, which is not on PATH: the machine's own are of another release.
node_containerd() {
  if [ -x "$WHARF_BED/node-bin/containerd" ] && ! command -v go; then return; fi
  # shellcheck source=tests/bed/go.sh
  . "$here/go.sh"
  local c=github.com/containerd/containerd/v2 bin=$WHARF_BED/node-bin
  built "$bin/containerd" $c "$CONTAINERD" || step "building containerd $CONTAINERD" build_programs "$bin" $c "$CONTAINERD" $c/cmd/{ctr,containerd-shim-runc-v2,containerd} </dev/null
}

for tool; do
  case $tool in
    kind) go_tool kind sigs.k8s.io/kind sigs.k8s.io/kind "$KIND" ;;
    crane) go_tool crane github.com/google/go-containerregistry github.com/google/go-containerregistry/cmd/crane "$CRANE" ;;
    minikube) minikube ;;
    kubectl) kubectl ;;
    distribution) distribution ;;
    nginx) "$WHARF_BED/bin/nginx" -v || step "unpacking nginx from Debian" unpack_nginx ;;
    regctl) go_tool regctl github.com/regclient/regclient github.com/regclient/regclient/cmd/regctl "$REGCTL" ;;
    helm) go_tool helm helm.sh/helm/v3 helm.sh/helm/v3/cmd/helm "$HELM" ;;
    node-containerd) node_containerd ;;
    # Without what Debian recommends beside them, such as a second runtime and network plugins: nothing is run with them.
    skopeo | buildah | podman | containerd | strace | curl | wrk) step "installing $tool from Debian" install_packages "$tool" ;;
    mkfs.xfs) step "installing xfsprogs from Debian" install_packages xfsprogs ;;
    *) fail "no such tool: $tool" ;;
  esac
done
