#!/usr/bin/env bash
# Installs what is missing to build xcsct (with --tests: to test it as well) and touches nothing else.
# usage: jobs/setup.sh [--tests] [--list]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tests=no list=no
for word in "$@"; do
  case $word in
  --tests) tests=yes ;;
  --list) list=yes ;;
  *) echo "usage: $0 [--tests] [--list]" >&2; exit 2 ;;
  esac
done

wanted=()
while read -r first second; do
  case $first in
  '' | '#'*) ;;
  test) if [ "$tests" = yes ]; then wanted+=("$second"); fi ;;
  *) wanted+=("$first") ;;
  esac
done <"$here/packages.txt"
if [ "$list" = yes ]; then printf '%s\n' "${wanted[@]}"; exit 0; fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  cat >&2 <<'TEXT'
This is no Debian or Ubuntu system, so nothing is installed. Load (modules, spack, conda):
  a C17 compiler, CMake >= 3.20, Ninja, pkg-config,
  an MPI (Open MPI 4.1 was tested), HDF5 1.10+ built parallel with that MPI,
  FFTW 3.3 with float, double and MPI, PETSc 3.18+ (real, double),
  xraylib 4, libfyaml 0.7+, libtiff, libpng, GSL, LZ4, Blosc, zlib;
  for PNG of a report's plots librsvg 2.46+ and a font (not needed to build)
TEXT
  exit 1
fi

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then echo "setup: all ${#wanted[@]} packages are there"; exit 0; fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: root is needed to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -q -y --no-install-recommends "${missing[@]}"
