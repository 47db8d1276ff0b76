"""Exact curves against brute force on a real dump: anchor-sweep's curve at some thetas, and anchor-recall's replay of the
planner at each of them, head by head.

    python3 tests/bench/curves_vs_replay.py build/release/bin D.h5 [OPTIONS OF BOTH TOOLS, such as --step 4 --device cuda]
"""
import json
import subprocess
import sys

folder, dump, *options = sys.argv[1:]
thetas = "-4:20:3"


def rows(tool, *arguments):
    done = subprocess.run([f"{folder}/{tool}", dump, *arguments, *options, "--format", "jsonl", "-q"], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


replayed = {(r["dump"]["layer"], r["dump"]["head"], r["params"]["theta"]): r for r in rows("anchor-recall", f"--theta={thetas}")}
worst = {"density": 0.0, "mass_recall": 0.0}
compared = 0
for row in rows("anchor-sweep", f"--grid={thetas}", "--measure", "none"):
    if row["kind"] != "curve" or row["scope"] != "head":
        continue
    for n, theta in enumerate(row["curve"]["knob"]):
        other = replayed[row["dump"]["layer"], row["dump"]["head"], theta]
        for name in worst:
            worst[name] = max(worst[name], abs(row["curve"][name][n] - other[name]))
        compared += 1
print(f"{dump}: {compared} points of {len(replayed)} replays; largest difference in density {worst['density']:.1e}, in mass_recall {worst['mass_recall']:.1e}")
sys.exit(0 if compared == len(replayed) and max(worst.values()) <= 1e-4 else 4)
