#!/usr/bin/env bash
# How long exact curves take on this machine's GPU (tables of kernels/NOTES.md and lib/NOTES.md):
#     configs/bench/curves.sh [BUILD FOLDER] [FOLDER FOR A 12 GB DUMP]
# First a layer whose data are on the device, next to cuDNN; then a dump of eight layers, streamed twice (the second
# time from the page cache).
set -euo pipefail
build=${1:-build/release}
folder=${2:-/dev/shm}
cmake --build "$build" --target anchor-curve-speed anchor-sweep anchor-dump >&2
"$build/bin/anchor-curve-speed" cuda
dump=$folder/anchor-curves.h5
trap 'rm -f "$dump"' EXIT
"$build/bin/anchor-dump" synthetic --seq 128k --q-heads 32 --kv-heads 8 --dim 128 --layers 8 --out "$dump"
for _ in 1 2; do
  /usr/bin/time -f "%e s, %M KiB" "$build/bin/anchor-sweep" "$dump" --device cuda --measure none -v >/dev/null
done
