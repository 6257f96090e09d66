#!/usr/bin/env bash
# Checks a cycle and queues it: an array over its states, then what needs all of them.
# With --sweep: an array over the rows of its sweep: block, then the collection of their results.
# usage: jobs/chain.sh [--sweep] CONFIG OUT [SBATCH-OPTION ...]   (resources, as `xcsct plan CONFIG` prints them)
# A member that fails ends the chain: the last job is then taken out of the queue (kill-on-invalid-dep).
set -euo pipefail
sweep=
if [ "${1:-}" = --sweep ]; then sweep=yes; shift; fi
[ $# -ge 2 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
XCSCT_JOBS=$(cd "$(dirname "$0")" && pwd)
export XCSCT_JOBS
. "$XCSCT_JOBS/env.sh"
config=$(realpath "$1") out=$(realpath -m "$2")
shift 2
"$XCSCT" check "$config"
mkdir -p "$out/journal"
queue() { sbatch --parsable --export=ALL --output="$out/journal/slurm-%x-%A_%a.log" "$@"; }
after() { echo "--dependency=afterok:$1 --kill-on-invalid-dep=yes"; }

if [ -n "$sweep" ]; then
  "$XCSCT" sweep "$config" --output "$out" --list >/dev/null
  rows=$(($(wc -l <"$out/manifest.tsv") - 1))
  array=$(queue --array=0-$((rows - 1)) "$@" "$XCSCT_JOBS/sweep_array.sbatch" "$config" "$out")
  collect=$(printf '%q ' "$XCSCT" sweep "$config" --output "$out" --collect)
  last=$(queue $(after "$array") --job-name=xcsct-collect "$@" --wrap "$collect")
  echo "queued: $rows rows $array, their collection $last; results will be in $out/sweep.csv"
  exit
fi

states=$("$XCSCT" check "$config" --list-states | wc -l)
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
