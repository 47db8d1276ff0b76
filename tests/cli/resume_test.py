"""--resume keeps a row only where the whole request is the same: after any change of an option the file holds the rows of a fresh
run; what cannot change a result (threads, names of outputs) recomputes nothing."""
import json
import unittest
from pathlib import Path

import numpy as np

from tools import ToolTest, heads, rows, run, write_dump

# What two runs of one request may have otherwise.
LOOSE = {"t", "argv", "env", "time_ns", "stages_ns", "stats", "unit"}


def result(row):
    return json.dumps({name: value for name, value in row.items() if name not in LOOSE and not name.startswith(("tflops", "speedup", "ci95", "settled", "matmul", "peak"))},
                      sort_keys=True)


class Case(ToolTest):
    def check(self, base, changes, same=(), timed=False):
        """base: a command line without outputs. Each change is a function of it that gives another one, which must not be answered
        from the rows of the base; each of `same` is one that must be answered from them alone."""
        kept = self.path("kept.jsonl")
        done = run(*base, "-o", kept, "-q")
        self.assertIn(done.returncode, (0, 4), done.stderr)
        before = Path(kept).read_text()
        for change in same:
            Path(kept).write_text(before)
            done = run(*change(base), "-o", kept, "--resume", "-q")
            self.assertIn(done.returncode, (0, 4), done.stderr)
            self.assertEqual(Path(kept).read_text(), before, change(base))
        for change in changes:
            line = change(base)
            with self.subTest(line=line):
                Path(kept).write_text(before)
                done = run(*line, "-o", kept, "--resume", "-q")
                self.assertIn(done.returncode, (0, 4), done.stderr)
                fresh = run(*line, "-q", "-o", self.path("fresh.jsonl"))
                expected = rows(Path(self.path("fresh.jsonl")).read_text())
                after = {row["unit"]: row for row in rows(Path(kept).read_text())}
                for row in expected:  # under its unit stands what a fresh run finds
                    self.assertIn(row["unit"], after)
                    self.assertEqual(result(after[row["unit"]]), result(row))
                if timed:
                    known = {row["unit"] for row in rows(before)}
                    self.assertFalse(known & {row["unit"] for row in expected})

    @staticmethod
    def plus(*words):
        return lambda base: (*base, *words)

    @staticmethod
    def swap(old, new):
        return lambda base: tuple(new if word == old else word for word in base)

    def thresholds(self, name, dump, target):
        run("anchor-sweep", dump, "--block", 16, "--step", 2, "--target-recall", target, "--thresholds-out", self.path(name), "-q", "--device", "cpu")
        return self.path(name)

    def setUp(self):
        super().setUp()
        self.d = self.path("d.h5")
        write_dump(self.d, {n: (*heads(n, 4, 2, 160, 160, 32), {}) for n in range(2)})
        write_dump(self.path("scale.h5"), {n: (*heads(n, 4, 2, 160, 160, 32), {"softmax_scale": np.float64(0.3)}) for n in range(2)})
        write_dump(self.path("start.h5"), {n: (heads(n, 4, 2, 160, 160, 32)[0][:, 32:], *heads(n, 4, 2, 160, 160, 32)[1:], {"q_start": np.int64(32)}) for n in range(2)})
        write_dump(self.path("start0.h5"), {n: (heads(n, 4, 2, 160, 160, 32)[0][:, 32:], *heads(n, 4, 2, 160, 160, 32)[1:], {"q_start": np.int64(0)}) for n in range(2)})
        write_dump(self.path("e.h5"), {n: (*heads(n + 9, 4, 2, 160, 160, 32), {}) for n in range(2)})


OUTPUTS = lambda case: [case.plus("--threads", 1), case.plus("--memory", "1G"), case.plus("--format", "csv"), case.plus("-o", case.path("more.csv")),
                        case.plus("-v")]


class Recall(Case):
    def test_recall(self):
        one, two = self.thresholds("one.json", self.d, 0.9), self.thresholds("two.json", self.d, 0.99)
        clusters = self.path("c.json")
        run("anchor-sweep", "cluster", self.d, "-o", clusters, "-q")
        base = ("anchor-recall", self.d, "--device", "cpu", "--block", 16, "--step", 2, "--theta", 3)
        plus, swap = self.plus, self.swap
        self.check(base, [swap(3, 2), swap(16, 32), swap(2, 1), swap(self.d, self.path("scale.h5")), swap(self.d, self.path("start.h5")), swap(self.d, self.path("e.h5")),
                          plus("--stats"), plus("--mode", "v4"), plus("--set", "tail=dense"), plus("--heads", "0,3"), plus("--layers", 1), swap("cpu", "reference"),
                          lambda b: ("anchor-recall", self.d, "--device", "cpu", "--thresholds", one)],
                   same=OUTPUTS(self) + [plus("--heatmap"), plus("--metric", "density"), plus("--svg", self.path("h.svg")), plus("--html", self.path("h.html"))])
        self.check(("anchor-recall", self.path("start.h5"), "--device", "cpu", "--block", 16, "--step", 2), [swap(self.path("start.h5"), self.path("start0.h5"))])
        share = ("anchor-recall", self.d, "--device", "cpu", "--method", "shareprefill", "--set", f"clusters={clusters}", "--set", "min_budget=16")
        self.check(share, [self.plus("--heads", "2,3"), self.plus("--layers", 1)])
        for first, second in ((one, two), (two, one)):  # the file's contents, not its name
            name = self.path("T.json")
            Path(name).write_text(Path(first).read_text())
            swapped = lambda base, text=Path(second).read_text(): (Path(name).write_text(text), base)[1]
            self.check(("anchor-recall", self.d, "--device", "cpu", "--thresholds", name), [swapped])
        changed = json.loads(Path(clusters).read_text())
        changed["shared_clusters"] = []
        self.check(share, [lambda base: (Path(clusters).write_text(json.dumps(changed)), base)[1]])


