# Sourced by the scripts that time every method at equal output error 0.05: settings per head are chosen on one dump, with
# the same freedom for every method that has a knob to fit, and timed on another. The caller sets bin and folder.
others=anchor,xattention,flashprefill,flexprefill,vertical-slash,vertical-slash-blocks,block-sparse,spargeattn,sale,streaming
budgets=(--set flexprefill.min_budget=128 --set spargeattn.sim=-1 --set streaming.sink=128)
declare -A grid=([anchor]="--step 1" [flexprefill]="--grid 0.5,0.7,0.8,0.9,0.95,0.98,0.99,0.995")

allocate() {  # FITTED CHECKED CHOICES...: every head's settings of stripes, from one dump
  "$bin/anchor-sweep" fit "$folder/$1.h5" --check "$folder/$2.h5" --method stripes --target out_rel_l2=0.05 \
    --allocate layer --device cuda --thresholds-out "$folder/$1.json" --format md "${@:3}" | tail -5
}
rivals() {  # FITTED CHECKED: a knob per head for the others, from the same fit
  local method
  for method in anchor xattention flashprefill flexprefill sale; do
    "$bin/anchor-sweep" fit "$folder/$1.h5" --check "$folder/$2.h5" --method $method --target out_rel_l2=0.05 \
      --allocate layer --device cuda --thresholds-out "$folder/$1-$method.json" --format md ${grid[$method]:-} | tail -5
  done
}
bench() {  # DUMP SETTINGS: with these settings, those of the others, and every method with one knob
  local data=(--dump "$folder/$1.h5" --device cuda --time-limit 0.4 --format md) match=(--match out_rel_l2=0.05) settings how
  for settings in "$folder/$2.json" "$folder/$2"-*.json; do
    [ -f "$settings" ] || continue
    # Knobs that are thresholds on scores move together until the error is as asked; others stay as they were fitted.
    how=("${match[@]}")
    case $settings in *-xattention.json | *-flashprefill.json | *-flexprefill.json | *-sale.json) how=() ;; esac
    "$bin/anchor-bench" "${data[@]}" "${how[@]}" --thresholds "$settings" --baseline none \
      --out "$folder/$1-$(basename "$settings" .json).jsonl" || [ $? = 3 ]
  done
  "$bin/anchor-bench" "${data[@]}" "${match[@]}" --method stripes,$others --step 1 "${budgets[@]}" \
    --out "$folder/$1-others.jsonl" || [ $? = 3 ]  # a method that cannot reach the target says so in its row
}
