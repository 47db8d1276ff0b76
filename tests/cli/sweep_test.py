"""anchor-sweep as a user runs it: thresholds, grids, fits, targets that are out of reach, interruption and resume."""
import json
import os
import signal
import subprocess
import time
import unittest
from pathlib import Path

import h5py
import numpy as np

from tools import ToolTest, rows, run, run_in_terminal, tool

SMALL = ("--block", 16, "--step", 2)


def plain(text):
    """Rows without what differs between two runs of the same thing."""
    return [{k: v for k, v in row.items() if k not in ("t", "argv")} for row in rows(text)]


def curves(text, scope="head"):
    return {r["dump"].get("head"): r["curve"] for r in rows(text) if r["kind"] == "curve" and r["scope"] == scope}


def evaluate(curve, x):
    """(density, recall) of a step function of the knob."""
    if "steps" not in curve:
        curve["steps"] = np.array(curve["knob"], np.float64)
    at = np.searchsorted(curve["steps"], x, side="right") - 1
    return curve["density"][at], curve["mass_recall"][at]


class Curves(ToolTest):
    def test_thin_curves_stay_within_their_tolerance_and_start_with_the_forced_entries(self):
        path = self.dump(layers=1, length=500)
        full = curves(run("anchor-sweep", path, *SMALL, "--curves=full").stdout)
        thin = curves(run("anchor-sweep", path, *SMALL, "--curves").stdout)
        for head, curve in full.items():
            self.assertLess(len(thin[head]["knob"]), len(curve["knob"]))
            self.assertEqual(thin[head]["knob"][0], "-inf")
            for knob in curve["knob"]:
                for a, b in zip(evaluate(curve, float(knob)), evaluate(thin[head], float(knob))):
                    self.assertAlmostEqual(a, b, delta=5.01e-4)
            self.assertEqual(curve["density"], sorted(curve["density"]))
            self.assertAlmostEqual(curve["density"][-1], 1, delta=1e-9)

    def test_values_are_the_least_critical_values_that_reach_the_target(self):
        path = self.dump(layers=2, length=500)
        text = run("anchor-sweep", path, *SMALL, "--curves=full", "--target", "mass_recall=0.8", "--layers", 1).stdout
        full, chosen = curves(text), 0
        for row in rows(text):
            if row["kind"] != "sweep" or row["scope"] != "head":
                continue
            curve = full[row["dump"]["head"]]
            at = next(n for n, recall in enumerate(curve["mass_recall"]) if recall >= 0.8)
            self.assertEqual((row["value"], row["density"], row["mass_recall"]),
                             (curve["knob"][at], curve["density"][at], curve["mass_recall"][at]))
            self.assertEqual(row["target"], {"metric": "mass_recall", "statistic": "mean", "value": 0.8})
            self.assertNotIn("theta", row["params"])
            chosen += at > 0
        self.assertGreater(chosen, 0)

    def test_the_global_knob_reaches_the_target_with_about_the_least_density(self):
        path = self.dump(layers=3, length=500)
        text = run("anchor-sweep", path, *SMALL, "--curves=full", "--target-recall", 0.85).stdout
        found = [r for r in rows(text) if r["scope"] == "all"]
        self.assertEqual(len(found), 1)
        every = [r["curve"] for r in rows(text) if r["kind"] == "curve" and r["scope"] == "head"]
        mean = lambda x: np.mean([evaluate(c, x) for c in every], axis=0)
        density, recall = mean(found[0]["value"])
        self.assertGreaterEqual(recall, 0.85 - 1e-9)
        self.assertAlmostEqual(found[0]["mass_recall"], recall, delta=5e-4)
        self.assertAlmostEqual(found[0]["density"], density, delta=5e-4)
        knobs = np.unique([float(k) for c in every for k in c["knob"]])
        least = next(x for x in knobs if mean(x)[1] >= 0.85)
        self.assertLess(recall - mean(least)[1], 1e-3)  # the curves of layers are thinned to 5e-4
        self.assertEqual((found[0]["heads"], found[0]["heads_below_target"]), (12, 0))
        values = [r for r in rows(text) if r["kind"] == "sweep" and r["scope"] == "head"]
        self.assertAlmostEqual(found[0]["per_head_density"], np.mean([r["density"] for r in values]), delta=1e-12)

    def test_a_grid_reads_the_exact_curve_and_equals_recall_there(self):
        path = self.dump(layers=1, length=400)
        grid = curves(run("anchor-sweep", path, *SMALL, "--grid", "0:6:1.5", "--target-recall", 0.5).stdout)
        replays = rows(run("anchor-recall", path, *SMALL, "--theta", "0:6:1.5").stdout)
        self.assertEqual(len(replays), 4 * 5)
        for row in replays:
            curve = grid[row["dump"]["head"]]
            self.assertEqual(len(curve["knob"]), 5)
            at = curve["knob"].index(row["params"]["theta"])
            self.assertAlmostEqual(curve["density"][at], row["density"], delta=1e-9)
            self.assertAlmostEqual(curve["mass_recall"][at], row["mass_recall"], delta=1e-5)

    def test_methods_without_critical_values_are_replayed_on_the_grid(self):
        path = self.dump(layers=2, length=400)
        arguments = ("--method", "streaming", "--set", "sink=4")
        text = run("anchor-sweep", path, *arguments, "--grid", "32-256*2", "--target-recall", 0.2).stdout
        replays = rows(run("anchor-recall", path, *arguments, "--set", "local=64").stdout)
        for row in replays:
            curve = next(r["curve"] for r in rows(text) if r["kind"] == "curve" and r["scope"] == "head"
                         and (r["dump"]["layer"], r["dump"]["head"]) == (row["dump"]["layer"], row["dump"]["head"]))
            self.assertEqual(curve["knob"], [32, 64, 128, 256])
            self.assertEqual(curve["density"][1], row["density"])
            self.assertEqual(curve["mass_recall"][1], row["mass_recall"])
        (whole,) = [r for r in rows(text) if r["scope"] == "all"]
        self.assertIn(whole["value"], (32, 64, 128, 256))

    def test_the_summary_fits_80_columns(self):
        code, text = run_in_terminal("anchor-sweep", self.dump(length=300), *SMALL, "--grid", "0:8:4", "--target-recall", 0.6)
        self.assertEqual(code, 0)
        self.assertIn("theta per head", text)
        self.assertIn("one theta", text)
        self.assertIn("0 of 8", text)
        for line in text.splitlines():
            self.assertLessEqual(len(line), 80)
        _, text = run_in_terminal("anchor-sweep", self.dump(length=100), "--method", "difference", "--grid", "1,99", "--target-recall", 0.1)
        self.assertIn("|    99 |  1.0000 |      1.0000 |     1.0000 |", text)


