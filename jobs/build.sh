#!/usr/bin/env bash
# Builds xcsct. usage: jobs/build.sh [FOLDER [CMAKE-OPTION ...]], default folder: build
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$top/build}
shift $(($# > 0 ? 1 : 0))
said=$(mktemp)
trap 'rm -f "$said"' EXIT
cmake -G Ninja -S "$top" -B "$folder" "$@" >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
ninja -C "$folder" --quiet
