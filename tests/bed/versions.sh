# shellcheck shell=bash
# Sourced: one release of everything, chosen together. Kubernetes stays at 1.34 because 1.35 refuses cgroup v1, which is all that some
# sandboxes have; containerd is the release that kind's own images of that time carry.
# shellcheck disable=SC2034 # used by the scripts that source this
readonly KIND=v0.33.0 CRANE=v0.22.1 KUBERNETES=v1.34.4 CONTAINERD=v2.2.9 ETCD=v3.6.16 COREDNS=v1.14.7 DEBIAN=bookworm
