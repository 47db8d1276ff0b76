#!/usr/bin/env bash
# stripes on SmolLM2-135M, one step after the other; the table of lib/anchor/method/README.md comes from them:
#     configs/stripes/run.sh STEP [FOLDER]        FOLDER (build/stripes): texts and dumps, 4 GB, with time 10 GB
#   dumps       the texts, and their dumps of 8,192 tokens
#   fit         smollm2-135m.json anew: what every head needs on the three fitted texts
#   density     density, recall and worst head on the test texts, beside the best that blocks can do
#   error       output error beside XAttention's where each of its heads keeps 95 %
#   perplexity  with the method in every layer, and every other method at its defaults and at equal density
#   frontier    the README's figure (minutes on two cores)
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
others=anchor,xattention,flashprefill,flexprefill,vertical-slash,vertical-slash-blocks,block-sparse,spargeattn,sale,streaming
budgets=(--set flexprefill.min_budget=128 --set spargeattn.sim=-1 --set streaming.sink=128)

case $step in
  dumps)
    build/venv/bin/python $here/texts.py "$folder"
    for text in "${fitted[@]}" "${tests[@]}"; do
      $bin/anchor-dump model --model "$model" --device "$device" --text "$folder/$text.txt" --tokens 8k --out "$folder/$text.h5"
    done ;;
  fit)
    $bin/anchor-sweep --fit "$(list "${fitted[@]/#/$folder/}" | sed 's/,/.h5,/g').h5" --method stripes --device "$device" \
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
      python3 $here/perplexity.py $bin "$model" "$folder/$text.txt" $thresholds --device "$device" ${3:-}
    done ;;
  frontier)
    $bin/anchor-recall "$folder/test-prose.h5" --method anchor,stripes,xattention,flashprefill,sale,block-oracle,stripe-oracle \
      --step 1 --device "$device" --measure none --pareto data/smollm2_frontier.svg --format md ;;
  time)
    matched() {  # ROWS FLAGS
      $bin/anchor-bench --device cuda --match out_rel_l2=0.05 --time-limit 0.4 --format md --out "$1.jsonl" "${@:2}"
    }
    allocated() {  # DUMP-TO-FIT DUMP-TO-TIME FLAGS: every head's settings from one text, timed on the other
      $bin/anchor-sweep --fit "$1" --check "$2" --method stripes --target out_rel_l2=0.05 --allocate layer \
        --device cuda --thresholds-out "${2%.h5}.json" --format md "${@:3}" | tail -5
      matched "${2%.h5}" --dump "$2" --thresholds "${2%.h5}.json" --baseline none
      matched "${2%.h5}-others" --dump "$2" --method stripes,$others --step 1 "${budgets[@]}"
    }
    real=(--choose score=pooled,rows@0.7,antidiagonal@0.03 --choose window=0,128,1k)
    for scaled in 8k "32k dynamic:4" "128k yarn:16"; do
      read -r tokens scaling <<<"$scaled"
      for text in fit-long test-long; do
        $bin/anchor-dump model --model "$model" --device cuda --text "$folder/$text.txt" --tokens "$tokens" \
          ${scaling:+--rope-scaling "$scaling"} --layers 4,12,20 --out "$folder/$text-$tokens.h5"
      done
      allocated "$folder/fit-long-$tokens.h5" "$folder/test-long-$tokens.h5" "${real[@]}"
    done
    for tokens in 32k 128k; do
      for seed in 1 2; do
        $bin/anchor-dump synthetic --seq $tokens --dim 128 --seed $seed --out "$folder/synthetic-$seed-$tokens.h5"
      done
      allocated "$folder/synthetic-2-$tokens.h5" "$folder/synthetic-1-$tokens.h5" --choose window=0,128,256
    done ;;
  *) echo "run.sh: no step $step" >&2; exit 2 ;;
esac
