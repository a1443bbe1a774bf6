# shellcheck shell=bash
# Sourced by every script of the test bed: where things are kept, how progress is told.
set -euo pipefail

# The caller names the cache directory; everything that costs time to make is kept below it and reused.
: "${WHARF_BED:=$HOME/.cache/wharf-test-bed}"
mkdir -p "$WHARF_BED"/{bin,node-bin,modules,saved,log}

# shellcheck source=tests/bed/versions.sh
. "$(dirname "${BASH_SOURCE[0]}")/versions.sh"

# What commands have to say goes to a log; people see one line when a step starts and one when it ends.
LOG=$WHARF_BED/log/$(basename "$0" .sh).log
exec 3>&2 2>"$LOG" >&2

say() { echo "bed: $*" >&3; }

fail() {
  say "$*"
  trap - EXIT
  exit 1
}
trap '[ $? = 0 ] || say "failed; the whole output is in $LOG"' EXIT

# step WHAT COMMAND...
step() {
  local what=$1 start=$SECONDS
  shift
  say "$what ..."
  echo "== $what" >&2
  # Not `if "$@"`: bash would then ignore `set -e` inside the function that is called.
  "$@"
  say "$what: $((SECONDS - start)) s"
}

# install_packages PACKAGE...: Debian packages, with a package list that a minimal machine may not have yet.
install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  # Another program may be holding dpkg's lock, as unattended upgrades do after a boot.
  local options=(-y -qq --no-install-recommends -o DPkg::Lock::Timeout=120)
  apt-get install "${options[@]}" "$@" || { apt-get update -qq && apt-get install "${options[@]}" "$@"; }
}
