"""Answers, density, mass and peaks of methods with and without a tail, at about one density.

    python3 configs/fidelity/row_that_answers.py FOLDER --model M.gguf [--density 0.6] [--count 25] [--device cpu]

Questions at the end of a prompt (kind needle) and inside it (needle_middle). The knob of a method that has exact curves
is the one at which its heads keep `--density` of the pairs in the mean, with the tail counted, on the first task's
prompt; the density beside the answers is what the prompts took. Recall is that of the first prompt's last 32 rows.
"""
import argparse
import json
import pathlib
import subprocess

KNOBS = {"anchor": "theta", "stripes": "theta", "xattention": "tau", "block-sparse": "topk"}
METHODS = [("anchor", {"step": 1}), ("stripes", {"score": "pooled"}), ("stripes", {"score": "rows"}),
           ("stripes", {"score": "peak"}), ("xattention", {}), ("block-sparse", {"block": 128})]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--bin", default="build/release/bin", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--density", default=0.6, type=float)
    parser.add_argument("--length", default="1k")
    parser.add_argument("--count", default=25, type=int)
    parser.add_argument("--tails", default="0,128", help="lengths of the tail, 0 = none")
    return parser.parse_args()


class Tools:
    def __init__(self, options):
        self.bin, self.device = options.bin, options.device

    def run(self, name, *words):
        subprocess.run([self.bin / name, *map(str, words)], check=True, stdout=subprocess.DEVNULL)

    def rows(self, path, name, *words):
        """The rows that a tool writes to `path`; a finished file is read again."""
        if not path.exists():
            self.run(name, *words, "--out", path)
        return [json.loads(line) for line in path.read_text().splitlines()]

    def on(self, name, *command):
        """--device, where the command takes it."""
        text = subprocess.run([self.bin / name, *command, "--help"], capture_output=True, text=True, check=True).stdout
        return ("--device", self.device) if "--device" in text else ()


def settings(params):
    return [word for name, value in params.items() for word in ("--set", f"{name}={value}")]


def knob_at(curves, density):
    """The largest knob at which the heads' mean density is at most that (all curves here ascend)."""
    number = float  # "inf" and "-inf" stand for infinities
    knobs = sorted({number(k) for curve in curves for k in curve["knob"] if abs(number(k)) != float("inf")})

    def mean(knob):
        total = 0
        for curve in curves:
            below = [d for k, d in zip(curve["knob"], curve["density"]) if number(k) <= knob]
            total += below[-1] if below else curve["density"][0]
        return total / len(curves)

    low, high = 0, len(knobs) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if mean(knobs[middle]) <= density else (low, middle - 1)
    return knobs[low]


def summary(rows, kind):
    """The row of all tasks of a kind."""
    return next(r for r in rows if r["scope"] == "kind" and r["task_kind"] == kind)


def mean(rows, name):
    values = [row[name] for row in rows if name in row]
    return f"{sum(values) / len(values):.3f}" if values else "-"


def main():
    options = arguments()
    tools, folder = Tools(options), options.folder
    folder.mkdir(parents=True, exist_ok=True)
    kinds = ("needle", "needle_middle")
    tasks, prompt, dump = (folder / name for name in ("tasks.jsonl", "prompt.txt", "prompt.h5"))
    if not tasks.exists():
        tools.run("anchor-eval", "tasks", "--tokenizer", options.model, "--length", options.length, "--kinds",
                  ",".join(kinds), "--count", options.count, "--out", tasks)
    first = json.loads(tasks.read_text().splitlines()[0])
    prompt.write_text(first["prompt"])
    if not dump.exists():
        tools.run("anchor-dump", "model", "--model", options.model, "--text", prompt, "--out", dump,
                  *tools.on("anchor-dump", "model"))
    print("| method | knob | density | needle: right (dense), flips, KL | needle_middle | mass, last 32 rows | "
          "peaks 1/4 | 1/16 |")
    print("|---|---|---|---|---|---|---|---|")
    for tail in map(int, options.tails.split(",")):
        for method, own in METHODS:
            params = own | ({"tail": tail} if tail else {})
            name = " ".join([method, *(f"{k}={v}" for k, v in params.items())])
            file = name.replace(" ", "_")
            chosen = ["--method", method, *settings(params)]
            curves = tools.rows(folder / f"{file}-curve.jsonl", "anchor-sweep", dump, *chosen, "--curves", "--measure",
                                "none", *tools.on("anchor-sweep"))
            knob = knob_at([r["curve"] for r in curves if r["kind"] == "curve" and r["scope"] == "head"], options.density)
            chosen += ["--set", f"{KNOBS[method]}={knob!r}"]
            answers = tools.rows(folder / f"{file}-eval.jsonl", "anchor-eval", "run", "--model", options.model, "--tasks",
                                 tasks, *chosen, *tools.on("anchor-eval", "run"))
            kept = tools.rows(folder / f"{file}-recall.jsonl", "anchor-recall", dump, *chosen, "--rows", "last:32",
                              *tools.on("anchor-recall"))
            cells = []
            for kind in kinds:
                row = summary(answers, kind)
                cells.append(f"{row['accuracy']:.2f} ({row['dense_accuracy']:.2f}), {row['flips']}, {row['kl_mean']:.3f}")
            density = summary(answers, kinds[0])["density"]
            print(f"| {name} | {knob:.4g} | {density:.3f} | {' | '.join(cells)} | {mean(kept, 'mass_recall')} | "
                  f"{mean(kept, 'peak_recall_0.25')} | {mean(kept, 'peak_recall_0.0625')} |", flush=True)


if __name__ == "__main__":
    main()
