#!/bin/bash
# Makes node images for minikube's docker driver, from the bed's node image for kind and Debian's packages, for machines that reach no
# image registry or on which minikube's own image cannot run: IMAGE for nodes with containerd, and IMAGE-docker for those with a Docker
# Engine. Each has the control plane's images where its nodes look for them: with both, each start of a node would copy them twice.
#   minikube-image.sh IMAGE KIND_NODE_IMAGE
# What minikube expects of a node: sshd and a user `docker` who may use sudo, systemd as the first process, /version.json, crictl, its own
# containerd.toml (it edits that file by pattern); dockerd, whose unit it writes itself, and cri-dockerd with its units.
# shellcheck source=tests/bed/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/bed/minikube.sh
. "$here/minikube.sh"
# shellcheck source=tests/bed/oci.sh
. "$here/oci.sh"
image=$1 kind_node=$2 root=$WHARF_BED/rootfs-minikube store=$WHARF_BED/store-minikube
preload=wharf-test-preload-docker

debian_root() {
  rm -rf "$root"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates,iptables,nftables,iproute2,ethtool,ebtables,conntrack,socat,kmod,jq,runc,containernetworking-plugins,curl,procps,openssh-server,sudo,lz4,rsync,netcat-openbsd,iputils-ping,dnsutils,docker.io "$DEBIAN" "$root"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/* "$root"/var/log/*.log
  # Kind's is the one that runs.
  rm -f "$root"/usr/bin/{containerd*,ctr}
}

node() {
  local source unit
  source=$(minikube_source)/deploy/kicbase
  mkdir -p "$root"/kind "$root"/etc/kubernetes/manifests "$root"/etc/containerd/certs.d "$root"/opt/cni "$root"/home/docker/.ssh
  ln -sfn /usr/lib/cni "$root/opt/cni/bin"
  # Where minikube's unit has it.
  ln -s ../sbin/dockerd "$root/usr/bin/dockerd"
  install -m 755 "$WHARF_BED/node-bin/crictl" "$root/usr/local/bin/"
  install -m 755 "$WHARF_BED/node-bin/cri-dockerd" "$root/usr/bin/"
  install -m 644 "$(cri_dockerd_source)"/packaging/systemd/cri-docker.{service,socket} "$root/lib/systemd/system/"
  cp "$source/containerd.toml" "$root/etc/containerd/config.toml"
  cp "$source/10-network-security.conf" "$root/etc/sysctl.d/"
  install -m 644 "$here"/node/{containerd,pod-network}.service "$root/lib/systemd/system/"
  # Nothing of a machine that a container is not, and nothing that minikube is to start itself.
  (cd "$root/lib/systemd/system" && rm -f multi-user.target.wants/* local-fs.target.wants/* basic.target.wants/* sockets.target.wants/*{udev,initctl}* sysinit.target.wants/systemd-tmpfiles-setup.service)
  rm -f "$root"/etc/systemd/system/*.wants/*
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  for unit in ssh pod-network; do ln -s "/lib/systemd/system/$unit.service" "$root/etc/systemd/system/multi-user.target.wants/"; done
  for unit in systemd-binfmt udev; do ln -sf /dev/null "$root/etc/systemd/system/$unit.service"; done
  echo ReadKMsg=no >> "$root/etc/systemd/journald.conf"
  printf 'PubkeyAcceptedAlgorithms +ssh-rsa\nHostkeyAlgorithms +ssh-rsa\nPasswordAuthentication no\n' >> "$root/etc/ssh/sshd_config"
  # minikube names machines in /etc/hosts that no DNS knows.
  sed -i 's/^hosts:.*/hosts: files dns/' "$root/etc/nsswitch.conf"
  chroot "$root" sh -c 'groupadd -f docker && useradd -m -s /bin/bash -g docker -G sudo docker && passwd -d docker && chown -R docker:docker /home/docker'
  echo '%sudo ALL=(ALL) NOPASSWD:ALL' > "$root/etc/sudoers.d/sudo"
  chmod 440 "$root/etc/sudoers.d/sudo"
  printf '{"minikube_version": "%s"}\n' "$MINIKUBE" > "$root/version.json"
}

# The programs of kind's node: its layers are there already.
programs() {
  docker build -q -t "$image-programs" - <<DOCKERFILE
FROM $image-base
COPY --from=$kind_node /usr/local/bin/ /usr/local/bin/
COPY --from=$kind_node /usr/local/sbin/runc /usr/local/sbin/runc
COPY --from=$kind_node /usr/bin/kubectl /usr/bin/kubectl
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
DOCKERFILE
}

with_containerd() {
  docker build -q -t "$image" - <<DOCKERFILE
FROM $image-programs
COPY --from=$kind_node /var/lib/containerd /var/lib/containerd
DOCKERFILE
}

# Runs the node's own engine once to fill its store from containerd's. That is in a directory of this machine: the engine's overlay2 does
# not work on the overlay that a container's own files are on. minikube gives its nodes a volume for /var.
fill_store() {
  local names
  docker rm -f $preload || true
  rm -rf "$store" && mkdir -p "$store"
  docker run -d --name $preload --privileged -v "$store:/var/lib/docker" --entrypoint /usr/local/bin/containerd "$image"
  for _ in $(seq 100); do docker exec $preload ctr version && break; sleep 0.2; done
  docker exec -d $preload dockerd --containerd=/run/containerd/containerd.sock --storage-driver=overlay2 --bridge=none --iptables=false
  for _ in $(seq 100); do docker exec $preload docker version && break; sleep 0.2; done
  names=$(docker exec $preload ctr -n k8s.io images ls -q | grep /)
  # shellcheck disable=SC2086 # several
  docker exec $preload ctr -n k8s.io images export /var/lib/docker/all.tar $names
  docker exec $preload docker load -q -i /var/lib/docker/all.tar
  docker exec $preload pkill -x dockerd
  for _ in $(seq 100); do docker exec $preload pgrep -x dockerd || break; sleep 0.2; done
  docker rm -f $preload
}

# Of the store only what is of images: the rest is of the engine that ran.
with_docker() {
  tar -C "$store" --numeric-owner -c image overlay2 | docker import - "$image-store"
  docker build -q -t "$image-docker" - <<DOCKERFILE
FROM $image-programs
COPY --from=$image-store / /var/lib/docker/
DOCKERFILE
  # Only these names go; the layers belong to the images now.
  docker rmi "$image-base" "$image-programs" "$image-store"
}

for needed in jq debootstrap; do
  command -v $needed >/dev/null || { step "installing jq and debootstrap" install_packages jq debootstrap; break; }
done
built "$WHARF_BED/node-bin/crictl" sigs.k8s.io/cri-tools "$CRICTL" || step "building crictl $CRICTL" crictl_program
built "$WHARF_BED/node-bin/cri-dockerd" $CRI_DOCKERD_MODULE "$CRI_DOCKERD" || step "building cri-dockerd $CRI_DOCKERD" cri_dockerd_program
step "installing Debian $DEBIAN for minikube's node (about half a minute)" debian_root
step "packing minikube's node" node
step "importing minikube's node" docker_import "$root" "$image-base"
step "adding the programs of kind's node" programs
step "finishing $image" with_containerd
step "loading the control plane's images into a Docker Engine" fill_store
step "finishing $image-docker" with_docker
rm -rf "$root" "$store"
