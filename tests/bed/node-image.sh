#!/bin/bash
# Builds a kind node image from Debian's packages and Go modules, for machines that reach no image registry or on which kind's own
# image cannot run. Needs root, a Docker Engine, Go and a C compiler. 8 to 12 minutes on 2 cores the first time.
#   node-image.sh IMAGE
# What kind expects of a node: the words `detected cgroup v1` or systemd's multi-user target in its log, /kind/version,
# /kind/manifests/default-cni.yaml, and the control plane's images already in containerd.
# shellcheck source=tests/bed/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/bed/go.sh
. "$here/go.sh"
# shellcheck source=tests/bed/oci.sh
. "$here/oci.sh"
image=$1 root=$WHARF_BED/rootfs bin=$WHARF_BED/node-bin work=$WHARF_BED/work
preload=wharf-test-preload

programs() {
  built "$bin/coredns" github.com/coredns/coredns "$COREDNS" || step "building CoreDNS $COREDNS" install_program "$bin" github.com/coredns/coredns "$COREDNS"
  built "$bin/etcd" go.etcd.io/etcd/server/v3 "$ETCD" || step "building etcd $ETCD" etcd
  local c=github.com/containerd/containerd/v2
  built "$bin/containerd" $c "$CONTAINERD" || step "building containerd $CONTAINERD" build_programs "$bin" $c "$CONTAINERD" $c/cmd/{ctr,containerd-shim-runc-v2,containerd} </dev/null
  local program kubernetes=(kubeadm kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl kubelet)
  for program in "${kubernetes[@]}"; do
    built "$bin/$program" k8s.io/kubernetes "$KUBERNETES" && continue
    step "building Kubernetes $KUBERNETES (the longest part by far: about 5 minutes on 2 cores)" build_kubernetes "${kubernetes[@]}"
    break
  done
}

etcd() {
  build_programs "$bin" go.etcd.io/etcd/server/v3 "$ETCD" go.etcd.io/etcd/server/v3 </dev/null
  mv "$bin/server" "$bin/etcd"
}

# The name and tag under which this Kubernetes looks for one of its images.
image_of() { "$bin/kubeadm" config images list --kubernetes-version "$KUBERNETES" | grep "/$1:"; }

control_plane_images() {
  local component
  for component in kube-apiserver kube-controller-manager kube-scheduler etcd coredns; do
    mkdir -p "$work/$component/usr/local/bin"
    cp "$bin/$component" "$work/$component/usr/local/bin/"
    # kubeadm names the program in the pods of the control plane, but not in CoreDNS's.
    archive "$work/archives/$component.tar" "$(image_of $component)" "$work/$component" "/usr/local/bin/$component"
  done
  mkdir -p "$work/pause"
  gcc -Os -static -s -o "$work/pause/pause" "$here/node/pause.c"
  archive "$work/archives/pause.tar" "$(image_of pause)" "$work/pause" /pause
  kube_proxy "$work/kube-proxy"
  archive "$work/archives/kube-proxy.tar" "$(image_of kube-proxy)" "$work/kube-proxy" /usr/local/bin/kube-proxy
}

