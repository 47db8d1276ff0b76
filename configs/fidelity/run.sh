#!/usr/bin/env bash
# Does the model still answer? Every method inside the model, one step after the other:
#     configs/fidelity/run.sh tasks|fit|run|report [FOLDER]        FOLDER (build/fidelity): tasks, dumps, rows, pictures
#   tasks   the questions of every length (split test), and the texts to fit on (split fit, a licence, sources)
#   fit     dumps of the texts, and every head's knob of every method for output error .05, from them alone
#   run     the questions: every method at output error .05 and at the densities of DENSITIES
#   report  the tables, the figures and the pages, a page per length, and the needle picture over all lengths
#   row-that-answers   apart from the study: questions at the end and in the middle of a text of 1,024 tokens, with pooled
#           queries, tails and peaks at one density
# A step that was stopped goes on where it was when it is called again. Variables, with their defaults:
#   DEVICE=auto  MODEL=SmolLM2-135M  LENGTHS=2k,4k,8k  COUNT=100 (questions of a kind and length)  KINDS= (all)  SEED=1
#   METHODS="..."  DENSITIES="0.08 0.15 0.3"  BIN=build/release/bin  FIT_LAYERS= (all; a few for a dry run)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
step=${1:?which step?} folder=${2:-build/fidelity}
bin=${BIN:-build/release/bin} device=${DEVICE:-auto} count=${COUNT:-100} kinds=${KINDS:-} seed=${SEED:-1}
model=${MODEL:-${XDG_CACHE_HOME:-$HOME/.cache}/anchor/SmolLM2-135M-Instruct.gguf}
IFS=, read -ra lengths <<<"${LENGTHS:-2k,4k,8k}"
read -ra methods <<<"${METHODS:-stripes anchor xattention flashprefill flexprefill vertical-slash block-sparse spargeattn sale streaming}"
read -ra densities <<<"${DENSITIES:-0.08 0.15 0.3}"
fit_kinds=needle_middle,key_value,variables texts=(licence sources questions)
# What a method needs so that its knob can reach both ends: parameters, and values where it has no exact curve.
declare -A settings=(
  [anchor]="--step 1" [flexprefill]="--set min_budget=128" [vertical-slash]="--set slash=256" [spargeattn]="--set sim=-1" [streaming]="--set sink=128")
declare -A grid=(
  [flexprefill]=0.3,0.5,0.7,0.8,0.9,0.95,0.98,0.99,0.995 [vertical-slash]=16-2k*2 [streaming]=128-8k*2)
mkdir -p "$folder"

tasks() {
  local length
  for length in "${lengths[@]}"; do
    [ -f "$folder/test-$length.jsonl" ] || $bin/anchor-eval tasks --tokenizer "$model" --length "$length" --count "$count" \
      --seed "$seed" ${kinds:+--kinds "$kinds"} -o "$folder/test-$length.jsonl"
    [ -f "$folder/fit-$length.jsonl" ] || $bin/anchor-eval tasks --tokenizer "$model" --length 1k --count 8 --split fit \
      --seed $((seed + 1000)) --kinds $fit_kinds -o "$folder/fit-$length.jsonl"
    # Questions with their answers, one of each kind after the other.
    python3 - "$folder/fit-$length.jsonl" >"$folder/questions-$length.txt" <<'PY'
import json, sys
tasks = [json.loads(line) for line in open(sys.argv[1])]
tasks.sort(key=lambda task: int(task["id"].rsplit("-", 1)[1]))
print("\n\n".join(task["prompt"] + task["answer"] for task in tasks))
PY
    cat /usr/share/common-licenses/GPL-3 /usr/share/common-licenses/LGPL-3 >"$folder/licence-$length.txt"
    python3 -c 'import argparse; print(open(argparse.__file__).read())' >"$folder/sources-$length.txt"
  done
}

fit() {
  local length text method dumps result
  for length in "${lengths[@]}"; do
    dumps=
    for text in "${texts[@]}"; do
      dumps+=${dumps:+,}$folder/$text-$length.h5
      [ -f "$folder/$text-$length.h5" ] || $bin/anchor-dump model --model "$model" --device "$device" --tokens "$length" \
        ${FIT_LAYERS:+--layers "$FIT_LAYERS"} --text "$folder/$text-$length.txt" --out "$folder/$text-$length.h5"
    done
    for method in "${methods[@]}"; do
      [ -f "$folder/$method-$length.json" ] && continue
      result=0
      # shellcheck disable=SC2086 -- settings are several words
      $bin/anchor-sweep fit "$dumps" --method "$method" ${settings[$method]:-} ${grid[$method]:+--grid "${grid[$method]}"} \
        --target out_rel_l2=0.05 --allocate layer --device "$device" -o "$folder/fit-$method-$length.jsonl" --resume -q \
        --thresholds-out "$folder/$method-$length.json" >/dev/null || result=$?
      [ $result = 0 ] || [ $result = 4 ] || return $result  # 4: some layers miss the target; the rows say which
      echo "fitted $method at $length"
    done
  done
}

run() {
  local length method density
  for length in "${lengths[@]}"; do
    for method in "${methods[@]}"; do
      answer error
      for density in "${densities[@]}"; do answer "density-$density" --match "density=$density"; done
    done
  done
}

# answer POINT [FLAGS]: the questions of $length with $method's fitted knobs; rows are kept when all are there.
answer() {
  local out=$folder/eval-$method-$length-$1.jsonl
  [ -f "$out.done" ] && return
  if $bin/anchor-eval run --model "$model" --tasks "$folder/test-$length.jsonl" --thresholds "$folder/$method-$length.json" \
    ${DEVICE:+--device "$DEVICE"} "${@:2}" -o "$out" --resume >/dev/null; then
    touch "$out.done"
  else
    echo "$method at $length, $1: no or not all results" >&2  # such as a density that its knob cannot give
  fi
}

# figure NAME FILE ROWS...: there is none where dense attention answers no kind; the tool says so.
figure() { $bin/anchor-report "${@:3}" --svg "$2" --figure "$1" || echo "no figure $1 of $2" >&2; }

report() {
  local length rows
  for length in "${lengths[@]}"; do
    rows=("$folder"/eval-*-"$length"-*.jsonl)
    $bin/anchor-report "${rows[@]}" --format md >"$folder/table-$length.md"
    $bin/anchor-report "${rows[@]}"
    $bin/anchor-report "${rows[@]}" --html "$folder/fidelity-$length.html"
    figure kl "$folder/kl-$length.svg" "${rows[@]}"
    figure flips "$folder/flips-$length.svg" "${rows[@]}"
  done
  figure depth "$folder/depth.svg" "$folder"/eval-*.jsonl
}

case $step in
  tasks | fit | run | report) "$step" ;;
  row-that-answers)
    python3 configs/fidelity/row_that_answers.py "$folder/row-that-answers" --model "$model" \
      --device "${DEVICE:-cpu}" --count "${COUNT:-25}" ;;
  *) echo "run.sh: no step $step" >&2; exit 2 ;;
esac
