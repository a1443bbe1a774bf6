#!/bin/bash
# Installs a Docker Engine on a Debian, if there is none, and starts it. Called as root, when no engine answers.
# shellcheck source=tests/bed/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
here=$(dirname "$(readlink -f "$0")")

install_engine() {
  # jq is for the wrapper around runc.
  install_packages docker.io iptables jq procps
  # Later releases of Debian have the client in a package of its own.
  command -v docker || install_packages docker-cli
}

# A sandbox may withhold CAP_SYS_RESOURCE, and runc then refuses to start a privileged container, because it cannot grant what is
# asked for. There runc runs behind a wrapper that asks for no more than this machine has.
bound_runtime() {
  local bounding
  bounding=$((0x$(awk '/^CapBnd/ {print $2}' /proc/self/status)))
  [ $((bounding >> 24 & 1)) = 0 ] || return 0
  install -m 755 "$here/node/runc" /usr/local/sbin/runc-bounded
  # Somebody's own configuration is left alone.
  [ -e /etc/docker/daemon.json ] && return 0
  mkdir -p /etc/docker
  cat > /etc/docker/daemon.json <<'JSON'
{"runtimes": {"bounded": {"path": "/usr/local/sbin/runc-bounded"}}, "default-runtime": "bounded"}
JSON
}

# running PROGRAM: the ids of its living processes. Dead ones that nobody has reaped, as under the poor first process of a container,
# do not count.
running() { pgrep -x --runstates D,R,S,T "$1"; }

# A killed dockerd leaves the files with its own and its containerd's process id. Where these ids now belong to other programs,
# the next dockerd takes them for its predecessor and refuses to start, or waits for a containerd that is none.
forget_the_dead() {
  local program file
  while read -r program file; do
    [ -e "$file" ] || continue
    running "$program" | grep -qx "$(cat "$file")" || rm -f "$file"
  done <<'FILES'
dockerd /var/run/docker.pid
containerd /var/run/docker/containerd/containerd.pid
FILES
}

# An engine whose data was deleted leaves rules for bridges that are gone. On the next bridge of the same subnet they would give every
# neighbour the gateway's address.
forget_lost_bridges() {
  local rule bridge
  iptables --table nat --list-rules POSTROUTING | awk '/ ! -o br-[0-9a-f]+ -j MASQUERADE$/' | while read -r _ rule; do
    bridge=${rule#* ! -o }
    # shellcheck disable=SC2086 # a rule is many words
    [ -e "/sys/class/net/${bridge%% *}" ] || iptables --table nat --delete $rule
  done
}

# answers WITHIN: whether the engine answers within so many seconds. Not `docker version`, which answers while every question about a
# container still hangs.
answers() {
  local deadline=$((SECONDS + $1))
  while running dockerd && [ $SECONDS -lt $deadline ]; do
    timeout 5 docker ps --all && return 0
    sleep 0.2
  done
  return 1
}

# A dockerd that the bed itself started and that does not answer is ended; anybody else's is not ours to judge.
end_our_hung_engine() {
  local ours pids
  pids=$(running dockerd) || return 0
  ours=$(cat "$WHARF_BED/dockerd.pid" 2>/dev/null || true)
  [ "$pids" = "$ours" ] || fail "dockerd runs (process $pids) but does not answer, and the test bed did not start it; restart it and try again"
  say "dockerd (process $ours) hangs: ending it"
  kill "$ours"
  for _ in $(seq 50); do running dockerd || return 0; sleep 0.2; done
  kill -KILL "$ours" || true
  sleep 0.5
}

start_engine() {
  if [ -d /run/systemd/system ]; then
    systemctl start docker
  else
    forget_the_dead
    forget_lost_bridges
    # A session of its own, and none of our descriptors: neither the end of this script nor Ctrl-C in it stops the engine, and nobody
    # waits for a pipe that it would hold open.
    setsid dockerd >"$WHARF_BED/log/dockerd.log" 2>&1 </dev/null 3>&- &
    echo $! > "$WHARF_BED/dockerd.pid"
    sleep 0.2
  fi
  # It restores containers first, which can take a while after a crash.
  answers 60 && return 0
  tail -n 5 "$WHARF_BED/log/dockerd.log" >&3 || true
  fail "dockerd did not start; its log is $WHARF_BED/log/dockerd.log, or journalctl -u docker"
}

# Before the installation, which starts an engine where there is an init system.
bound_runtime
if ! command -v dockerd || ! command -v docker; then step "installing Docker Engine from Debian" install_engine; fi
command -v jq || step "installing jq" install_packages jq
if running dockerd && answers 10; then exit 0; fi
end_our_hung_engine
step "starting Docker Engine" start_engine
