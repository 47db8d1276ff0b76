#!/usr/bin/env bash
# Makes the rows that the notebooks read: notebooks/make_rows.sh [BIN]. Needs the dump that ./dev demo leaves in demo/,
# and $ANCHOR_MODEL. Two minutes on two cores. rows/bench.jsonl needs a GPU: see notebooks/README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${1:-build/release/bin}
model=${ANCHOR_MODEL:-${XDG_CACHE_HOME:-$HOME/.cache}/anchor/SmolLM2-135M-Instruct.gguf}
prose=demo/smollm2.h5 code=demo/code.h5
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Appends the rows of one kind (and all columns of them) to FILE, without what names the machine: env.host and env.os.
keep() { # KIND FILE
  python3 -c 'import json, sys
for row in map(json.loads, sys.stdin):
    if row["kind"] == sys.argv[1]:
        row["env"] = {k: v for k, v in row["env"].items() if k not in ("host", "os")}
        print(json.dumps(row, separators=(",", ":")))' "$1" >>"$folder/$2"
}

# 02: twelve heads, every method that has a knob, at a few values of it.
curve() { # METHOD GRID [OPTIONS]
  "$bin"/anchor-sweep $prose --layers 3,8,17,25 --heads 1,4,7 --method "$1" --grid "$2" --format jsonl -q "${@:3}" |
    keep curve recall_density.jsonl || [ "${PIPESTATUS[0]}" = 4 ] # 4: a head stays below the target, which is no news here
}
curve anchor 0:16:2 --step 1
curve anchor 0:16:2 --step 4
curve streaming 128-2k*2 --set sink=128
curve vertical-slash-blocks 128,512,1k,2k,3k --set slash=512
curve block-sparse 8,16,32,48
curve flexprefill 0.6,0.8,0.9,0.95,0.99 --set min_budget=128
curve xattention 0.6,0.8,0.9,0.95,0.99
curve sale 0.004,0.03,0.1,0.3,1
curve flashprefill 0.01,0.03,0.1,0.2,0.4
curve spargeattn 0.6,0.9,0.98,0.995
curve cdf 0.8,0.9,0.95,0.99
curve block-oracle 0.8,0.9,0.95,0.99
curve stripe-oracle 0.8,0.9,0.95,0.99 --set step=1

# 03: thresholds fitted on one kind of text and checked on the other, both ways.
git ls-files 'lib/*.cpp' | head -40 | xargs cat >"$folder/code.txt"
[ -f $code ] || "$bin"/anchor-dump model --model "$model" --text "$folder/code.txt" --tokens 4096 --out $code
for pair in "$prose $code" "$code $prose"; do
  read -r fit check <<<"$pair"
  "$bin"/anchor-sweep fit "$fit" --check "$check" --layers 3,8,17,25 --step 1 --format jsonl -q | keep sweep generalisation.jsonl
done

mv "$folder"/*.jsonl notebooks/rows/
wc -c notebooks/rows/*.jsonl
