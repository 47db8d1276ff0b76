#!/usr/bin/env bash
# Does a model still answer? The steps of configs/fidelity/README.md:
#     configs/fidelity/run.sh STEP [FOLDER]        FOLDER (build/fidelity): tasks, a dump and rows; 100 MB
#   row-that-answers   questions at the end and in the middle of a text: pooled queries, tails and peaks at one density
# ANCHOR_DEVICE (cpu) chooses the device, ANCHOR_MODEL the model that ./dev demo downloads, ANCHOR_COUNT (25) the tasks
# of each kind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
step=${1:?which step?} folder=${2:-build/fidelity}
model=${ANCHOR_MODEL:-${XDG_CACHE_HOME:-$HOME/.cache}/anchor/SmolLM2-135M-Instruct.gguf}

case $step in
  row-that-answers)
    python3 configs/fidelity/row_that_answers.py "$folder/row-that-answers" --model "$model" \
      --device "${ANCHOR_DEVICE:-cpu}" --count "${ANCHOR_COUNT:-25}" ;;
  *) echo "run.sh: no step $step; see the first lines of this file" >&2; exit 2 ;;
esac
