"""Perplexity over the second half of a text with every method in every layer: at the paper's defaults, and at the
density of the given thresholds.

    python3 configs/stripes/perplexity.py BIN MODEL.gguf TEXT THRESHOLDS.json [--tokens 8k] [--device cuda]
        [--methods a,b] [--equal]
"""

import argparse
import math
import pathlib
import re
import subprocess

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


def at_density(args, method, target):
    """The knob whose plans keep about that share of the pairs, by bisection."""
    fixed, knob, few, much, logarithmic = METHODS[method]
    to, back = (math.log, math.exp) if logarithmic else (float, float)
    low, high = to(few), to(much)
    best = None
    for _ in range(8):
        flags, value = settings(method, fixed, knob, back((low + high) / 2))
        density, perplexity = run(args, *flags)
        if best is None or abs(density - target) < abs(best[0] - target):
            best = (density, perplexity, f"{knob} = {value:.4g}")
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
