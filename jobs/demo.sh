#!/usr/bin/env bash
# From nothing to a result: installs what is missing, builds, makes a small twin of the experiment,
# runs it all and ends with the table "truth | result +- error | pull". usage: jobs/demo.sh [FOLDER], default folder: demo
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$top/demo}
"$top/jobs/setup.sh"
"$top/jobs/build.sh" "$top/build" -DXCSCT_TESTS=OFF -DXCSCT_BENCH=OFF
ranks=$(nproc) # before mpi_env.sh, whose OMP_NUM_THREADS nproc would obey
. "$top/jobs/mpi_env.sh"
xcsct=$top/build/xcsct
begun=$(date +%s) status=0
mkdir -p "$folder"
# of this foil the paper's rise of the interface is the paper's 3.7 % of volume
mpirun -n "$ranks" "$xcsct" twin --size small --seed 1 --anode-um 228 --output "$folder/twin"
mpirun -n "$ranks" "$xcsct" run "$folder/twin/cycle.yaml" --output "$folder/result" >"$folder/numbers.txt" || status=$?
# all numbers are in numbers.txt; what the twin knows of them is the table at its end
sed -n '/^state .*truth |/,$p' "$folder/numbers.txt"
echo "The run took $(($(date +%s) - begun)) s on $ranks ranks. Everything is in $folder/result."
echo "The report: $folder/result/report.html"
exit "$status"