# kube-proxy runs iptables. Its extensions need libraries that the program itself does not (libm for `statistic`); without them
# Services get no rules, and no error says so.
kube_proxy() { # DIR
  local to=$1 link file library name suffix
  mkdir -p "$to"/usr/{local/bin,bin,sbin,lib,lib64} "$to"/{etc,tmp,run,var}
  cp "$bin/kube-proxy" "$to/usr/local/bin/"
  for link in bin sbin lib lib64; do ln -s "usr/$link" "$to/$link"; done
  for file in usr/sbin/{xtables-nft-multi,xtables-legacy-multi,nft,conntrack} usr/bin/{bash,dash} $(cd "$root" && find usr/lib/*/xtables -name '*.so'); do
    mkdir -p "$to/$(dirname "$file")"
    cp -a "$root/$file" "$to/$file"
    chroot "$root" ldd "/$file" | grep -o '/[^ ]*' | while read -r library; do
      mkdir -p "$to$(dirname "$library")"
      cp -aLn "$root$library" "$to$library"
    done
  done
  ln -s dash "$to/usr/bin/sh"
  for name in iptables ip6tables; do for suffix in '' -save -restore; do
    ln -s xtables-nft-multi "$to/usr/sbin/$name$suffix"
    ln -s xtables-nft-multi "$to/usr/sbin/$name-nft$suffix"
    ln -s xtables-legacy-multi "$to/usr/sbin/$name-legacy$suffix"
  done; done
}

node() { # DIR
  local to=$1 unit
  cp -a "$root" "$to"
  rm -rf "$to"/var/cache/apt/* "$to"/var/lib/apt/lists/* "$to"/usr/share/{doc,man,locale}/*
  mkdir -p "$to"/kind/manifests "$to"/etc/kubernetes/manifests "$to"/etc/containerd/certs.d "$to/opt/cni"
  ln -sfn /usr/lib/cni "$to/opt/cni/bin"
  cp "$bin"/{kubeadm,kubelet,kubectl} "$to/usr/bin/"
  cp "$bin"/{containerd,ctr,containerd-shim-runc-v2} "$to/usr/local/bin/"
  install -m 755 "$here"/node/{entrypoint,pod-network} "$to/usr/local/bin/"
  install -m 755 "$here/node/runc" "$to/usr/local/sbin/runc"
  sed "s,@PAUSE@,$(image_of pause)," "$here/node/containerd.toml" > "$to/etc/containerd/config.toml"
  install -m 644 "$here"/node/*.service "$to/etc/systemd/system/"
  install -m 644 "$here/node/default-cni.yaml" "$to/kind/manifests/"
  printf %s "$KUBERNETES" > "$to/kind/version"
  # NodePorts on the node's own 127.0.0.1 need route_localnet, pods on other nodes need forwarding.
  printf 'net.ipv4.conf.all.route_localnet=1\nnet.ipv4.ip_forward=1\n' > "$to/etc/sysctl.d/10-node.conf"
  # Nothing of a machine that a container is not: no logins, no local mounts, no devices, no kernel log.
  (cd "$to/lib/systemd/system" && rm -f multi-user.target.wants/* local-fs.target.wants/* sockets.target.wants/*{udev,initctl}* sysinit.target.wants/systemd-tmpfiles-setup.service)
  rm -f "$to"/etc/systemd/system/*.wants/*
  ln -sf /dev/null "$to/etc/systemd/system/systemd-binfmt.service"
  echo ReadKMsg=no >> "$to/etc/systemd/journald.conf"
  mkdir -p "$to/etc/systemd/system/multi-user.target.wants"
  for unit in containerd kubelet pod-network; do ln -s "../$unit.service" "$to/etc/systemd/system/multi-user.target.wants/"; done
}

# Runs the node's own containerd once to fill its store, so that creating a cluster imports nothing.
load_control_plane() {
  local file
  docker rm -f $preload || true
  docker run -d --name $preload --privileged --entrypoint /usr/local/bin/containerd -v "$work/archives:/archives:ro" "$image-base"
  for _ in $(seq 100); do docker exec $preload ctr version && break; sleep 0.2; done
  for file in "$work"/archives/*.tar; do
    docker exec $preload ctr -n k8s.io images import --local --snapshotter overlayfs "/archives/${file##*/}"
  done
  docker stop -t 5 $preload
  docker commit $preload "$image-loaded"
  docker rm $preload
}

finish() {
  docker build -q -t "$image" - <<DOCKERFILE
FROM $image-loaded
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
DOCKERFILE
  # Only these names go; the layers belong to the image now.
  docker rmi "$image-base" "$image-loaded"
}

debian_root() {
  rm -rf "$root"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates,iptables,nftables,iproute2,ethtool,conntrack,socat,kmod,jq,runc,containernetworking-plugins,curl,procps $DEBIAN "$root"
  touch "$root/.done"
}

[ -x "$bin/kubelet" ] || say "a node image is built from source: 8 to 12 minutes on 2 cores, and only the first time"
for needed in jq gcc debootstrap; do
  command -v $needed >/dev/null || { step "installing jq, gcc and debootstrap" install_packages jq gcc libc6-dev debootstrap; break; }
done
programs
[ -e "$root/.done" ] || step "installing Debian $DEBIAN for the node" debian_root
rm -rf "$work" && mkdir -p "$work/archives"
step "packing the control plane's images" control_plane_images
step "packing the node" node "$work/node"
step "importing the node" docker_import "$work/node" "$image-base"
step "loading the control plane's images into the node" load_control_plane
step "finishing $image" finish
rm -rf "$work"
