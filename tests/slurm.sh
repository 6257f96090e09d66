#!/usr/bin/env bash
# A private SLURM on this machine for tests: tests/slurm.sh start|stop|env. Needs root, slurm-wlm and munge;
# no systemd, no cgroups. SLURM_TEST_DIR holds everything (default /tmp/xcsct-slurm), SLURM_TEST_NODES
# pretended nodes (2) with SLURM_TEST_CPUS processors each (4), SLURM_TEST_PORT the controller's port (17817).
set -euo pipefail
dir=${SLURM_TEST_DIR:-/tmp/xcsct-slurm}
nodes=${SLURM_TEST_NODES:-2} cpus=${SLURM_TEST_CPUS:-4} port=${SLURM_TEST_PORT:-17817}
host=$(hostname -s)
export SLURM_CONF=$dir/slurm.conf

write_conf() {
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=600
InactiveLimit=0
CONF
  for ((i = 1; i <= nodes; i++)); do
    echo "NodeName=t$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=$cpus RealMemory=2000 State=UNKNOWN"
  done >>"$SLURM_CONF"
  echo "PartitionName=main Nodes=ALL Default=YES MaxTime=60 DefaultTime=5 State=UP" >>"$SLURM_CONF"
  printf 'CgroupPlugin=cgroup/v1\nConstrainCores=no\nConstrainRAMSpace=no\n' >"$dir/cgroup.conf"
  echo "PMIxCliTmpDirBase=$dir/pmix" >"$dir/mpi.conf"
}

# Each node gets mounts and a host name of its own: PMIx and Open MPI name their folders and shared-memory
# segments by host and job, and would meet.
start_node() {
  mkdir -p "$dir/spool/t$1" "$dir/pmix.$1"
  unshare -m -u sh -ec "hostname t$1
    mount --bind '$dir/pmix.$1' '$dir/pmix'
    mount --bind '$dir/hosts' /etc/hosts
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    exec /usr/sbin/slurmd -N t$1 -f '$SLURM_CONF'"
}

idle() { sinfo -h -t idle -o %D 2>/dev/null || true; }

start() {
  mkdir -p "$dir"/{state,spool,log,munge,run,pmix}
  chmod 755 "$dir" "$dir"/*
  head -c 128 /dev/urandom >"$dir/munge/key"
  chmod 400 "$dir/munge/key"
  write_conf
  cp /etc/hosts "$dir/hosts"
  for ((i = 1; i <= nodes; i++)); do echo "127.0.0.1 t$i"; done >>"$dir/hosts"
  /usr/sbin/munged --force --key-file="$dir/munge/key" --socket="$dir/run/munge.sock" \
    --pid-file="$dir/run/munged.pid" --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed" \
    >/dev/null 2>&1
  /usr/sbin/slurmctld -c -f "$SLURM_CONF"
  for ((i = 1; i <= nodes; i++)); do start_node "$i"; done
  for ((i = 0; i < 150; i++)); do [ "$(idle)" = "$nodes" ] && return; sleep 0.1; done
  tail -n 20 "$dir"/log/*.log >&2
  return 1
}

stop() {
  [ -d "$dir" ] || return 0
  scancel -u root 2>/dev/null || true
  for ((i = 0; i < 80; i++)); do [ -z "$(squeue -h 2>/dev/null)" ] && break; sleep 0.1; done
  local ids id
  ids=$(cat "$dir"/run/slurmd.*.pid "$dir"/run/slurmctld.pid "$dir"/run/munged.pid 2>/dev/null || true)
  for id in $ids; do kill "$id" 2>/dev/null || true; done
  for ((i = 0; i < 100; i++)); do
    local alive=
    for id in $ids; do
      case $(sed 's/.*) //' "/proc/$id/stat" 2>/dev/null | cut -c1) in '' | Z) ;; *) alive=yes ;; esac
    done
    [ -z "$alive" ] && break
    sleep 0.1
  done
  rm -rf "$dir"
}

case ${1:-} in
start) start ;;
stop) stop ;;
env) echo "export SLURM_CONF=$SLURM_CONF" ;;
*) sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
esac
