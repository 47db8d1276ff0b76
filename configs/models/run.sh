#!/usr/bin/env bash
# What holds of SmolLM2-135M, on another model; the tables of configs/models/README.md come from these steps:
#     configs/models/run.sh STEP MODEL [FOLDER]
# MODEL: a GGUF file or a Hugging Face folder. FOLDER (build/models/NAME): texts, dumps and what comes out (for a model of
# 1.5 B parameters 8 GB). Choices are made on the texts fit-*, and tested on test-*.
#   dumps       texts, dumps of 8,192 tokens, of 32k tokens with some layers, and of 2k and 4k of one text
#   density     density that each method needs for a mean recall, with one knob and with a knob per head
#   fit         what every head needs on the three fitted texts, for stripes, AnchorAttention and XAttention alike
#   test        what those thresholds keep of the test texts: density, recall, worst head, output error
#   perplexity  with these methods in every layer, thresholds from fit
#   premise     in which heads the anchor is far from the largest score
#   length      thresholds for .95 at 2k, 4k, 8k and 32k of the same text
#   time        every method at equal output error 0.05, planning included, at 8k and 32k (needs a GPU)
# ANCHOR_DEVICE (auto) chooses the device; LAYERS the layers that are dumped at 32k and timed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
step=${1:?which step?} model=${2:?which model?} folder=${3:-build/models/$(basename "${2%.*}")}
bin=build/release/bin device=${ANCHOR_DEVICE:-auto} layers=${LAYERS:-3,9,15,21,27}
fitted=(fit-prose fit-code fit-needles) tests=(test-prose test-code test-needles test-licence)
files() { local all; printf -v all ",$folder/%s.h5" "$@"; echo "${all:1}"; }
source configs/bench/equal_error.sh

dump() {  # TEXT TOKENS NAME [FLAGS]
  "$bin/anchor-dump" model --model "$model" --device "$device" --text "$folder/$1.txt" --tokens "$2" --out "$folder/$3.h5" "${@:4}"
}
fit() {  # METHOD [FLAGS]: the least knob that keeps .96 of every head and errs by at most .06 on each fitted text
  "$bin/anchor-sweep" fit "$(files "${fitted[@]}")" --method "$1" --device "$device" --target-recall 0.96 --worst \
    --max-error 0.06 --thresholds-out "$folder/$1.json" --format md "${@:2}" | tail -8
}

case $step in
  dumps)
    [ -f "$folder/test-long.txt" ] || build/venv/bin/python configs/stripes/texts.py "$folder"
    for text in "${fitted[@]}" "${tests[@]}"; do dump "$text" 8k "$text"; done
    for text in fit-long test-long; do
      dump $text 32k $text-32k --layers "$layers"
      dump $text 8k $text-8k --layers "$layers"
    done
    for tokens in 2k 4k; do dump test-long $tokens test-long-$tokens --layers "$layers"; done ;;
  density)
    for text in test-code test-licence test-long-32k; do
      echo "### $text"
      "$bin/anchor-recall" "$folder/$text.h5" --method stripes,$others,block-oracle,stripe-oracle --step 1 "${budgets[@]}" \
        --device "$device" --measure none --pareto "$folder/$text.svg" -o "$folder/$text-fronts.jsonl" --format md
    done ;;
  fit)
    fit stripes --choose score=pooled,rows@0.05
    fit anchor --step 1
    fit xattention ;;
  test)
    for text in "${tests[@]}"; do
      for method in stripes anchor xattention; do
        "$bin/anchor-recall" "$folder/$text.h5" --thresholds "$folder/$method.json" --device "$device" --format md \
          -o "$folder/$text-$method.jsonl" | tail -1
      done
    done ;;
  perplexity)
    for text in "${tests[@]}"; do
      for settings in "" stripes anchor xattention; do
        "$bin/anchor-dump" model --model "$model" --device "$device" --text "$folder/$text.txt" --tokens 8k \
          ${settings:+--thresholds "$folder/$settings.json"}
      done
    done ;;
  premise)
    for text in test-code test-licence; do
      "$bin/anchor-recall" "$folder/$text.h5" --step 1 --stats --device "$device" --format md -o "$folder/$text-stats.jsonl" | tail -20
    done ;;
  length)
    for tokens in 2k 4k 8k 32k; do
      for method in stripes anchor; do
        "$bin/anchor-sweep" "$folder/test-long-$tokens.h5" --method $method $([ $method = stripes ] || echo --step 1) \
          --device "$device" --target mass_recall=0.95 --measure none -o "$folder/length-$method-$tokens.jsonl" --format md |
          grep -A 3 'knob'
      done
    done ;;
  time)
    windows=(--choose window=0,128,1k)
    allocate fit-long-8k test-long-8k --choose score=pooled,antidiagonal@0.1 "${windows[@]}"
    allocate fit-long-32k test-long-32k --choose score=pooled,rows@0.7,antidiagonal@0.03 "${windows[@]}"
    for tokens in 8k 32k; do rivals fit-long-$tokens test-long-$tokens; done
    for tokens in 8k 32k; do bench test-long-$tokens fit-long-$tokens; done ;;
  *) echo "run.sh: no step $step" >&2; exit 2 ;;
esac
