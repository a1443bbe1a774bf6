# shellcheck shell=bash
# Sourced: builds programs from Go modules, which reach machines that no release page and no image registry does.
command -v go >/dev/null || fail "the test bed builds kind, crane and Kubernetes with Go: install Go 1.25 or later (https://go.dev/doc/install), or put kind and crane on PATH"
export GOFLAGS="-mod=mod -buildvcs=false" CGO_ENABLED=0

# built FILE MODULE VERSION: whether FILE was built from that version of that module. Go writes it into each program, so an old cache
# is noticed whatever made it.
built() { [ -x "$1" ] && go version -m "$1" | awk -v m="$2" -v v="$3" '$2 == m && $3 == v {found = 1} END {exit !found}'; }

# install_program DIR PACKAGE VERSION
install_program() { GOBIN=$1 go install -trimpath -ldflags "-s -w" "$2@$3"; }

# build_programs DIR MODULE VERSION PACKAGE...: for modules that `go install` refuses, because their go.mod has `replace` or `exclude`
# lines. A module of our own requires them instead; more lines for its go.mod come on standard input, further flags in TAGS and LDFLAGS.
build_programs() {
  local out=$1 module=$2 version=$3 name
  shift 3
  name=$(sed -E 's,/v[0-9]+$,,' <<<"$module")
  local dir=$WHARF_BED/modules/${name##*/}
  mkdir -p "$dir"
  { printf 'module bed\ngo 1.25.0\nrequire %s %s\n' "$module" "$version"; cat; } > "$dir/go.mod"
  { printf '//go:build tools\npackage bed\n'; printf 'import _ "%s"\n' "$@"; } > "$dir/tools.go"
  # containerd: without the snapshotters that need C libraries. Kubernetes: its version is not in its source.
  (cd "$dir" && go mod tidy && go build -trimpath -tags "no_btrfs no_devmapper no_zfs ${TAGS:-}" -o "$out/" -ldflags "-s -w
    -X github.com/containerd/containerd/v2/version.Version=$CONTAINERD
    -X k8s.io/component-base/version.gitVersion=$KUBERNETES -X k8s.io/client-go/pkg/version.gitVersion=$KUBERNETES
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34 ${LDFLAGS:-}" "$@")
}

# build_kubernetes PROGRAM...: into node-bin. Kubernetes' go.mod takes its own libraries from its source tree; outside of it they are
# modules, released with the same number as v0.
build_kubernetes() {
  local program missing=()
  for program; do
    built "$WHARF_BED/node-bin/$program" k8s.io/kubernetes "$KUBERNETES" || missing+=("k8s.io/kubernetes/cmd/$program")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local library libraries="api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap
    code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib
    dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler
    kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin sample-controller"
  for library in $libraries; do echo "replace k8s.io/$library => k8s.io/$library v0.${KUBERNETES#v1.}"; done |
    build_programs "$WHARF_BED/node-bin" k8s.io/kubernetes "$KUBERNETES" "${missing[@]}"
}
