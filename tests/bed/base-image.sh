#!/bin/bash
# Makes a base image that an example's Dockerfile names, from Debian's packages, for machines that reach no image registry. The
# same Dockerfile then builds with it as with the published one.
#   base-image.sh python:3-slim
# shellcheck source=tests/bed/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/bed/oci.sh
. "$(dirname "$(readlink -f "$0")")/oci.sh"
image=$1 root=$WHARF_BED/rootfs-${1//[:\/]/-}

# debian_with PACKAGES: a small Debian with these, in $root.
debian_with() {
  command -v debootstrap >/dev/null || install_packages debootstrap
  rm -rf "$root"
  debootstrap --variant=minbase --include="$1" "$DEBIAN" "$root"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/* "$root"/var/log/*.log
}

case $image in
  python:3-slim)
    # Not python3-minimal, which lacks the http module.
    step "installing Debian's Python for $image (about half a minute)" debian_with python3,ca-certificates
    # The published image calls it `python` as well.
    ln -sf /usr/bin/python3 "$root/usr/local/bin/python"
    step "importing $image" docker_import "$root" "$image" 'ENV LANG=C.UTF-8' 'CMD ["python3"]' 'LABEL wharf.test-bed=true'
    ;;
  *) fail "no recipe for the base image $image" ;;
esac
# The image is saved beside it, so the directory is of no more use.
rm -rf "$root"
