#!/usr/bin/env bash
# stripes on SmolLM2-135M, one step after the other; the table of lib/anchor/method/README.md comes from them:
#     configs/stripes/run.sh STEP [FOLDER]        FOLDER (build/stripes) takes 4 GB of texts and dumps
#   dumps       the texts, and their dumps of 8,192 tokens
#   fit         smollm2-135m.json anew: what every head needs on the three fitted texts
#   density     density, recall and worst head on the test texts, beside the best that blocks can do
#   error       output error beside XAttention's where each of its heads keeps 95 %
#   perplexity  with the method in every layer, and every other method at its defaults and at equal density
#   frontier    the README's figure (minutes on two cores)
#   time        every method at equal output error 0.05, planning included (needs a GPU)
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
    cat "$folder"/test-*.txt >"$folder/long.txt"
    $bin/anchor-dump model --model "$model" --device cuda --text "$folder/long.txt" --tokens 32k --rope-scaling dynamic:4 \
      --layers 4,12,20 --out "$folder/long.h5"
    for data in "--dump $folder/test-prose.h5 --layers 4,12" "--dump $folder/long.h5" \
        "--data synthetic:mixed --seq 32k,128k --q-heads 32 --kv-heads 8 --dim 128"; do
      $bin/anchor-bench $data --device cuda --method stripes,$others --step 1 "${budgets[@]}" --match out_rel_l2=0.05 --format md
      case $data in --dump*)
        $bin/anchor-bench $data --device cuda --thresholds $thresholds --match out_rel_l2=0.05 --baseline none --format md ;;
      esac
    done ;;
  *) echo "run.sh: no step $step" >&2; exit 2 ;;
esac
