#!/bin/bash
# Makes the named command-line tools of the bed: kind and crane from Go modules, kubectl from Kubernetes', skopeo from Debian.
#   tools.sh kind|crane|kubectl|skopeo...
# shellcheck source=tests/bed/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
here=$(dirname "$(readlink -f "$0")")

go_tool() { # NAME MODULE PACKAGE VERSION
  # A cache from elsewhere serves a machine without Go.
  if [ -x "$WHARF_BED/bin/$1" ] && ! command -v go; then return; fi
  # shellcheck source=tests/bed/go.sh
  . "$here/go.sh"
  built "$WHARF_BED/bin/$1" "$2" "$4" || step "building $1 $4" install_program "$WHARF_BED/bin" "$3" "$4"
}

kubectl() {
  if [ -x "$WHARF_BED/bin/kubectl" ] && ! command -v go; then return; fi
  # shellcheck source=tests/bed/go.sh
  . "$here/go.sh"
  built "$WHARF_BED/node-bin/kubectl" k8s.io/kubernetes "$KUBERNETES" || step "building kubectl $KUBERNETES (about 2 minutes)" build_kubernetes kubectl
  ln -sf ../node-bin/kubectl "$WHARF_BED/bin/kubectl"
}

for tool; do
  case $tool in
    kind) go_tool kind sigs.k8s.io/kind sigs.k8s.io/kind "$KIND" ;;
    crane) go_tool crane github.com/google/go-containerregistry github.com/google/go-containerregistry/cmd/crane "$CRANE" ;;
    kubectl) kubectl ;;
    skopeo) step "installing skopeo from Debian" install_packages skopeo ;;
    *) fail "no such tool: $tool" ;;
  esac
done