class Targets(ToolTest):
    def test_a_head_that_cannot_reach_the_target_is_named_and_exits_4(self):
        path, out = self.dump(layers=1, length=500), self.path("t.json")
        result = run("anchor-sweep", path, *SMALL, "--mode", "v4", "--target-recall", 0.9999, "--thresholds-out", out)
        self.assertEqual(result.returncode, 4)
        self.assertIn("layer 0 head 0 cannot reach", result.stderr)
        (layer,) = json.loads(Path(out).read_text())["layers"]
        self.assertLess(layer["mass_recall"][0], 0.9999)
        self.assertIsInstance(layer["value"][0], float)

    def test_a_failed_head_leaves_no_thresholds_file(self):
        path, out = self.dump(layers=2), self.path("t.json")
        with h5py.File(path, "r+") as file:
            file["layers/000/q"][1, 2, 3] = np.nan
        result = run("anchor-sweep", path, *SMALL, "--curves", "--thresholds-out", out, "--target-recall", 0.3)
        self.assertEqual(result.returncode, 3)
        self.assertIn("layer 0, q[head 1, token 2, 3] is NaN", result.stderr)
        self.assertFalse(os.path.exists(out))
        failed = [r for r in rows(result.stdout) if r["status"] == "error"]
        self.assertEqual({r["dump"]["head"] for r in failed}, {0, 1})
        self.assertEqual([r for r in rows(result.stdout) if r["scope"] == "all"], [])
        self.assertEqual(run("anchor-sweep", path, *SMALL, "--layers", 0, "--heads", 0).returncode, 1)


