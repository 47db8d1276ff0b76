"""Two builds of the tools give the same rows: runs a list of commands with both and compares what they print and write,
field by field. For changes that should move nothing: the build before, the build after.

    python3 tests/bench/same_rows.py OLD_BIN NEW_BIN [WORD ...]        WORD: only commands that hold one of these words

Prints one line per command, and exits 1 if any differs. Ignored is what differs between two runs of one build, or names
the build: t, tool, env, argv, unit, time_ns, stages_ns, stats. Of timed rows, only what was kept is compared."""
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile

DATA = pathlib.Path(__file__).parents[2] / "data"
IGNORED = {"t", "tool", "env", "argv", "unit", "time_ns", "stages_ns", "stats", "provenance"}
OF_TIMED_ROWS = {"schema", "kind", "scope", "status", "dump", "geometry", "dtype", "method", "params", "device", "path", "plan_path", "density",
                 "work_density", "stripe_density", "mass_recall", "out_rel_l2", "target", "value", "knob"}
TIMED = "--seq 512 --q-heads 4 --kv-heads 2 --dim 32 --time-limit 0.05 --interval 0.5"

# {A}, {B}, {C}: three texts of one made-up model; {REAL}, {MADE}: the dumps of the repository; {rows}: recall rows;
# {out}: a name for written files, which are compared too.
COMMANDS = [line for line in f"""
anchor-dump inspect {{REAL}} --format json
anchor-dump inspect {{A}} --format jsonl
anchor-recall {{REAL}} --theta 4,12 --step 1
anchor-recall {{REAL}} --theta 12 --step 1 --stats
anchor-recall {{MADE}} --method all
anchor-recall {{A}} --method anchor,streaming,xattention,block-oracle --set streaming.local=128 --layers 1 --heads 0,3
anchor-recall {{A}} --block 32 --step 2 --pareto {{out}}.svg
anchor-recall {{A}} --method flexprefill,stripes --set flexprefill.min_budget=128 --measure none --pareto {{out}}.svg
anchor-sweep {{REAL}} --step 1 --target-recall 0.95 --thresholds-out {{out}}.json
anchor-sweep {{MADE}} --curves --target mass_recall=0.9
anchor-sweep {{MADE}} --curves=full --step 1 --measure none
anchor-sweep {{REAL}} --step 1 --grid 4:16:4
anchor-sweep {{A}} --block 32 --step 1,2,4 --target-recall 0.8
anchor-sweep {{A}} --block 32 --step 1 --row-curves 4 --heads 0,1
anchor-sweep {{A}} --method flexprefill --set min_budget=128 --grid 0.6,0.8,0.95 --target-recall 0.8
anchor-sweep {{A}} --method streaming --set sink=16 --grid 64-512*2 --target-recall 0.7 --row-curves 1
anchor-sweep {{A}} --block 32 --step 1 --target-recall 0.85 --allocate model --measure all --thresholds-out {{out}}.json
anchor-sweep {{A}} --block 32 --step 1 --target-recall 0.85 --allocate layer --floor 0.7
anchor-sweep {{A}} --block 32 --step 1 --allocate model --budget 0.4 --thresholds-out {{out}}.json
anchor-sweep {{A}} --block 32 --step 1 --allocate model --budget 0.0001
anchor-sweep {{A}} --method xattention --measure none
anchor-sweep fit {{REAL}} --step 1 --thresholds-out {{out}}.json
anchor-sweep fit {{A}},{{B}} --check {{C}} --block 32 --step 1 --target-recall 0.85 --thresholds-out {{out}}.json
anchor-sweep fit {{A}},{{B}} --check {{C}} --block 32 --step 1 --target-recall 0.85 --worst --margin 0.5
anchor-sweep fit {{A}},{{B}} --check {{C}} --block 32 --step 1 --target-recall 0.85 --measure none
anchor-sweep fit {{A}},{{B}} --check {{C}} --block 32 --step 1 --target-recall 0.85 --matrix
anchor-sweep fit {{A}},{{B}} --check {{C}} --block 32 --step 1 --target-recall 0.85 --leave-one-out
anchor-sweep fit {{A}},{{B}} --check {{C}} --method streaming --set sink=16 --grid 64-512*2 --target-recall 0.7
anchor-sweep fit {{A}},{{B}} --check {{C}} --method xattention --target-recall 0.9
anchor-sweep fit {{A}},{{B}} --check {{C}} --method stripes --block 32 --worst --choose score=pooled,rows@0.02 --thresholds-out {{out}}.json
anchor-sweep fit {{A}},{{B}} --method stripes --block 32 --worst --max-error 0.1 --target-recall 0.8
anchor-sweep fit {{A}},{{B}} --check {{C}} --method stripes --block 32 --allocate layer --target out_rel_l2=0.2 --thresholds-out {{out}}.json
anchor-sweep fit {{A}},{{B}} --method stripes --block 32 --allocate model --target out_rel_l2=0.2 --choose score=pooled,rows --choose window=0,16@0.01 --worst
anchor-sweep fit {{MADE}} --method stripes --choose score=pooled,antidiagonal@0.01
anchor-sweep calibrate {{A}} --method sale --error 0.4 --thresholds-out {{out}}.json
anchor-sweep calibrate {{A}},{{B}} --method sale --error 0.2
anchor-sweep calibrate {{REAL}} --method sale --error 0.1
anchor-sweep cluster {{A}} --out {{out}}.json
anchor-sweep cluster {{REAL}} --cut 0.6 --out {{out}}.json
anchor-bench {TIMED} --method anchor,streaming,xattention --baseline none
anchor-bench {TIMED} --method anchor,stripes --match mass_recall=0.9 --baseline none
anchor-bench {TIMED} --method anchor --step 1 --stripe-density 0.1 --baseline none
anchor-report {{rows}} --svg {{out}}.svg --figure pareto
anchor-report {{curves}} --svg {{out}}.svg --figure curves
anchor-report {{rows}} {{curves}} {{REAL}} --step 1 --html {{out}}.html
""".strip().splitlines()]


