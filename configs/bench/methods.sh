#!/usr/bin/env bash
# Times every method at equal mass recall (methods.toml): on real heads, or on synthetic ones.
#     configs/bench/methods.sh FOLDER_OF_TOOLS ROWS.jsonl DUMP.h5 [FURTHER FLAGS]
#     configs/bench/methods.sh FOLDER_OF_TOOLS ROWS.jsonl synthetic --seq 128k --q-heads 32 --kv-heads 8 --dim 128
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
bin=$1 rows=$2 data=$3
shift 3
if [ "$data" = synthetic ]; then
  data=(--data synthetic:mixed)
else
  data=(--dump "$data")
fi
exec "$bin/anchor-bench" --device cuda --config "$here/methods.toml" "${data[@]}" "$@" --format md --out "$rows"
