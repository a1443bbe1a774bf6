# shellcheck shell=bash
# Sourced: images from directories.
readonly NODE_PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin

# docker_import DIR IMAGE [CHANGE...]: an image with DIR as its only layer.
docker_import() {
  local dir=$1 image=$2 change changes=()
  shift 2
  for change in "ENV PATH=$NODE_PATH" "$@"; do changes+=(--change "$change"); done
  tar -C "$dir" --numeric-owner -c . | docker import "${changes[@]}" - "$image"
}

# archive FILE IMAGE DIR ENTRYPOINT: the same as a FILE that `ctr images import` reads. Docker never sees it: these names
# are Kubernetes' own, and an image that somebody pulled under one of them must not change.
archive() {
  local file=$1 image=$2 dir=$3 entrypoint=$4 packed
  packed=$(mktemp -d -p "$WHARF_BED")
  tar -C "$dir" --numeric-owner --owner=0 --group=0 -cf "$packed/layer.tar" .
  jq -nc --arg path "$NODE_PATH" --arg entrypoint "$entrypoint" --arg arch "$(go env GOARCH)" --arg layer "$(sha256sum < "$packed/layer.tar" | cut -d' ' -f1)" '{
    architecture: $arch, os: "linux",
    config: {Env: ["PATH=" + $path], Entrypoint: [$entrypoint]},
    rootfs: {type: "layers", diff_ids: ["sha256:" + $layer]}}' > "$packed/config.json"
  jq -nc --arg image "$image" '[{Config: "config.json", RepoTags: [$image], Layers: ["layer.tar"]}]' > "$packed/manifest.json"
  tar -C "$packed" -cf "$file" manifest.json config.json layer.tar
  rm -rf "$packed"
}