def old_spelling(words):
    """The command line of a build in which a fit and a calibration were flags of anchor-sweep."""
    if words[1] not in ("fit", "calibrate"):
        return words
    rest = ["--calibrate" if word == "--error" else word for word in words[3:]]
    return [words[0], "--fit", words[2], *rest]


class Build:
    def __init__(self, folder, scratch):
        self.folder, self.scratch = pathlib.Path(folder), scratch
        help_text = subprocess.run([self.folder / "anchor-sweep", "--help"], capture_output=True, text=True, check=True).stdout
        self.flags_only = "\n  --fit " in help_text

    def run(self, words):
        """What a command line prints and writes: exit code, rows, and files by suffix."""
        self.scratch.mkdir()
        words = [word.replace("{out}", str(self.scratch / "out")) for word in words]
        if words[0] in ("anchor-recall", "anchor-sweep", "anchor-bench"):
            words += ["--device", "cpu", "-q"] + (["--format", "jsonl"] if words[1] != "cluster" else [])
        words = old_spelling(words) if self.flags_only else words
        done = subprocess.run([self.folder / words[0], *words[1:]], capture_output=True, text=True)
        files = {path.suffix: content(path) for path in sorted(self.scratch.iterdir())}
        for path in self.scratch.iterdir():
            path.unlink()
        self.scratch.rmdir()
        return {"exit": done.returncode, "rows": printed(done.stdout), "files": files,
                "errors": done.stderr if done.returncode not in (0, 3, 4) else ""}


def printed(text):
    try:
        whole = json.loads(text)  # one document
        return [whole]
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


def content(path):
    """A written file as something to compare."""
    text = path.read_text()
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix == ".html":
        page = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
        return {name: part for name, part in page.items() if name not in ("made", "sources")}
    return text


def differences(old, new, where=""):
    """Where two values differ: "rows.3.density: 0.5 | 0.6"."""
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("kind") == "bench":
            old, new = ({name: value for name, value in row.items() if name in OF_TIMED_ROWS} for row in (old, new))
        for name in sorted((old.keys() | new.keys()) - IGNORED):
            if name not in old or name not in new:
                yield f"{where}{name}: only in the {'old' if name in old else 'new'}"
            else:
                yield from differences(old[name], new[name], f"{where}{name}.")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for n, (a, b) in enumerate(zip(old, new)):
            yield from differences(a, b, f"{where}{n}.")
    elif old != new:
        yield f"{where.rstrip('.')}: {str(old)[:60]} | {str(new)[:60]}"


def make_inputs(old, folder):
    """Dumps and rows that the commands read, made by the old build."""
    inputs = {"REAL": DATA / "smollm2.h5", "MADE": DATA / "synthetic.h5"}
    for name, seed, tokens in (("A", 1, 700), ("B", 2, 600), ("C", 3, 650)):
        inputs[name] = folder / f"{name.lower()}.h5"
        subprocess.run([old / "anchor-dump", "synthetic", "--layers", "2", "--q-heads", "4", "--kv-heads", "2", "--dim", "32", "--seq", str(tokens),
                        "--seed", str(seed), "--out", inputs[name]], check=True, capture_output=True)
    for name, words in (("rows", ("anchor-recall", "--theta", "3,9")), ("curves", ("anchor-sweep", "--curves"))):
        inputs[name] = folder / f"{name}.jsonl"
        subprocess.run([old / words[0], inputs["A"], *words[1:], "--block", "32", "--step", "1", "--device", "cpu", "-o", inputs[name]],
                       check=True, capture_output=True)
    return inputs


def main(old_folder, new_folder, *wanted):
    different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        inputs = make_inputs(pathlib.Path(old_folder), folder)
        old, new = (Build(bin_folder, folder / "written") for bin_folder in (old_folder, new_folder))
        for command in COMMANDS:
            if wanted and not any(word in command for word in wanted):
                continue
            words = command.format(out="{out}", **inputs).split()
            before, after = old.run(list(words)), new.run(list(words))
            found = list(itertools.islice(differences(before, after), 5))
            failed = before["exit"] not in (0, 3, 4)
            different += bool(found) or failed
            shown = re.sub(r"\{(\w+)\}", r"\1", command)
            verdict = "FAILS " if failed else "DIFFERS" if found else f"same, {len(before['rows'])} rows"
            print(f"{verdict:15} {shown}", *([before["errors"]] if failed else []), *found, sep="\n    " if found or failed else "", flush=True)
    return 1 if different else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
