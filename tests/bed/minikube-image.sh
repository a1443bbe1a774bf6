#!/bin/bash
# Makes a node image for minikube's docker driver with containerd, from the bed's node image for kind and Debian's packages, for machines
# that reach no image registry or on which minikube's own image cannot run. About a minute.
#   minikube-image.sh IMAGE KIND_NODE_IMAGE
# What minikube expects of a node: sshd and a user `docker` who may use sudo, systemd as the first process, /version.json, crictl, its own
# containerd.toml (it edits that file by pattern), and the control plane's images already in containerd.
# shellcheck source=tests/bed/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/bed/minikube.sh
. "$here/minikube.sh"
# shellcheck source=tests/bed/oci.sh
. "$here/oci.sh"
image=$1 kind_node=$2 root=$WHARF_BED/rootfs-minikube

debian_root() {
  rm -rf "$root"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates,iptables,nftables,iproute2,ethtool,ebtables,conntrack,socat,kmod,jq,runc,containernetworking-plugins,curl,procps,openssh-server,sudo,lz4,rsync,netcat-openbsd,iputils-ping,dnsutils "$DEBIAN" "$root"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/* "$root"/var/log/*.log
}

node() {
  local source unit
  source=$(minikube_source)/deploy/kicbase
  mkdir -p "$root"/kind "$root"/etc/kubernetes/manifests "$root"/etc/containerd/certs.d "$root"/opt/cni "$root"/home/docker/.ssh
  ln -sfn /usr/lib/cni "$root/opt/cni/bin"
  install -m 755 "$WHARF_BED/node-bin/crictl" "$root/usr/local/bin/"
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

# The programs and the filled store of kind's node: its layers are there already.
finish() {
  docker build -q -t "$image" - <<DOCKERFILE
FROM $image-base
COPY --from=$kind_node /usr/local/bin/ /usr/local/bin/
COPY --from=$kind_node /usr/local/sbin/runc /usr/local/sbin/runc
COPY --from=$kind_node /usr/bin/kubectl /usr/bin/kubectl
COPY --from=$kind_node /var/lib/containerd /var/lib/containerd
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
DOCKERFILE
  docker rmi "$image-base"
}

for needed in jq debootstrap; do
  command -v $needed >/dev/null || { step "installing jq and debootstrap" install_packages jq debootstrap; break; }
done
built "$WHARF_BED/node-bin/crictl" sigs.k8s.io/cri-tools "$CRICTL" || step "building crictl $CRICTL" crictl_program
step "installing Debian $DEBIAN for minikube's node (about half a minute)" debian_root
step "packing minikube's node" node
step "importing minikube's node" docker_import "$root" "$image-base"
step "finishing $image" finish
rm -rf "$root"
