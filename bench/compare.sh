#!/usr/bin/env bash
# Compares rewind with what else could hold a volume; see bench/README.md. `--help` lists the arguments.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
command=main.py
if [ "${1:-}" = --scaling ]; then
  command=scaling.py
  shift
fi
exec python3 "$source_dir/bench/compare/$command" "$@"
