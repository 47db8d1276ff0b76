#!/usr/bin/env bash
# Measures the speed table of kernels/NOTES.md on this machine's GPU:
#     configs/bench/table.sh [FOLDER OF anchor-bench] [ROWS.jsonl]
# About two minutes on an H200; the rows hold every sample, clocks and versions.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
bin=${1:-build/release/bin}
rows=${2:-bench.jsonl}
part=$(mktemp -d)
trap 'rm -rf "$part"' EXIT
status=0
: >"$rows"
for config in d128 d128-10 d64 mixed blocks; do
  echo "### $config.toml"
  "$bin/anchor-bench" --device cuda --config "$here/$config.toml" --format md --out "$part/$config.jsonl" || status=$?
  cat "$part/$config.jsonl" >>"$rows"
done
exit $status
