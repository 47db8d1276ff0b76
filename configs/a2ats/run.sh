#!/usr/bin/env bash
# How well codes, pages, true scores and chance rank the far keys of a model's heads (A2ATS, arXiv 2502.12665):
#     configs/a2ats/run.sh STEP MODEL [FOLDER]
# MODEL: a GGUF file or a Hugging Face folder. FOLDER (build/a2ats/NAME): texts, dumps, codebooks and rows.
# Codes are fitted on the texts fit-*, and rankers compared on test-*.
#   dumps   texts, and dumps of TOKENS (8k) with LAYERS (3,8,17)
#   fit     a codebook for every metric, kind of RoPE and number of codes, and two of product quantisation
#   rank    every ranker at every topk on both test texts
#   small   fit and rank on the committed data/smollm2.h5 alone; MODEL is not read (write -)
#   table   what rank or small found, as Markdown: means over heads
# ANCHOR_BIN (build/release/bin) has the tools; CODES (64 256 1024) and TOPK (0.0025 0.01 0.03 0.08 0.16) can be set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
step=${1:?which step?} model=${2:?which model?} folder=${3:-build/a2ats/$(basename "${2%.*}")}
bin=${ANCHOR_BIN:-build/release/bin} layers=${LAYERS:-3,8,17} tokens=${TOKENS:-8k}
codes=(${CODES:-64 256 1024}) topks=(${TOPK:-0.0025 0.01 0.03 0.08 0.16})
mkdir -p "$folder"

fit() {  # NAME DUMPS [FLAGS]
  "$bin/anchor-sweep" codebook --fit "$2" "${@:3}" --out "$folder/$1.h5"
}
fit_all() {  # DUMPS
  for rope in windowed post; do
    for metric in query plain; do
      for count in "${codes[@]}"; do
        fit "$rope-$metric-$count" "$1" --set rope=$rope --set metric=$metric --set codes=$count
      done
    done
  done
  fit windowed-query-4x256 "$1" --set parts=4 --set codes=256
  fit windowed-query-8x256 "$1" --set parts=8 --set codes=256
}
rank() {  # NAME DUMP [FLAGS]: appends the rows of one ranker
  for topk in "${topks[@]}"; do
    "$bin/anchor-recall" "$2" --method a2ats --set share=head --set topk=$topk "${@:3}" --stats --format jsonl |
      sed "s/^{/{\"ranker\":\"$1\",/" >> "$folder/rows.jsonl"
  done
}
rank_all() {  # DUMP
  rank exact "$1" --set rank=exact
  rank "keys, one b" "$1" --set rank=keys
  rank "keys, buckets 2" "$1" --set rank=keys --set buckets=2
  rank "Quest, pages of 16" "$1" --set rank=quest
  rank random "$1" --set rank=random
  for book in "$folder"/{windowed,post}-*.h5; do
    local name; name=$(basename "${book%.h5}")
    rank "$name" "$1" --set rank=vq --set codebook="$book"
    case $name in windowed-*) rank "$name, buckets 2" "$1" --set rank=vq --set codebook="$book" --set buckets=2 ;; esac
  done
}

case $step in
  dumps)
    [ -f "$folder/test-long.txt" ] || build/venv/bin/python configs/stripes/texts.py "$folder"
    for text in fit-prose fit-code test-licence test-code; do
      "$bin/anchor-dump" model --model "$model" --text "$folder/$text.txt" --tokens "$tokens" --layers "$layers" \
        --out "$folder/$text.h5"
    done ;;
  fit) fit_all "$folder/fit-prose.h5,$folder/fit-code.h5" ;;
  rank)
    rm -f "$folder/rows.jsonl"
    for text in test-licence test-code; do rank_all "$folder/$text.h5"; done ;;
  small)
    codes=(64 256) topks=(0.03)
    rm -f "$folder/rows.jsonl"
    fit_all data/smollm2.h5
    rank_all data/smollm2.h5 ;;
  table) python3 configs/a2ats/table.py "$folder/rows.jsonl" ;;
  *) echo "run.sh: no step $step" >&2; exit 2 ;;
esac