class Measures(ToolTest):
    def test_what_is_measured_at_the_found_knobs_is_what_recall_finds(self):
        path, out = self.dump(layers=2, length=400), self.path("t.json")
        swept = rows(run("anchor-sweep", path, *SMALL, "--target-recall", 0.8, "--thresholds-out", out).stdout)
        replays = rows(run("anchor-recall", path, "--thresholds", out).stdout)
        heads = [r for r in swept if r["scope"] == "head"]
        self.assertEqual(len(heads), len(replays))
        for row, replay in zip(heads, replays):
            self.assertEqual((row["dump"], row["value"]), (replay["dump"], replay["params"]["theta"]))
            self.assertAlmostEqual(row["density"], replay["density"], delta=1e-12)
            self.assertAlmostEqual(row["mass_recall"], replay["mass_recall"], delta=1e-5)
            for field in ("mass_recall_p05", "mass_recall_min", "out_rel_l2", "output_recall_0.01", "work_density", "stripe_density"):
                self.assertEqual(row[field], replay[field])
        bare = rows(run("anchor-sweep", path, *SMALL, "--target-recall", 0.8, "--measure", "none").stdout)
        for row, other in zip(heads, (r for r in bare if r["scope"] == "head")):
            self.assertEqual(row["value"], other["value"])
            self.assertNotIn("out_rel_l2", other)
            self.assertNotEqual(row["unit"], other["unit"])

    def test_row_curves_are_replays(self):
        path = self.dump(layers=1, length=400)
        text = run("anchor-sweep", path, *SMALL, "--row-curves", 5, "--heads", 1).stdout
        (curve,) = [r["curve"] for r in rows(text) if r["kind"] == "curve"]
        self.assertEqual([len(column) for column in curve.values()], [5] * 6)
        self.assertEqual(curve["knob"][0], "-inf")
        self.assertAlmostEqual(curve["mass_recall"][-1], 1, delta=1e-6)
        steps = np.diff(curve["mass_recall"])
        self.assertLess(np.ptp(steps), 0.02)
        for n in (1, 3):
            (row,) = rows(run("anchor-recall", path, *SMALL, f"--theta={curve['knob'][n]!r}", "--heads", 1).stdout)
            for field in ("density", "mass_recall", "mass_recall_p05", "mass_recall_min", "out_rel_l2"):
                self.assertEqual(row[field], curve[field][n])

    def test_of_several_geometries_the_one_with_least_density_wins(self):
        path = self.dump(layers=2, length=500)
        text = run("anchor-sweep", path, "--block", "16,32", "--step", "1,4", "--target-recall", 0.8).stdout
        by_head = {}
        for row in rows(text):
            if row["kind"] == "sweep" and row["scope"] == "head":
                by_head.setdefault((row["dump"]["layer"], row["dump"]["head"]), []).append(row)
        self.assertEqual({len(some) for some in by_head.values()}, {4})
        won = {}
        for some in by_head.values():
            (winner,) = [r for r in some if r["wins"] == 1]
            self.assertEqual(winner["density"], min(r["density"] for r in some if r["mass_recall"] >= 0.8))
            key = (winner["params"]["block"], winner["params"]["step"])
            won[key] = won.get(key, 0) + 1
        for row in rows(text):
            if row["scope"] == "all":
                self.assertEqual(row["heads_won"], won.get((row["params"]["block"], row["params"]["step"]), 0))
        _, table = run_in_terminal("anchor-sweep", path, "--block", "16", "--step", "1,4", "--target-recall", 0.8)
        self.assertIn("best of each head", table)
        self.assertIn("step=4, theta per head", table)


