"""Perplexity over the second half of a text with every method in every layer: at the paper's defaults, and at the
density of the given thresholds.

    python3 configs/stripes/perplexity.py BIN MODEL.gguf TEXT THRESHOLDS.json [--tokens 8k] [--device cuda]
        [--methods a,b] [--equal] [--fit A.h5,B.h5]

At equal density (--equal), --fit gives the others the freedom that the thresholds have: a knob per head, the least that
keeps the same recall on every one of these dumps; the recall is bisected until the density on the text is equal. Methods
without exact curves are fitted on a grid of knobs. Without --fit, or for a method that cannot be fitted, one knob.
"""

import argparse
import math
import pathlib
import re
import subprocess
import tempfile

# name: (fixed parameters, knob, knob that keeps little, knob that keeps much, searched on a logarithmic scale)
METHODS = {
    "streaming": (["streaming.sink=128"], "local", 128, 8192, True),
    "vertical-slash": ([], "slash", 64, 8192, True),
    "vertical-slash-blocks": ([], "slash", 128, 8192, True),
    "block-sparse": ([], "topk", 1, 128, True),
    "flexprefill": ([], "gamma", 0.2, 0.9999, False),
    "xattention": ([], "tau", 0.3, 0.9999, False),
    "spargeattn": ([], "cdf", 0.2, 0.9999, False),
    "sale": ([], "theta_h", 1, 1e-4, True),
    "flashprefill": ([], "alpha", 1, 1e-4, True),
    "anchor": ([], "theta", 0, 16, False),
}
# Parameters that follow the knob, so that a search moves both budgets, and least budgets low enough to search at all.
FOLLOW = {"vertical-slash": lambda x: [f"vertical-slash.vertical={max(1, round(x / 6))}"],
          "vertical-slash-blocks": lambda x: [f"vertical-slash-blocks.vertical={x}"],
          "flexprefill": lambda x: ["flexprefill.min_budget=128"]}
# Methods that `anchor-sweep fit` gives a knob per head, with what it needs to know.
FITTED = {"anchor": ["--step", "1"], "xattention": [], "flashprefill": [], "sale": [], "block-sparse": [],
          "flexprefill": ["--set", "min_budget=128", "--grid", "0.3,0.5,0.7,0.8,0.9,0.95,0.98,0.99,0.995"],
          "streaming": ["--set", "sink=128", "--grid", "128,256,512,1k,2k,4k,8k"],
          "vertical-slash": ["--grid", "128,256,512,1k,2k,4k,8k"]}


def run(args, *flags):
    command = [str(args.bin / "anchor-dump"), "model", "--model", args.model, "--text", args.text, "--tokens", args.tokens,
               "--device", args.device, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    text = done.stdout + done.stderr
    density = re.search(r"density ([\d.]+)", text)
    return (float(density[1]) if density else 1.0), float(re.search(r"second half ([\d.]+)", text)[1])


def settings(method, fixed, knob, x):
    flags = ["--method", method]
    whole = knob in ("local", "slash", "topk")
    value = round(x) if whole else x
    for pair in [*fixed, f"{method}.{knob}={value}", *FOLLOW.get(method, lambda _: [])(value)]:
        flags += ["--set", pair]
    return flags, value


def per_head(args, method, recall):
    """Thresholds that keep this share of every head's mass on each of the dumps that are fitted."""
    with tempfile.NamedTemporaryFile(suffix=".json") as thresholds:
        command = [str(args.bin / "anchor-sweep"), "fit", args.fit, "--method", method, "--device", args.device, *FITTED[method],
                   "--target-recall", f"{recall:.6f}", "--worst", "--measure", "none", "--thresholds-out", thresholds.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if done.returncode not in (0, 4):  # 4: on a grid, some heads miss the recall at the densest knob
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
        return run(args, "--thresholds", thresholds.name)


def one_knob(args, method, x):
    fixed, knob, *_ = METHODS[method]
    flags, value = settings(method, fixed, knob, x)
    return run(args, *flags), f"{knob} = {value:.4g}"


def at_density(args, method, target):
    """The knob, or the recall of a knob per head, whose plans keep about that share of the pairs, by bisection."""
    if args.fit and method in FITTED:
        to, back, few, much = (lambda r: -math.log(1 - r)), (lambda x: 1 - math.exp(-x)), 0.3, 0.9999
        attempt = lambda recall: (per_head(args, method, recall), f"a knob per head, recall {recall:.3f}")
    else:
        few, much, logarithmic = METHODS[method][2:]
        to, back = (math.log, math.exp) if logarithmic else (float, float)
        attempt = lambda x: one_knob(args, method, x)
    low, high = to(few), to(much)
    best = None
    for _ in range(8):
        (density, perplexity), how = attempt(back((low + high) / 2))
        if best is None or abs(density - target) < abs(best[0] - target):
            best = (density, perplexity, how)
        if abs(density - target) < 0.003:
            break
        low, high = (low, (low + high) / 2) if density > target else ((low + high) / 2, high)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=pathlib.Path)
    for name in ("model", "text", "thresholds"):
        parser.add_argument(name)
    parser.add_argument("--tokens", default="8k")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--equal", action="store_true", help="also every method at the thresholds' density")
    parser.add_argument("--fit", help="dumps of other texts, with commas: --equal gives every method a knob per head")
    args = parser.parse_args()
    args.bin = args.bin.resolve()
    _, dense = run(args)
    print(f"| method | density | perplexity | increase |\n|---|---|---|---|\n| dense | 1 | {dense:.3f} | |")

    def line(name, density, perplexity):
        print(f"| {name} | {density:.3f} | {perplexity:.3f} | {100 * (perplexity / dense - 1):.1f} % |", flush=True)

    ours = run(args, "--thresholds", args.thresholds)
    line(f"stripes, {pathlib.Path(args.thresholds).name}", *ours)
    for method in args.methods.split(","):
        line(f"{method}, defaults", *run(args, "--method", method))
        if args.equal:
            density, perplexity, knob = at_density(args, method, ours[0])
            line(f"{method}, {knob}", density, perplexity)
    if args.equal and "anchor" in args.methods:
        METHODS["anchor"] = (["anchor.step=1"], *METHODS["anchor"][1:])
        density, perplexity, knob = at_density(args, "anchor", ours[0])
        line(f"anchor, step 1, {knob}", density, perplexity)


if __name__ == "__main__":
    main()
