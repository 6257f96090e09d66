#!/usr/bin/env bash
# Two pretended hosts on this machine for tests: tests/two_hosts.sh up|down|run WORDS... ; run starts
# `mpirun WORDS...` on the first of them, ha, which reaches the second, hb, by ssh and TCP alone.
# Needs root, iproute2 and openssh-server. TWO_HOSTS_DIR holds everything (default /tmp/xcsct-hosts); the
# network is TWO_HOSTS_NET (default 10.78.0).
set -euo pipefail
dir=${TWO_HOSTS_DIR:-/tmp/xcsct-hosts} net=${TWO_HOSTS_NET:-10.78.0}
names=(ha hb)

# A network namespace with a cable to the bridge; in it sshd, under a host name and with a /dev/shm of its own.
host_up() {
  local name=$1 number=$2
  ip netns add "xcsct-$name"
  ip link add "xv$name" type veth peer name eth0 netns "xcsct-$name"
  ip link set "xv$name" master xcsctbr up
  ip -n "xcsct-$name" addr add "$net.$number/24" dev eth0
  ip -n "xcsct-$name" link set eth0 up
  ip -n "xcsct-$name" link set lo up
  cat >"$dir/sshd.$name" <<CONF
Port 22
ListenAddress $net.$number
HostKey $dir/hostkey
AuthorizedKeysFile $dir/authorized
PidFile $dir/$name.pid
StrictModes no
PermitRootLogin yes
UsePAM no
CONF
  ip netns exec "xcsct-$name" unshare -m -u sh -ec "hostname $name
    mount --bind '$dir/hosts' /etc/hosts
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    exec /usr/sbin/sshd -f '$dir/sshd.$name'"
}

up() {
  mkdir -p "$dir" /run/sshd
  for key in id hostkey; do
    rm -f "$dir/$key" "$dir/$key.pub"
    ssh-keygen -q -t ed25519 -N '' -f "$dir/$key"
  done
  cp "$dir/id.pub" "$dir/authorized"
  chmod 600 "$dir/authorized"
  printf '127.0.0.1 localhost\n%s.1 ha\n%s.2 hb\n' "$net" "$net" >"$dir/hosts"
  printf '#!/bin/sh\nexec ssh -q -i %s/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "$@"\n' \
    "$dir" >"$dir/ssh"
  chmod +x "$dir/ssh"
  ip link add xcsctbr type bridge
  ip addr add "$net.254/24" dev xcsctbr
  ip link set xcsctbr up
  for i in 0 1; do host_up "${names[i]}" $((i + 1)); done
  for ((i = 0; i < 50; i++)); do "$dir/ssh" "$net.2" true 2>/dev/null && return; sleep 0.1; done
  return 1
}

run() {
  local words here settings
  words=$(printf '%q ' "$@") here=$(printf '%q' "$PWD")
  settings="OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1"
  "$dir/ssh" "$net.1" "cd $here && $settings mpirun --mca plm_rsh_agent $dir/ssh --mca btl self,vader,tcp \
    --mca btl_tcp_if_include $net.0/24 --mca oob_tcp_if_include $net.0/24 --mca hwloc_base_binding_policy none $words"
}

down() {
  for name in "${names[@]}"; do
    [ -r "$dir/$name.pid" ] && kill "$(cat "$dir/$name.pid")" 2>/dev/null || true
    ip netns del "xcsct-$name" 2>/dev/null || true
  done
  ip link del xcsctbr 2>/dev/null || true
  rm -rf "$dir"
}

case ${1:-} in
up | down) "$1" ;;
run) shift; run "$@" ;;
*) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
esac
