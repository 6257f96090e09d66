#!/usr/bin/env bash
# Random inputs for every reader: builds the fuzzers with clang and runs each of them.
# usage: tests/fuzz.sh [SECONDS [TARGET ...]], default 600 seconds and all targets (tests/*/fuzz_*.c).
# What a fuzzer finds is left in build-fuzz/findings/TARGET, and the exit code is 1; a finding that is mended belongs
# into tests/app/findings/READER, where the quick suite reads it for ever.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
seconds=${1:-600}
shift $(($# > 0 ? 1 : 0))
build=$top/build-fuzz
. "$top/jobs/mpi_env.sh"
command -v clang >/dev/null || { echo "fuzzing needs clang" >&2; exit 77; }
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=($(basename -s .c "$top"/tests/*/fuzz_*.c))
said=$(mktemp)
trap 'rm -f "$said"' EXIT
cmake -G Ninja -S "$top" -B "$build" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Fuzz -DXCSCT_FUZZ=ON -DXCSCT_BENCH=OFF \
  >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
ninja -C "$build" --quiet "${targets[@]}" >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:fast_unwind_on_malloc=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
failed=0
for target in "${targets[@]}"; do
  seeds=$build/seeds/$target corpus=$build/corpus/$target findings=$build/findings/$target
  mkdir -p "$seeds" "$corpus" "$findings"
  XCSCT=none /usr/bin/python3 -B "$top/tests/app/seeds.py" "$target" "$seeds"
  if "$build/tests/$target" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4000 -max_len=20000 -print_final_stats=1 \
    -artifact_prefix="$findings/" "$corpus" "$seeds" >"$build/$target.log" 2>&1; then
    echo "$target: $(sed -n 's/stat::number_of_executed_units: *//p' "$build/$target.log") inputs in $seconds s, nothing found"
  else
    tail -n 40 "$build/$target.log" >&2
    echo "$target: found something, see $findings and $build/$target.log" >&2
    failed=1
  fi
done
exit $failed
