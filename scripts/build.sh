#!/usr/bin/env bash
# Builds everything into build/ (Release). Arguments go to cmake; BUILD_DIR names another directory, TARGET one target,
# such as rewind, the program alone.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build}

"$source_dir/scripts/setup.sh" build
cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release "$@"
cmake --build "$build_dir" ${TARGET:+--target "$TARGET"}
