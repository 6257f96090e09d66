#!/usr/bin/env bash
# Checks a cycle and queues it: an array over its states, then what needs all of them.
# usage: jobs/chain.sh CONFIG OUT [SBATCH-OPTION ...]   (resources, as `xcsct plan CONFIG` prints them)
# A state that fails ends the chain: the last job is then taken out of the queue (kill-on-invalid-dep).
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
XCSCT_JOBS=$(cd "$(dirname "$0")" && pwd)
export XCSCT_JOBS
. "$XCSCT_JOBS/env.sh"
config=$(realpath "$1") out=$(realpath -m "$2")
shift 2
"$XCSCT" check "$config"
states=$("$XCSCT" check "$config" --list-states | wc -l)
mkdir -p "$out/journal"
queue() { sbatch --parsable --export=ALL --output="$out/journal/slurm-%x-%A_%a.log" "$@"; }
after() { echo "--dependency=afterok:$1 --kill-on-invalid-dep=yes"; }

first=
if "$XCSCT" help align >/dev/null 2>&1 && "$XCSCT" help align | grep -q '^xcsct align'; then
  # volumes of single states, then their alignment, which every later stage reads
  first=$(queue --array=0-$((states - 1)) "$@" "$XCSCT_JOBS/state_array.sbatch" "$config" "$out" --until recon)
  first=$(queue $(after "$first") "$@" "$XCSCT_JOBS/cycle.sbatch" "$config" "$out" --until align)
fi
array=$(queue ${first:+$(after "$first")} --array=0-$((states - 1)) "$@" \
  "$XCSCT_JOBS/state_array.sbatch" "$config" "$out")
last=$(queue $(after "$array") "$@" "$XCSCT_JOBS/cycle.sbatch" "$config" "$out")
echo "queued: states $array, all $last; xcsct status $out tells how far it is"