class Sweep(Case):
    def test_sweep(self):
        base = ("anchor-sweep", self.d, "--device", "cpu", "--block", 16, "--step", "1,2", "--target-recall", 0.95)
        plus, swap = self.plus, self.swap
        self.check(base, [swap(0.95, 0.9), swap(16, 32), swap("1,2", "1,4"), swap("1,2", "2"), swap("1,2", "1,2,4"), plus("--heads", "0,1"), plus("--layers", 0),
                          swap(self.d, self.path("scale.h5")), swap(self.d, self.path("start.h5")), swap(self.d, self.path("e.h5")), plus("--measure", "none"),
                          plus("--measure", "all"), plus("--curves"), plus("--curves=full"), plus("--row-curves", 3), plus("--grid", "1,2"), plus("--set", "tail=dense")],
                   same=OUTPUTS(self))
        self.check((*base, "--heads", "0,1"), [swap("0,1", "2,3"), swap("0,1", "0,2")])  # as many heads, others
        allocated = ("anchor-sweep", self.d, "--device", "cpu", "--block", 16, "--step", 2, "--allocate", "model", "--floor", 0.5, "--heads", "0,1")
        self.check(allocated, [swap("model", "layer"), swap(0.5, 0.9), swap(0.5, 0), swap("0,1", "1,2"), plus("--budget", 0.5), plus("--target-recall", 0.8)],
                   same=[plus("--thresholds-out", self.path("T.json"))])

    def test_fit_and_calibrate(self):
        base = ("anchor-sweep", "fit", f"{self.d},{self.path('e.h5')}", "--device", "cpu", "--method", "stripes", "--block", 16, "--layers", 0, "--margin", 0.1)
        plus, swap = self.plus, self.swap
        self.check(base, [swap(0.1, 0.5), plus("--worst"), plus("--worst", "--max-error", 0.01), plus("--matrix"), plus("--leave-one-out"), plus("--choose", "window=0,32"),
                          plus("--measure", "none"), plus("--target-recall", 0.8), plus("--heads", "1,2"), plus("--check", self.path("scale.h5")),
                          lambda b: (*b[:2], f"{self.d},{self.path('scale.h5')}", *b[3:])], same=OUTPUTS(self))
        allocated = ("anchor-sweep", "fit", f"{self.d},{self.path('e.h5')}", "--device", "cpu", "--method", "stripes", "--block", 16, "--layers", 0, "--allocate", "model",
                     "--target", "out_rel_l2=0.2", "--heads", "0,1")
        self.check(allocated, [swap("model", "layer"), swap("out_rel_l2=0.2", "out_rel_l2=0.1"), swap("0,1", "0,2")])
        sale = ("anchor-sweep", "calibrate", f"{self.d},{self.path('e.h5')}", "--error", 0.4, "--layers", 0, "--device", "cpu")
        self.check(sale, [swap(0.4, 0.1), plus("--set", "window=64"), plus("--set", "theta_h=0.016"), plus("--heads", 1),
                          lambda b: (*b[:2], f"{self.path('e.h5')},{self.d}", *b[3:])], same=OUTPUTS(self))


class Bench(Case):
    def test_bench(self):
        base = ("anchor-bench", "--seq", 128, "--q-heads", 2, "--kv-heads", 1, "--dim", 32, "--method", "anchor", "--block", 16, "--step", 2, "--device", "cpu",
                "--time-limit", 0.02, "--baseline", "none", "--threads", 1)
        plus, swap = self.plus, self.swap
        self.check(base, [swap(128, 160), swap(32, 64), swap(16, 32), swap(0.02, 0.03), swap("none", "dense"), plus("--warm"),
                          plus("--interval", 0.5), plus("--checked-rows", 16), plus("--seed", 7), plus("--dtype", "f16"), plus("--data", "synthetic:local"),
                          plus("--match", "mass_recall=0.9"), plus("--stripe-density", 0.2)],
                   same=[plus("--memory", "1G"), plus("--format", "csv"), plus("-o", self.path("more.csv"))], timed=True)
        # The time of one thread is not that of two.
        self.check(base, [lambda b: (*b[:-1], 2)], timed=True)
        one, two = self.thresholds("one.json", self.d, 0.9), self.thresholds("two.json", self.d, 0.99)
        name = self.path("T.json")
        Path(name).write_text(Path(one).read_text())
        real = ("anchor-bench", "--dump", self.d, "--thresholds", name, "--device", "cpu", "--time-limit", 0.02, "--baseline", "none", "--layers", 0)
        self.check(real, [plus("--heads", "0,1"), plus("--seq", 96), lambda base: (Path(name).write_text(Path(two).read_text()), base)[1]], timed=True)


if __name__ == "__main__":
    unittest.main()