class Allocations(ToolTest):
    def sweep(self, *arguments):
        result = run("anchor-sweep", self.path("d.h5"), *SMALL, "--target-recall", 0.85, *arguments)
        found = rows(result.stdout)
        joint = [r for r in found if r.get("choice") == "allocation"]
        own = [r for r in found if r["kind"] == "sweep" and r["scope"] == "head" and "choice" not in r]
        return result, own, [r for r in joint if r["scope"] == "head"], [r for r in joint if r["scope"] != "head"]

    def test_only_the_mean_reaches_the_target_and_the_plans_keep_what_the_curves_promise(self):
        self.dump(layers=3, length=500)
        result, own, heads, (whole,) = self.sweep("--allocate", "model", "--measure", "all", "--thresholds-out", self.path("t.json"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(heads), 12)
        self.assertGreaterEqual(whole["mass_recall"], 0.85 - 1e-9)
        self.assertLess(whole["density"], np.mean([r["density"] for r in own]))
        self.assertGreaterEqual(whole["optimality_gap"], 0)
        self.assertLess(whole["optimality_gap"], 0.02)
        self.assertAlmostEqual(np.mean([r["mass_recall"] for r in heads]), whole["mass_recall"], delta=1e-5)
        self.assertAlmostEqual(np.mean([r["density"] for r in heads]), whole["density"], delta=1e-9)
        self.assertLess(min(r["mass_recall"] for r in heads), 0.85)
        self.assertEqual(whole["worst_head_mass_recall"], min(whole["worst_head_mass_recall"], *(r["mass_recall"] + 1e-5 for r in heads)))
        file = json.loads(Path(self.path("t.json")).read_text())
        self.assertEqual(file["target"], {"metric": "mass_recall", "statistic": "mean over the model", "value": 0.85})
        replays = rows(run("anchor-recall", self.path("d.h5"), "--thresholds", self.path("t.json")).stdout)
        for row, replay in zip(heads, replays):
            self.assertEqual(row["mass_recall"], replay["mass_recall"])
            self.assertEqual(row["out_rel_l2"], replay["out_rel_l2"])

    def test_floors_budgets_and_layers(self):
        self.dump(layers=3, length=500)
        _, _, free, (whole,) = self.sweep("--allocate", "model")
        _, _, heads, (floored,) = self.sweep("--allocate", "model", "--floor", 0.8)
        self.assertGreaterEqual(min(r["mass_recall"] for r in heads), 0.8 - 1e-9)
        self.assertGreaterEqual(floored["density"], whole["density"] - 1e-12)
        _, _, _, (budget,) = self.sweep("--allocate", "model", "--budget", whole["density"])
        self.assertEqual(budget["target"]["metric"], "density")
        self.assertLessEqual(budget["density"], whole["density"] + 1e-12)
        self.assertGreaterEqual(budget["mass_recall"], 0.85 - 0.02)
        _, _, _, layers = self.sweep("--allocate", "layer")
        self.assertEqual([r["dump"]["layer"] for r in layers], [0, 1, 2])
        for row in layers:
            self.assertGreaterEqual(row["mass_recall"], 0.85 - 1e-9)
        self.assertLessEqual(whole["density"], np.mean([r["density"] for r in layers]) + 1e-3)
        result, *_ = self.sweep("--allocate", "model", "--budget", 0.0001)
        self.assertEqual(result.returncode, 4)
        self.assertIn("no choice of theta keeps density 0.0001", result.stderr)

    def test_resumed_allocations_are_the_same(self):
        path, out = self.dump(layers=3, length=400), self.path("s.jsonl")
        arguments = ("anchor-sweep", path, *SMALL, "--target-recall", 0.85, "--allocate", "model", "--measure", "all")
        whole = run(*arguments, "--out", out)
        lines = Path(out).read_text().splitlines(keepends=True)
        for keep in (3, len(lines) // 2, len(lines) - 5, len(lines)):
            Path(out).write_text("".join(lines[:keep]))
            resumed = run(*arguments, "--out", out, "--resume")
            self.assertEqual(plain(resumed.stdout), plain(whole.stdout))
            self.assertEqual(sorted(map(str, plain(Path(out).read_text()))), sorted(map(str, plain("".join(lines)))))


class Streams(ToolTest):
    def test_memory_threads_and_read_ahead_do_not_change_rows(self):
        path = self.dump(layers=4, q_heads=6, kv_heads=3, length=300)
        for name, arguments in (("anchor-sweep", (*SMALL, "--curves", "--target-recall", 0.8)), ("anchor-recall", (*SMALL, "--theta", 2))):
            first = plain(run(name, path, *arguments).stdout)
            self.assertGreaterEqual(len(first), 4 * 6)
            for more in (("--threads", 1), ("--memory", "800k"), ("--memory", "4G", "--threads", 8)):
                self.assertEqual(plain(run(name, path, *arguments, *more).stdout), first)
        self.check_error(run("anchor-sweep", path, "--memory", "100k"), 1, "--memory allows 0 MiB")

    def test_devices(self):
        path = self.dump()
        for device, word in (("cuda:", "known: auto"), ("cuda:0,", "known"), ("cuda:0,x", "known"), ("cuda:1,1", "twice"), ("gpu", "known")):
            self.check_error(run("anchor-sweep", path, *SMALL, "--device", device), 2, word)

    def test_v_says_how_fast_it_was(self):
        result = run("anchor-recall", self.dump(), *SMALL, "-v")
        self.assertRegex(result.stderr, r"4 done, [0-9.]+ GB/s, [0-9.]+ heads/s")


class Fits(ToolTest):
    def setUp(self):
        super().setUp()
        self.a, self.b = self.dump("a.h5", length=400, seed=1), self.dump("b.h5", length=300, seed=11)
        self.c = self.dump("c.h5", length=350, seed=21)
        self.arguments = (*SMALL, "--target-recall", 0.85)

    def fitted(self, *arguments):
        result = run("anchor-sweep", "fit", f"{self.a},{self.b}", "--check", self.c, *self.arguments, *arguments)
        self.assertIn(result.returncode, (0, 4), result.stderr)
        return {(r["dump"]["layer"], r["dump"]["head"], Path(r["dump"]["path"]).stem): r for r in rows(result.stdout)}

    def test_the_mean_of_the_fitted_dumps_reaches_the_target_and_the_check_is_what_recall_finds(self):
        found, out = self.fitted("--thresholds-out", self.path("t.json")), self.path("t.json")
        self.assertEqual(len(found), 2 * 4 * 3)
        promised = json.loads(Path(out).read_text())
        self.assertEqual(promised["calibrated_on"], [self.a, self.b])
        for layer in range(2):
            for head in range(4):
                a, b, c = (found[layer, head, name] for name in "abc")
                self.assertEqual(a["value"], c["value"])
                self.assertEqual((a["role"], c["role"]), ("fit", "check"))
                self.assertGreaterEqual((a["mass_recall"] + b["mass_recall"]) / 2, 0.85 - 1e-9)
        for row in rows(run("anchor-recall", self.c, "--thresholds", out).stdout):
            checked = found[row["dump"]["layer"], row["dump"]["head"], "c"]
            self.assertAlmostEqual(row["mass_recall"], checked["mass_recall"], delta=1e-5)
            self.assertAlmostEqual(row["density"], checked["density"], delta=1e-9)
            for field in ("work_density", "mass_recall_p05", "mass_recall_min", "out_rel_l2", "out_mean_abs"):
                self.assertEqual(row[field], checked[field])

    def test_the_tables_say_what_the_plans_do_unless_nobody_measures(self):
        arguments = ("anchor-sweep", "fit", f"{self.a},{self.b}", "--check", self.c, *self.arguments, "--format", "md")
        for extra, words in (((), ("out_rel_l2", "worst p05")), (("--matrix",), ("Mean out_rel_l2", "least mass_recall_p05"))):
            table, silent = run(*arguments, *extra).stdout, run(*arguments, *extra, "--measure", "none").stdout
            for word in words:
                self.assertIn(word, table)
                self.assertNotIn(word, silent)
        measured, quick = self.fitted(), self.fitted("--measure", "none")
        worst = max(row["out_rel_l2"] for key, row in measured.items() if key[2] == "c")
        self.assertIn(f"| {worst:.3f} (", run(*arguments).stdout)
        for key, row in quick.items():
            self.assertFalse({"mass_recall_p05", "out_rel_l2", "work_density"} & set(row))
            for field in ("value", "density", "mass_recall"):
                self.assertEqual(row[field], measured[key][field])

    def test_a_resumed_fit_is_the_same(self):
        arguments = ("anchor-sweep", "fit", f"{self.a},{self.b}", "--check", self.c, *self.arguments)
        whole, part = self.path("whole.jsonl"), self.path("part.jsonl")
        run(*arguments, "-o", whole)
        lines = Path(whole).read_text().splitlines(keepends=True)
        Path(part).write_text("".join(lines[:14]) + lines[14][:30])  # layer 0, and more of layer 1 than a group
        printed = run(*arguments, "-o", part, "--resume").stdout
        same = [{k: v for k, v in row.items() if k not in ("t", "argv", "env")} for row in rows(Path(whole).read_text())]
        self.assertEqual([{k: v for k, v in row.items() if k not in ("t", "argv", "env")} for row in rows(printed)], same)

    def test_worst_reaches_it_on_every_dump_and_margin_adds_to_the_knob(self):
        mean, worst, wide = self.fitted(), self.fitted("--worst"), self.fitted("--margin", 0.5)
        moved = 0
        for key, row in mean.items():
            value = float(row["value"])
            self.assertGreaterEqual(float(worst[key]["value"]), value)
            if key[2] != "c":
                self.assertGreaterEqual(worst[key]["mass_recall"], 0.85 - 1e-9)
            if np.isfinite(value):
                self.assertEqual(wide[key]["value"], float(np.float32(value + 0.5)))
                self.assertGreaterEqual(wide[key]["mass_recall"], row["mass_recall"])
                moved += 1
        self.assertGreater(moved, 0)

    def test_choose_takes_the_cheaper_parameter_of_every_head_and_max_error_bounds_their_output(self):
        self.arguments = ("--method", "stripes", "--block", 16, "--target-recall", 0.85, "--worst")
        out = self.path("t.json")
        pooled, scanned = self.fitted(), self.fitted("--set", "score=rows")
        chosen = self.fitted("--choose", "score=pooled,rows@0.02", "--thresholds-out", out)
        fitted_density = lambda found, layer, head: np.mean([found[layer, head, name]["density"] for name in "ab"])
        scores = set()
        for (layer, head, name), row in chosen.items():
            costs = {"pooled": fitted_density(pooled, layer, head), "rows": fitted_density(scanned, layer, head) + 0.02}
            score = row["params"]["score"]
            self.assertEqual(score, min(costs, key=costs.get))
            self.assertEqual(row["value"], (pooled if score == "pooled" else scanned)[layer, head, name]["value"])
            scores.add(score)
        self.assertEqual(scores, {"pooled", "rows"})
        self.assertEqual(json.loads(Path(out).read_text())["format_version"], "1.1")
        for row in rows(run("anchor-recall", self.c, "--thresholds", out).stdout):
            checked = chosen[row["dump"]["layer"], row["dump"]["head"], "c"]
            self.assertEqual(row["params"]["score"], checked["params"]["score"])
            self.assertAlmostEqual(row["mass_recall"], checked["mass_recall"], delta=1e-5)

        errors = lambda path: [r["out_rel_l2"] for r in rows(run("anchor-recall", path, "--thresholds", out).stdout)]
        before = errors(self.a) + errors(self.b)
        bound = float(np.median(before))
        self.fitted("--choose", "score=pooled,rows@0.02", "--thresholds-out", out, "--max-error", bound)
        self.assertLessEqual(max(errors(self.a) + errors(self.b)), bound * (1 + 1e-6))
        self.assertGreater(max(before), bound)

    def test_an_allocation_of_error_meets_its_mean_with_fewer_pairs_than_a_bound_on_every_head(self):
        self.arguments = ("--method", "stripes", "--block", 16)
        limit, out = 0.2, self.path("t.json")
        density = lambda found: np.mean([row["density"] for row in found.values()])
        fitted = lambda found: [row for row in found.values() if row["role"] == "fit"]
        found = {}
        for scope in ("layer", "model"):
            found[scope] = self.fitted("--target", f"out_rel_l2={limit}", "--allocate", scope, "--thresholds-out", out)
            layers = {row["dump"]["layer"] for row in fitted(found[scope])}
            for layer in layers if scope == "layer" else [None]:
                errors = [r["out_rel_l2"] for r in fitted(found[scope]) if layer in (None, r["dump"]["layer"])]
                self.assertLess(np.mean(errors), 1.05 * limit)
                self.assertGreater(np.mean(errors), 0.8 * limit)
        bounded = self.fitted("--worst", "--target-recall", 0.01, "--max-error", limit)
        self.assertLess(density(found["layer"]), density(bounded))
        self.assertLess(density(found["model"]), 1.02 * density(found["layer"]))
        self.assertEqual(json.loads(Path(out).read_text())["target"]["metric"], "out_rel_l2")
        for row in rows(run("anchor-recall", self.c, "--thresholds", out).stdout):
            checked = found["model"][row["dump"]["layer"], row["dump"]["head"], "c"]
            self.assertAlmostEqual(row["out_rel_l2"], checked["out_rel_l2"], delta=1e-5)
            self.assertAlmostEqual(row["density"], checked["density"], delta=1e-9)

        both = self.fitted("--target", f"out_rel_l2={limit}", "--allocate", "model", "--choose", "score=pooled,rows",
                           "--choose", "window=0,16@0.01")
        self.assertLess(density(both), 1.02 * density(found["model"]))
        self.assertEqual({(r["params"]["score"], r["params"]["window"]) for r in both.values()} - {("pooled", 0), ("pooled", 16), ("rows", 0), ("rows", 16)}, set())

    def test_an_allocation_goes_on_without_a_group_that_failed(self):
        with h5py.File(self.b, "r+") as file:
            file["layers/000/q"][1, 2, 3] = np.nan
        out = self.path("t.json")
        for scope in ("layer", "model"):
            result = run("anchor-sweep", "fit", f"{self.a},{self.b}", "--check", self.c, "--method", "stripes", "--block", 16,
                         "--target", "out_rel_l2=0.2", "--allocate", scope, "--thresholds-out", out)
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertIn("layer 0, q[head 1, token 2, 3] is NaN", result.stderr)
            self.assertFalse(os.path.exists(out))
            found = rows(result.stdout)
            self.assertEqual(len(found), 2 * 4 * 3)
            failed = {(r["dump"]["layer"], r["dump"]["head"]) for r in found if r["status"] == "error"}
            self.assertEqual(failed, {(0, 0), (0, 1)})
            self.assertTrue(all("out_rel_l2" in r for r in found if r["status"] == "ok"))

    def matrix(self, *arguments):
        result = run("anchor-sweep", "fit", f"{self.a},{self.b}", "--check", self.c, *self.arguments, *arguments)
        self.assertIn(result.returncode, (0, 4), result.stderr)
        return {(r["fitted_on"], Path(r["dump"]["path"]).stem, r["dump"]["layer"], r["dump"]["head"]): r for r in rows(result.stdout)}

    def test_a_matrix_has_every_fit_on_every_dump(self):
        found = self.matrix("--matrix")
        self.assertEqual(len(found), 2 * 3 * 8)
        alone = rows(run("anchor-sweep", "fit", self.a, "--check", f"{self.b},{self.c}", *self.arguments).stdout)
        for row in alone:
            same = found["a.h5", Path(row["dump"]["path"]).stem, row["dump"]["layer"], row["dump"]["head"]]
            for field in ("value", "density", "mass_recall", "role", "shortfall"):
                self.assertEqual(same[field], row[field])
            self.assertAlmostEqual(same["shortfall"], max(0, 0.85 - same["mass_recall"]), delta=1e-12)
        _, table = run_in_terminal("anchor-sweep", "fit", f"{self.a},{self.b}", "--check", self.c, *self.arguments, "--matrix")
        self.assertRegex(table, r"a\.h5 \| 0\.[0-9]+ at 0\.[0-9]+ \* \| +0\.[0-9]+ at 0\.[0-9]+ \|")

    def test_leave_one_out_looks_at_each_dump_with_the_knobs_of_the_others(self):
        found = self.matrix("--leave-one-out")
        self.assertEqual({key[:2] for key in found}, {("all but a.h5", "a"), ("all but a.h5", "c"), ("all but b.h5", "b"), ("all but b.h5", "c")})
        for row in rows(run("anchor-sweep", "fit", self.b, "--check", self.a, *self.arguments).stdout):
            if row["role"] == "check":
                same = found["all but a.h5", "a", row["dump"]["layer"], row["dump"]["head"]]
                self.assertEqual((same["value"], same["mass_recall"]), (row["value"], row["mass_recall"]))
                self.assertEqual(same["role"], "check")

    def test_dumps_of_different_models_are_refused(self):
        other = self.dump("other.h5", q_heads=2, kv_heads=2)
        result = run("anchor-sweep", "fit", f"{self.a},{other}", *SMALL, "--heads", "0")
        self.check_error(result, 1, "other.h5", "not dumps of one model")


class Calibration(ToolTest):
    def setUp(self):
        super().setUp()
        self.a, self.b = self.dump("a.h5", length=1500, seed=1), self.dump("b.h5", length=1400, seed=11)

    def calibrated(self, *arguments):
        result = run("anchor-sweep", "calibrate", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return rows(result.stdout)

    def test_knobs_are_halved_until_the_error_is_small_and_carry_over_to_the_next_prompt(self):
        def values(found):
            return {(r["dump"]["layer"], r["dump"]["head"]): r["value"] for r in found}
        start = self.calibrated(self.a, "--error", 1e9)
        self.assertEqual(set(values(start).values()), {0.008})
        self.assertEqual(set(values(self.calibrated(self.a, "--error", 0)).values()), {0})
        errors = sorted(r["out_l1"] for r in start)
        between = (errors[3] + errors[4]) / 2
        alone = self.calibrated(self.a, "--error", between)
        for row in alone:
            self.assertTrue(row["value"] == 0 or row["out_l1"] < between)
            self.assertAlmostEqual(row["out_l1"], 32 * row["out_mean_abs"], places=9)
            self.assertEqual(row["target"], {"metric": "out_l1", "statistic": "mean over rows", "value": between})
        self.assertEqual(sum(r["value"] == 0.008 for r in alone), 4)
        both = self.calibrated(self.a, self.b, "--error", between, "--thresholds-out", self.path("t.json"))
        first, second = ([r for r in both if r["dump"]["path"] == path] for path in (self.a, self.b))
        self.assertEqual(values(first), values(alone))
        for head, value in values(second).items():
            self.assertLessEqual(value, values(first)[head])
        for row in rows(run("anchor-recall", self.b, "--thresholds", self.path("t.json")).stdout):
            same = [r for r in second if r["dump"] == row["dump"]][0]
            self.assertEqual((row["params"]["theta_h"], row["density"], row["out_rel_l2"]), (same["value"], same["density"], same["out_rel_l2"]))
        with open(self.path("t.json")) as text:
            made = json.load(text)
        self.assertEqual((made["method"], made["knob"], made["calibrated_on"]), ("sale", "theta_h", [self.a, self.b]))

    def test_the_table_fits_and_the_start_is_the_knobs_parameter(self):
        self.assertEqual({r["value"] for r in self.calibrated(self.a, "--error", 1e9, "--set", "theta_h=0.004")}, {0.004})
        _, table = run_in_terminal("anchor-sweep", "calibrate", self.a, "--error", 0.4)
        self.assertIn("theta_h halved per head", table)
        self.assertLessEqual(max(len(line) for line in table.splitlines()), 80)


class BadInput(ToolTest):
    def test_usage(self):
        path = self.dump(layers=1)
        cases = [
            ((), "which dump"),
            ((path, "--theta", 3), "theta"),
            ((path, "--set", "theta=3"), "theta"),
            ((path, "--method", "dense"), "no knob"),
            ((path, "--method", "streaming"), "--grid"),
            ((path, "--target", "0.9"), "METRIC=VALUE"),
            ((path, "--target", "beauty=0.9"), "mass_recall"),
            ((path, "--target-recall", 1), "between 0 and 1"),
            ((path, "--target-recall", 0.9, "--target", "mass_recall=0.9"), "excludes"),
            ((path, "--curves=some"), "full"),
            ((path, "--grid", "5:1:1"), "--grid"),
            ((path, "--step", "1,2", "--thresholds-out", self.path("t.json")), "--thresholds-out"),
            (("--fit", path), f"anchor-sweep fit {path}"),
            (("--fit", f"{path},{path}", "--check", path, "--worst"), f"anchor-sweep fit {path},{path}"),
            ((path, "--method", "sale", "--calibrate", 0.4), f"anchor-sweep calibrate {path} --error 0.4"),
            (("--fit", path, "--method", "sale", "--calibrate", 0.4), f"anchor-sweep calibrate {path} --error 0.4"),
            ((path, "--check", path), "anchor-sweep fit has it"),
            ((path, "--error", 0.4), "anchor-sweep calibrate has it"),
            (("fit",), "DUMPS is required"),
            (("fit", path, "--curves"), "unexpected argument --curves"),
            (("fit", path, "--step", "1,2"), "one set of parameters"),
            (("fit", path, "--theta", 3), "theta"),
            (("fit", path, "--measure", "all"), "--measure"),
            (("fit", path, "--choose", "score=pooled,rows"), "no such parameter of single heads"),
            (("fit", path, "--method", "stripes", "--choose", "score"), "NAME=A,B"),
            (("fit", path, "--method", "stripes", "--choose", "score=rows@x"), "the cost after @"),
            (("fit", path, "--max-error", 0.1), "--worst"),
            (("fit", path, "--leave-one-out"), "two dumps"),
            (("fit", path, path, "--leave-one-out", "--matrix"), "--leave-one-out"),
            (("fit", path, path, "--matrix", "--thresholds-out", self.path("t.json")), "--thresholds-out"),
            (("fit", path, "--allocate", "model"), "out_rel_l2"),
            (("fit", path, "--target", "out_rel_l2=0.1"), "mass_recall"),
            (("fit", path, "--target", "out_rel_l2=0.1", "--allocate", "model", "--margin", 1), "--margin"),
            (("fit", path, "--target", "out_rel_l2=0.1", "--allocate", "model", "--measure", "none"), "--measure none"),
            (("fit", path, "--method", "streaming", "--grid", "64", "--margin", 1), "exact curves"),
            (("fit", path, "--method", "stripes", "--choose", "score=rows", "--choose", "score=pooled"), "twice"),
            (("calibrate", path), "--error is required"),
            (("calibrate", path, "--method", "anchor", "--error", 0.4), "no paper has such a rule for anchor"),
            (("calibrate", path, "--error", 0.4, "--target-recall", 0.9), "unexpected argument --target-recall"),
            (("calibrate", path, "--error", 0.4, "--set", "theta_h=0"), "start above"),
            (("calibrate", path, "--error=-1"), "--error"),
            ((path, "--floor", 0.5), "--allocate"),
            ((path, "--allocate", "head"), "--allocate"),
            ((path, "--method", "streaming", "--grid", "64", "--allocate", "model"), "exact curves"),
            ((path, "--measure", "some"), "--measure"),
            ((path, "--row-curves", 0), "--row-curves"),
            ((path, "--resume"), "--out"),
            ((path, "--block", 0), "block"),
            ((path, "--step=-2"), "step"),
            ((path, "--gamma", 0.9), "gamma"),
        ]
        for arguments, word in cases:
            with self.subTest(arguments):
                self.check_error(run("anchor-sweep", *arguments), 2, word)
        self.check_error(run("anchor-sweep", path, "--thresholds-out", "/nonexistent/t.json"), 1, "/nonexistent/t.json")
        self.check_error(run("anchor-sweep", path, "--layers", 3), 1, "layer 3")
        self.check_error(run("anchor-sweep", "fit", path, self.path("none.h5")), 1, "none.h5")
        self.assertEqual(sorted(os.listdir(self.folder)), ["d.h5"])


class Resume(ToolTest):
    def test_interrupted_in_mid_sweep_then_resumed_gives_identical_rows(self):
        path, out = self.dump(layers=6, q_heads=4, kv_heads=2, length=1500, dim=64), self.path("s.jsonl")
        arguments = ("anchor-sweep", path, "--block", 16, "--step", 2, "--target-recall", 0.8)
        whole = run(*arguments, "--out", self.path("whole.jsonl"))
        self.assertEqual(whole.returncode, 0, whole.stderr)

        command = [tool(arguments[0]), *map(str, arguments[1:]), "--out", out, "--out", self.path("s.csv"), "--threads", "1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.time() + 60
        while time.time() < deadline and not (os.path.exists(out) and Path(out).read_text().count("\n") >= 6):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        self.assertEqual(len(errors.splitlines()), 1, errors)
        partial = Path(out).read_text()
        self.assertTrue(partial.endswith("\n"))
        self.assertLess(len(rows(partial)), len(rows(Path(self.path("whole.jsonl")).read_text())))
        self.assertFalse(os.path.exists(self.path("s.csv")))
        self.assertFalse(os.path.exists(self.path("s.csv.part")))

        with open(out, "a") as file:  # and the writer was killed in a line
            file.write('{"schema":"anchor-res')
        resumed = run(*arguments, "--out", out, "--resume")
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertTrue(Path(out).read_text().startswith(partial))
        by_unit = lambda text: sorted(plain(text), key=lambda row: row["unit"])
        self.assertEqual(by_unit(Path(out).read_text()), by_unit(Path(self.path("whole.jsonl")).read_text()))
        self.assertEqual(plain(resumed.stdout), plain(whole.stdout))

    def test_a_finished_sweep_adds_nothing(self):
        path, out = self.dump(), self.path("s.jsonl")
        arguments = ("anchor-sweep", path, *SMALL, "--target-recall", 0.5, "--grid", "0:4", "--method", "anchor", "--out", out)
        first = run(*arguments)
        before = Path(out).read_text()
        again = run(*arguments, "--resume")
        self.assertEqual(Path(out).read_text(), before)
        self.assertEqual(plain(again.stdout), plain(first.stdout))


if __name__ == "__main__":
    unittest.main()
