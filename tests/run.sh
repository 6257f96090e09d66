#!/usr/bin/env bash
# Sets up, builds and tests. usage: tests/run.sh [--sanitize] [--full] [CTEST-OPTION ...]
#   (nothing)    the quick suite, up to 15 minutes on 2 cores
#   --sanitize   the quick suite under AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer
#   --full       quick and long tests
# Real data of other projects is read from XCSCT_DATA where it is; those tests are skipped elsewhere.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
type=Release folder=$top/build-test label='^quick$'
while [ $# -gt 0 ]; do
  case $1 in
  --sanitize) type=Sanitize folder=$top/build-sanitize ;;
  --full) label='^(quick|full)$' ;;
  *) break ;;
  esac
  shift
done
"$top/jobs/setup.sh" --tests
"$top/jobs/build.sh" "$folder" -DCMAKE_BUILD_TYPE=$type -DXCSCT_FAULTS=ON
cd "$folder"
exec ctest -L "$label" -j "${XCSCT_TEST_JOBS:-2}" --output-on-failure --no-tests=error "$@"
