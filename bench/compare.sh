#!/usr/bin/env bash
# Compares rewind with what else could hold a volume; see bench/README.md. `--help` lists the arguments.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec python3 "$source_dir/bench/compare/main.py" "$@"
