"""anchor-bench on the CPU: what its rows hold, what it refuses, resuming, and comparing two runs."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

BIN = pathlib.Path(os.environ["ANCHOR_BIN"])
SMALL = ["--device", "cpu", "--q-heads", "4", "--kv-heads", "2", "--dim", "32", "--time-limit", "0.2", "--interval", "0.5"]


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_bench_"))
        self.addCleanup(shutil.rmtree, self.folder)

    def run_tool(self, *arguments, code=0, small=True, tool="anchor-bench"):
        command = [BIN / tool, *map(str, arguments), *(SMALL if small else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.notes = done.stderr
        return done.stdout

    def bench(self, *arguments, **options):
        return [json.loads(line) for line in self.run_tool(*arguments, **options).splitlines()]

    def refused(self, *arguments, code=2, small=True):
        self.assertEqual(self.run_tool(*arguments, code=code, small=small), "")
        self.assertEqual(self.notes.count("\n"), 1, self.notes)
        return self.notes


class Rows(Case):
    def test_every_method_and_length_has_a_checked_row_with_all_its_samples(self):
        rows = self.bench("--seq", "256-1k*2", "--method", "anchor,streaming", "--step", "1,2", "--baseline", "dense")
        self.assertEqual(len(rows), 3 * 4)
        for row in rows:
            self.assertEqual((row["kind"], row["scope"], row["status"]), ("bench", "layer", "ok"))
            samples = sorted(row["time_ns"]["total"])
            self.assertEqual(row["stats"]["n"], len(samples))
            self.assertEqual("ci95_ns" in row["stats"], len(samples) >= 6)  # fewer have no interval
            low, high = row["stats"].get("ci95_ns", (samples[0], samples[-1]))
            self.assertLessEqual(samples[0], low)
            self.assertLessEqual(low, row["stats"]["median_ns"])
            self.assertLessEqual(row["stats"]["median_ns"], high)
            self.assertLessEqual(row["check_out"], 1)
            self.assertLessEqual(row["check_lse"], 1)
            self.assertGreaterEqual(row["checked_rows"], 64)
            heads, tokens, dim = row["geometry"]["q_heads"], row["geometry"]["q_len"], 32
            flop = 4 * dim * heads * tokens * (tokens + 1) / 2
            self.assertAlmostEqual(row["tflops_dense"] * row["stats"]["median_ns"] * 1e3 / flop, 1, places=9)
            self.assertAlmostEqual(row["tflops_useful"] / row["tflops_dense"], row["density"], places=9)
            self.assertEqual(set(row["stages_ns"]), {"plan", "execute"})
        for dense in (row for row in rows if row["method"] == "dense"):
            self.assertEqual(dense["speedup_dense"], 1)
            self.assertEqual(dense["density"], 1)
        self.assertEqual([row["geometry"]["q_len"] for row in rows], [256] * 4 + [512] * 4 + [1024] * 4)

    def test_every_method_is_timed_at_the_knob_that_meets_a_target(self):
        methods = "anchor,streaming,vertical-slash,xattention,sale"
        shape = ["--seq", "2k", "--method", methods, "--step", "2", "--set", "streaming.sink=16", "--baseline", "none"]
        for metric, target in (("mass_recall", 0.9), ("out_rel_l2", 0.2)):
            rows = self.bench(*shape, "--match", f"{metric}={target}")
            self.assertEqual([row["method"] for row in rows], methods.split(","))
            for row in rows:
                self.assertEqual(row["status"], "ok")
                self.assertEqual(row["target"], {"metric": metric, "statistic": "mean", "value": target})
                self.assertEqual(row["params"][row["knob"]], row["value"])
                self.assertGreaterEqual(row["stats"]["n"], 1)
                self.assertGreaterEqual(1, row["mass_recall"])
                if metric == "mass_recall":
                    self.assertGreaterEqual(row[metric], target)
                else:
                    self.assertLessEqual(row[metric], target)
            # anchor's knob is continuous: nothing cheaper would do, so that it ends close to the target
            self.assertLess(abs(rows[0][metric] - target), 0.03 * target)
            vertical = rows[2]["params"]
            self.assertAlmostEqual(vertical["slash"] / vertical["vertical"], 6.096, delta=6.096 * 0.5 / vertical["vertical"])

    def test_thresholds_are_moved_together_to_meet_a_target(self):
        dump, thresholds = self.folder / "d.h5", self.folder / "t.json"
        self.run_tool("synthetic", "--seq", "1k", "--q-heads", 4, "--kv-heads", 2, "--dim", 32, "--dtype", "bf16",
                      "--out", dump, tool="anchor-dump", small=False)
        sweep = ["--measure", "none", "--thresholds-out", thresholds, "-q"]
        self.run_tool(dump, "--method", "stripes", "--target-recall", 0.9, *sweep, tool="anchor-sweep", small=False)
        speed = ["--device", "cpu", "--time-limit", "0.2", "--interval", "0.5", "--baseline", "none"]
        rows = [self.bench("--dump", dump, "--thresholds", thresholds, "--match", f"out_rel_l2={error}", *speed,
                           small=False)[0] for error in (0.1, 0.02)]
        for row, error in zip(rows, (0.1, 0.02), strict=True):
            self.assertNotIn("theta", row["params"])
            self.assertLessEqual(row["out_rel_l2"], error)
            self.assertGreater(row["out_rel_l2"], 0.9 * error)
        self.assertLess(rows[0]["value"], rows[1]["value"])
        self.assertLess(rows[0]["density"], rows[1]["density"])
        sizes, units = [0, 16, 16, 16], set()
        for heads in (sizes, sizes[::-1], [16] * 4, [0] * 4):  # what heads choose for themselves is part of the row's identity
            made = json.loads(thresholds.read_text())
            made["format_version"], made["layers"][0]["params"] = "1.1", {"window": heads}
            thresholds.write_text(json.dumps(made))
            row = self.bench("--dump", dump, "--thresholds", thresholds, *speed, small=False)[0]
            self.assertEqual("window" in row["params"], heads == [0] * 4)
            units.add(row["unit"])
        self.assertEqual(len(units), 4)
        self.run_tool(dump, "--method", "xattention", *sweep, tool="anchor-sweep", small=False)
        message = self.refused("--dump", dump, "--thresholds", thresholds, "--match", "mass_recall=0.9", *speed, small=False)
        self.assertIn("thresholds on scores, not tau", message)

    def test_targets_that_make_no_sense_or_cannot_be_met(self):
        self.refused("--seq", "512", "--match", "mass_recall=2")
        self.refused("--seq", "512", "--match", "density=0.5")
        self.refused("--seq", "512", "--match", "mass_recall=0.9", "--stripe-density", "0.1")
        gap = ["--method", "anchor", "--set", "mode=v4", "--step", "2"]  # v4 never sees the keys just before a group
        row = self.bench("--seq", "2k", *gap, "--match", "mass_recall=0.9999999", "--baseline", "none", code=4)[0]
        self.assertEqual(row["status"], "error")
        self.assertIn("is not met", row["error"])

    def test_a_stripe_density_is_met_by_a_theta_that_the_row_names(self):
        rows = self.bench("--seq", "1k", "--step", "1", "--stripe-density", "0.03,0.1", "--baseline", "none")
        for row, wanted in zip(rows, (0.03, 0.1), strict=True):
            self.assertAlmostEqual(row["stripe_density"], wanted, delta=0.02 * wanted)
            self.assertEqual(row["target"], {"metric": "stripe_density", "statistic": "layer", "value": wanted})
            self.assertEqual(row["value"], row["params"]["theta"])

    def test_real_heads_come_from_a_dump_in_prefixes(self):
        dump = self.folder / "d.h5"
        self.run_tool("synthetic", "--seq", "600", "--q-heads", 6, "--kv-heads", 3, "--dim", 32, "--layers", 2,
                      "--dtype", "bf16", "--out", dump, tool="anchor-dump", small=False)
        speed = ["--device", "cpu", "--time-limit", "0.2", "--interval", "0.5", "--baseline", "none"]
        rows = self.bench("--dump", dump, "--seq", "300,600", "--layers", "1", "--heads", "2-5", "--method", "dense",
                          *speed, small=False)
        self.assertEqual([row["geometry"]["kv_len"] for row in rows], [300, 600])
        for row in rows:
            self.assertEqual(row["dump"]["layer"], 1)
            self.assertEqual((row["geometry"]["q_heads"], row["geometry"]["kv_heads"]), (4, 2))
            self.assertEqual(row["geometry"]["dtype"], "bf16")
        self.assertNotEqual(rows[0]["unit"], rows[1]["unit"])
        self.assertIn("equally many", self.refused("--dump", dump, "--heads", "0,1,2", *speed, small=False))
        self.assertIn("contradicts --dump", self.refused("--dump", dump, "--dim", 32, *speed, small=False))
        self.assertIn("no layer", self.refused("--dump", dump, "--layers", "7", *speed, small=False, code=1))
        self.assertIn("tokens", self.refused("--dump", dump, "--seq", "1k", *speed, small=False, code=1))

    def test_a_baseline_that_is_not_there_is_a_row_with_its_reason(self):
        rows = self.bench("--seq", "256", "--method", "dense", "--baseline", "cudnn")
        self.assertEqual([(row["method"], row["status"]) for row in rows], [("cudnn", "skipped"), ("dense", "ok")])
        self.assertIn("CUDA device", rows[0]["error"])
        self.assertNotIn("speedup_cudnn", rows[1])

    def test_a_resumed_run_does_only_what_is_missing(self):
        out = self.folder / "rows.jsonl"
        options = ["--method", "dense,streaming", "--baseline", "none", "--out", out]
        first = self.bench("--seq", "256", *options)
        both = self.bench("--seq", "256,512", *options, "--resume")
        self.assertEqual(both[:2], first)
        self.assertEqual([row["geometry"]["q_len"] for row in both], [256, 256, 512, 512])
        self.assertEqual([json.loads(line) for line in out.read_text().splitlines()], both)


class Refusals(Case):
    def test_flags_that_make_no_sense(self):
        for arguments, words in [
            (["--data", "noise"], "synthetic:PATTERN"),
            (["--data", "synthetic:nonsense"], "nonsense"),
            (["--layers", "0"], "--dump"),
            (["--baseline", "flash"], "cudnn, dense"),
            (["--method", "dense", "--stripe-density", "0.1"], "threshold"),
            (["--stripe-density", "2"], "between 0 and 1"),
            (["--method", "topk"], "quality"),
            (["--thresholds", "t.json"], "--dump"),
            (["--thresholds", "t.json", "--stripe-density", "0.1"], "exclude"),
            (["--seq", "0"], "--seq"),
            (["--device", "gpu0"], "unknown device"),
            (["--bogus"], "bogus"),
        ]:
            with self.subTest(arguments=arguments):
                small = [] if "--device" in arguments else SMALL
                self.assertIn(words, self.refused(*arguments, *small, small=False))
        self.assertIn("multiple", self.refused("--q-heads", 5, "--kv-heads", 2, "--device", "cpu", small=False))


class Compare(Case):
    def write(self, name, medians):
        """Rows like the tool's, with given medians and intervals of 2 %."""
        path = self.folder / name
        rows = self.bench("--seq", "256", "--method", "dense,streaming", "--baseline", "none")
        with open(path, "w") as file:
            for row, median in zip(rows, medians, strict=True):
                row["stats"] = {"median_ns": median, "ci95_ns": [0.99 * median, 1.01 * median], "n": 30}
                file.write(json.dumps(row) + "\n")
        return path

    def compare(self, before, after, *options, code=0):
        return self.run_tool("compare", before, after, *options, code=code, small=False)

    def test_verdicts_and_exit_codes(self):
        base, slow, fast = self.write("a", [100, 100]), self.write("b", [100.5, 110]), self.write("c", [90, 100])
        self.assertEqual([line.split()[0] for line in self.compare(base, slow, code=4).splitlines()], ["same", "slower"])
        self.assertEqual([line.split()[0] for line in self.compare(base, fast).splitlines()], ["faster", "same"])
        self.assertEqual([line.split()[0] for line in self.compare(base, slow, "--margin", "0.1").splitlines()], ["same"] * 2)

    def test_files_that_cannot_be_compared(self):
        base = self.write("a", [100, 100])
        broken = self.folder / "broken"
        broken.write_text("{}\n")
        empty = self.folder / "empty"
        empty.write_text("")
        for other in (broken, empty, self.folder / "absent"):
            self.compare(base, other, code=1)
            self.assertEqual(self.notes.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
