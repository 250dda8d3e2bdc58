#!/usr/bin/env bash
# Builds build/rewind (Release); arguments go to cmake, BUILD_DIR names another directory.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build}

"$source_dir/scripts/setup.sh" build
cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release "$@"
cmake --build "$build_dir"
