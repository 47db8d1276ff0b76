#!/usr/bin/env bash
# stripes on SmolLM2-135M, one step after the other; the tables of lib/anchor/method/STRIPES.md come from them:
#     configs/stripes/run.sh STEP [FOLDER]        FOLDER (build/stripes): texts and dumps, 4 GB, with time 7 GB
#   dumps       the texts, and their dumps of 8,192 tokens
#   fit         smollm2-135m.json anew: what every head needs on the three fitted texts
#   density     density, recall and worst head on the test texts, beside the best that blocks can do
#   error       output error beside XAttention's where each of its heads keeps 95 %
#   perplexity  with the method in every layer, and every other method at its defaults; then FOLDER and --equal: and with a
#               knob per head at equal density
#   frontier    the figure of configs/bench/RESULTS.md (minutes on two cores)
#   time        every method at equal output error 0.05, planning included: real heads, 8k to 128k, and synthetic ones of
#               d 128 (needs a GPU)
# ANCHOR_DEVICE (auto) chooses the device, ANCHOR_MODEL the model that ./dev demo downloads.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
step=${1:?which step?} folder=${2:-build/stripes}
bin=build/release/bin device=${ANCHOR_DEVICE:-auto} here=configs/stripes thresholds=configs/stripes/smollm2-135m.json
model=${ANCHOR_MODEL:-${XDG_CACHE_HOME:-$HOME/.cache}/anchor/SmolLM2-135M-Instruct.gguf}
fitted=(fit-prose fit-code fit-needles) tests=(test-prose test-code test-needles test-licence)
list() { local IFS=,; echo "$*"; }
source configs/bench/equal_error.sh

case $step in
  dumps)
    build/venv/bin/python $here/texts.py "$folder"
    for text in "${fitted[@]}" "${tests[@]}"; do
      $bin/anchor-dump model --model "$model" --device "$device" --text "$folder/$text.txt" --tokens 8k --out "$folder/$text.h5"
    done ;;
  fit)
    $bin/anchor-sweep fit "$(list "${fitted[@]/#/$folder/}" | sed 's/,/.h5,/g').h5" --method stripes --device "$device" \
      --target-recall 0.96 --worst --max-error 0.06 --choose score=pooled,rows@0.05 --thresholds-out $thresholds --format md ;;
  density)
    for text in "${tests[@]}"; do
      $bin/anchor-recall "$folder/$text.h5" --thresholds $thresholds --device "$device" --format md | tail -1
      $bin/anchor-sweep "$folder/$text.h5" --method block-oracle --measure none --device "$device" --format md | grep 'per head'
    done ;;
  error)
    for text in "${tests[@]}"; do
      $bin/anchor-recall "$folder/$text.h5" --thresholds $thresholds --device "$device" --format md | tail -1
      $bin/anchor-sweep "$folder/$text.h5" --method xattention --device "$device" --format md | grep 'per head'
    done ;;
  perplexity)
    for text in "${tests[@]}"; do
      python3 $here/perplexity.py $bin "$model" "$folder/$text.txt" $thresholds --device "$device" \
        --fit "$(list "${fitted[@]/#/$folder/}" | sed 's/,/.h5,/g').h5" "${@:3}"
    done ;;
  frontier)
    $bin/anchor-recall "$folder/test-prose.h5" --method stripes,$others,block-oracle,stripe-oracle --step 1 \
      "${budgets[@]}" --device "$device" --measure none --pareto data/smollm2_fronts.svg --format md ;;
  time)
    dump_long() {  # TEXT TOKENS [SCALING]
      $bin/anchor-dump model --model "$model" --device cuda --text "$folder/$1.txt" --tokens "$2" \
        ${3:+--rope-scaling "$3"} --layers 4,12,20 --out "$folder/$1-$2.h5"
    }
    synthetic() { $bin/anchor-dump synthetic --seq "$2" --dim 128 --seed "$1" --out "$folder/synthetic-$1-$2.h5"; }
    windows=(--choose window=0,128,1k)
    for text in fit-long test-long; do dump_long $text 8k; dump_long $text 32k dynamic:4; done
    dump_long test-long 128k yarn:16
    allocate fit-long-8k test-long-8k --choose score=pooled,antidiagonal@0.1 "${windows[@]}"
    allocate fit-long-32k test-long-32k --choose score=pooled,rows@0.7,antidiagonal@0.03 "${windows[@]}"
    for tokens in 8k 32k; do rivals fit-long-$tokens test-long-$tokens; done
    bench test-long-8k fit-long-8k
    bench test-long-32k fit-long-32k
    bench test-long-128k fit-long-32k
    synthetic 2 32k
    for tokens in 32k 128k; do synthetic 1 $tokens; done
    allocate synthetic-2-32k synthetic-1-32k --choose window=0,128,256
    for tokens in 32k 128k; do bench synthetic-1-$tokens synthetic-2-32k; done ;;
  *) echo "run.sh: no step $step" >&2; exit 2 ;;
esac
