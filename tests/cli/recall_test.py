"""anchor-recall as a user runs it: outputs, selection, methods, thresholds files, bad input, resume."""
import csv
import io
import json
import os
import re
import subprocess
import unittest
from pathlib import Path

import h5py
import numpy as np

from tools import ToolTest, heads, rows, run, run_in_terminal, tool, write_dump

SMALL = ("--block", 16, "--step", 2)


class Rows(ToolTest):
    def test_rows_are_ordered_by_layer_head_and_method_as_given(self):
        result = run("anchor-recall", self.dump(), "--method", "streaming,anchor", "--set", "streaming.sink=4",
                     "--set", "streaming.local=32", *SMALL)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = [(r["dump"]["layer"], r["dump"]["head"], r["method"]) for r in rows(result.stdout)]
        self.assertEqual(found, [(l, h, m) for l in range(2) for h in range(4) for m in ("streaming", "anchor")])
        first = rows(result.stdout)[0]
        self.assertEqual(first["params"], {"local": 32, "sink": 4})
        self.assertEqual(first["schema"], "anchor-result/1")
        self.assertNotIn("error", first)
        for name in ("density", "work_density", "mass_recall", "mass_recall_p05", "output_recall_0.005", "out_max_abs"):
            self.assertIsInstance(first[name], (int, float))
        self.assertLessEqual(first["density"], first["work_density"])
        self.assertLessEqual(first["mass_recall_min"], first["mass_recall_p05"])

    def test_layers_and_heads_select(self):
        result = run("anchor-recall", self.dump(layers=3), "--layers", "0,2", "--heads", "1-2", *SMALL)
        found = [(r["dump"]["layer"], r["dump"]["head"]) for r in rows(result.stdout)]
        self.assertEqual(found, [(0, 1), (0, 2), (2, 1), (2, 2)])

    def test_a_head_does_not_depend_on_which_others_are_selected_or_on_threads(self):
        path = self.dump()
        def measured(*arguments):
            volatile = ("t", "argv", "tool")
            return {(r["dump"]["layer"], r["dump"]["head"]): {k: v for k, v in r.items() if k not in volatile}
                    for r in rows(run("anchor-recall", path, *SMALL, *arguments).stdout)}
        every = measured()
        one = measured("--heads", 2, "--layers", 1)
        self.assertEqual(one[1, 2], every[1, 2])
        self.assertEqual(measured("--threads", 1), every)

    def test_row_oracles_run_on_longer_heads_than_one_range_of_rows(self):
        path = self.dump(layers=1, length=700)
        result = run("anchor-recall", path, "--method", "topk,difference,cdf", "--set", "topk.k=20", "--theta", 3, "--heads", 0)
        self.assertEqual(result.returncode, 0, result.stderr)
        top, difference, cdf = rows(result.stdout)
        kept = sum(min(20, i + 1) for i in range(700)) / (700 * 701 / 2)
        self.assertAlmostEqual(top["density"], kept, delta=1e-9)
        self.assertEqual(difference["params"], {"theta": 3})
        self.assertGreaterEqual(cdf["mass_recall_min"], 0.9 - 1e-6)

    def test_a_flag_takes_a_range_and_stands_for_a_run_each(self):
        found = rows(run("anchor-recall", self.dump(layers=1), "--theta", "0:8:4", "--heads", 1, *SMALL).stdout)
        self.assertEqual([r["params"]["theta"] for r in found], [0, 4, 8])
        densities = [r["density"] for r in found]
        self.assertEqual(densities, sorted(densities))
        self.assertLess(densities[0], densities[-1])


class Peaks(ToolTest):
    """Peak recall and --rows, against numpy."""

    def softmax(self, path, head):
        with h5py.File(path) as file:
            q, k = (file[f"layers/000/{part}"][:].astype(np.float64) for part in "qk")
        scores = q[head] @ k[head // 2].T * q.shape[2] ** -0.5
        scores[np.triu(np.ones(scores.shape, bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True)

    def test_peak_recall_is_the_share_of_large_weights_that_the_plan_keeps(self):
        path = self.dump(layers=1, length=200)
        command = ("anchor-recall", path, "--method", "streaming", "--set", "sink=3", "--set", "local=20")
        for rows_of in (None, (0, 199), (150, 199), (199, 199)):
            begin, last = rows_of or (0, 199)
            made = run(*command, *(("--rows", f"{begin}-{last}") if rows_of else ()))
            self.assertEqual(made.returncode, 0, made.stderr)
            for row in rows(made.stdout):
                p = self.softmax(path, row["dump"]["head"])[begin:last + 1]
                position, key = np.arange(begin, last + 1)[:, None], np.arange(200)[None]
                kept = (key <= position) & ((key < 3) | (position - key < 20))
                self.assertAlmostEqual(row["mass_recall"], (p * kept).sum(1).mean(), delta=1e-5)
                for name, least in (("0.25", 0.25), ("0.0625", 0.0625)):
                    self.assertEqual(row[f"peak_pairs_{name}"], (p >= least).sum())
                    if (p >= least).any():
                        share = (kept & (p >= least)).sum() / (p >= least).sum()
                        self.assertAlmostEqual(row[f"peak_recall_{name}"], share, delta=1e-12)
                    else:
                        self.assertNotIn(f"peak_recall_{name}", row)
                self.assertEqual(row["geometry"].get("rows"), f"{begin}-{last}" if rows_of else None)

    def test_rows_make_other_units_and_leave_densities_alone(self):
        path = self.dump(layers=1)
        whole, last = (rows(run("anchor-recall", path, *SMALL, *more).stdout) for more in ((), ("--rows", "last:9")))
        for a, b in zip(whole, last, strict=True):
            self.assertNotEqual(a["unit"], b["unit"])
            self.assertEqual(a["density"], b["density"])
            self.assertEqual(b["geometry"]["rows"], "247-255")

    def test_rows_that_are_not_there_or_make_no_sense_are_refused(self):
        path = self.dump()
        self.check_error(run("anchor-recall", path, "--rows", "last:257"), 2, "--rows last:257", "256 query rows")
        self.check_error(run("anchor-recall", path, "--rows", "soon"), 2, "last, last:N or N-M")
        self.check_error(run("anchor-recall", path, "--rows", "last", "--pareto", self.path("f.svg")), 2, "--pareto")
        self.check_error(run("anchor-recall", path, "--rows", "last", "--head-map", "0:0", "--svg", self.path("m.svg")), 2,
                         "--head-map")

    def test_a_tail_keeps_every_key_of_the_last_rows(self):
        path = self.dump(layers=1)
        for method, *more in (("anchor", *SMALL, "--theta", 0), ("block-sparse", "--set", "topk=1"),
                              ("stripes", "--theta", 0, "--set", "block=32", "--set", "score=peak")):
            bare, tail = (rows(run("anchor-recall", path, "--method", method, *more, "--rows", "last:20",
                                   *end).stdout) for end in ((), ("--set", "tail=20")))
            for a, b in zip(bare, tail, strict=True):
                self.assertLess(a["mass_recall"], 0.999)
                self.assertAlmostEqual(b["mass_recall"], 1, delta=1e-5)
                self.assertGreater(b["density"], a["density"])


class Statistics(ToolTest):
    def test_sparsity_statistics_are_what_their_definitions_give(self):
        length, block, step = 200, 16, 2
        path = self.dump(layers=1, length=length)
        text = run("anchor-recall", path, "--block", block, "--step", step, "--theta", 2, "--stats").stdout
        whole = run("anchor-recall", path, "--block", block, "--step", step, "--theta", 2).stdout
        with h5py.File(path) as file:
            q, k = (file[f"layers/000/{part}"][:].astype(np.float64) for part in "qk")
        position, key = np.arange(length)[:, None], np.arange(length)[None]
        causal, group = key <= position, position // (block * step)
        local = key >= group * block * step - block
        for row, plain in zip(rows(text), rows(whole)):
            stats = row["sparsity"]
            self.assertNotEqual(row["unit"], plain["unit"])
            self.assertEqual(row["density"], plain["density"])
            head = row["dump"]["head"]
            scores = np.where(causal, q[head] @ k[head // 2].T * q.shape[2] ** -0.5, -np.inf)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            self.assertAlmostEqual(stats["sink_share"], (weights[:, 0] / weights.sum(1)).mean(), delta=1e-5)
            best = scores.argmax(1)
            in_local = np.take_along_axis(local | np.zeros_like(causal), best[:, None], 1)[:, 0]
            places = {"initial": np.mean((best < block) & ~in_local), "local": np.mean(in_local), "elsewhere": np.mean((best >= block) & ~in_local)}
            for name, share in places.items():
                self.assertAlmostEqual(stats["row_max"][name], share, delta=1e-9)
            self.assertEqual(len(stats["density_by_position"]), 7)  # 200 rows are seven groups
            self.assertEqual(stats["density_by_position"][0], 1)
            self.assertGreaterEqual(stats["shared_stripe_density"], row["stripe_density"])
            self.assertLessEqual(stats["shared_stripe_density"], 2 * row["stripe_density"] + 0.2)
            self.assertTrue(0 <= stats["stripe_persistence"] <= 1)
        _, table = run_in_terminal("anchor-recall", path, "--block", block, "--step", step, "--stats")
        self.assertIn("persistence", table)

    def test_a_full_plan_persists_and_shares_everything(self):
        path = self.dump(layers=1, length=200)
        for row in rows(run("anchor-recall", path, "--block", 16, "--step", 2, "--theta", "inf", "--stats").stdout):
            self.assertEqual(row["sparsity"]["density_by_position"], [1] * 7)
            self.assertEqual(row["sparsity"]["stripe_persistence"], 1)
            self.assertAlmostEqual(row["sparsity"]["shared_stripe_density"], row["stripe_density"], delta=1e-12)
        for row in rows(run("anchor-recall", path, "--method", "dense", "--stats").stdout):
            self.assertNotIn("stripe_persistence", row["sparsity"])


class Outputs(ToolTest):
    def test_pipes_get_jsonl_without_colour(self):
        result = run("anchor-recall", self.dump(), *SMALL, "--heatmap", env={**os.environ, "COLORTERM": "truecolor"})
        self.assertEqual(len(rows(result.stdout)), 8)
        self.assertNotIn("\x1b", result.stdout + result.stderr)

    def test_terminals_get_a_table_a_summary_and_a_heatmap_in_80_columns(self):
        path = self.dump(q_heads=32, kv_heads=8, layers=3, length=64)
        for colour, environment in (("\x1b[48;2;", {"COLORTERM": "truecolor"}), ("\x1b[48;5;", {"TERM": "xterm-256color"}),
                                    (None, {"NO_COLOR": "1", "COLORTERM": "truecolor"}), (None, {"TERM": "dumb"})):
            code, text = run_in_terminal("anchor-recall", path, **environment)
            self.assertEqual(code, 0)
            self.assertIn("| layer | head | density | mass_recall |", text)
            self.assertIn("worst head", text)
            self.assertEqual(colour in text if colour else "\x1b" not in text, True, environment)
            for line in re.sub(r"\x1b\[[0-9;]*[mK]", "", text).splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_files_get_the_format_of_their_suffix(self):
        names = [self.path(f"r.{suffix}") for suffix in ("jsonl", "json", "csv", "md")]
        result = run("anchor-recall", self.dump(layers=1), *SMALL, *[a for name in names for a in ("--out", name)])
        self.assertEqual(result.returncode, 0, result.stderr)
        jsonl, array, table, markdown = [Path(name).read_text() for name in names]
        self.assertEqual(jsonl, result.stdout)
        self.assertEqual(json.loads(array), rows(jsonl))
        for line, row in zip(csv.DictReader(io.StringIO(table)), rows(jsonl)):
            self.assertEqual(float(line["mass_recall"]), row["mass_recall"])
            self.assertEqual(int(line["dump.head"]), row["dump"]["head"])
            self.assertEqual(int(line["params.block"]), 16)
        self.assertEqual(len(markdown.splitlines()), 2 + 4)

    def test_pictures(self):
        path = self.dump()
        self.assertEqual(run("anchor-recall", path, *SMALL, "--svg", self.path("h.svg")).returncode, 0)
        self.assertEqual(Path(self.path("h.svg")).read_text().count("<title>layer "), 8)
        result = run("anchor-recall", path, *SMALL, "--theta", 1, "--head-map", "1:3", "--svg", self.path("m.svg"))
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
        self.assertIn("layer 1 head 3: anchor theta=1", Path(self.path("m.svg")).read_text())

    def test_config_files_and_flags(self):
        path, config = self.dump(layers=1), self.path("c.toml")
        Path(config).write_text('method = "anchor"\nset = ["anchor.theta=3", "anchor.block=16", "streaming.sink=9"]\nheads = "0"\n')
        (row3,) = rows(run("anchor-recall", path, "--config", config, "--step", 2).stdout)
        self.assertEqual((row3["params"]["theta"], row3["params"]["block"], row3["params"]["step"]), (3, 16, 2))
        (row,) = rows(run("anchor-recall", path, "--config", config, "--theta", 5).stdout)  # a flag wins over the file
        self.assertEqual(row["params"]["theta"], 5)
        shown = run("anchor-recall", "--config", config, "--threads", 3, "--print-config")
        self.assertEqual(shown.returncode, 0)
        for line in ("heads=0", "threads=3", 'device="auto"'):
            self.assertIn(line, shown.stdout.splitlines())
        Path(self.path("shown.toml")).write_text(shown.stdout)
        (again,) = rows(run("anchor-recall", path, "--config", self.path("shown.toml"), "--step", 2).stdout)
        self.assertEqual(again["mass_recall"], row3["mass_recall"])

    def test_help_starts_with_two_examples(self):
        for tool in ("anchor-recall", "anchor-sweep"):
            short, complete = run(tool, "-h"), run(tool, "--help")
            for line in short.stdout.splitlines()[:2]:
                self.assertTrue(line.startswith(tool), line)
            self.assertNotIn("--memory", short.stdout)
            self.assertIn("--memory", complete.stdout)
            self.assertEqual(run(tool, "--version").returncode, 0)
            self.assertIn("theta=12", run(tool, "--list-methods").stdout)

    def test_a_region_that_is_most_of_the_work_is_named(self):
        path = self.dump(length=256)
        self.assertIn("--step 1", run("anchor-recall", path, "--block", 16, "--step", 16).stderr)
        self.assertEqual(run("anchor-recall", path, "--block", 16, "--step", 1, "--theta", 1).stderr, "")
        self.assertIn("anchor keeps 100 % of the pairs of 256 tokens", run("anchor-recall", path, "--block", 16, "--step", 1).stderr)


class BadInput(ToolTest):
    def test_usage(self):
        path = self.dump(layers=1)
        cases = [
            (("--method", "anchr"), "anchor"),
            (("--method", "anchor", "--set", "thta=3"), "theta"),
            (("--thta", 3), "--theta"),
            (("--block", 0), "block"),
            (("--step=-1",), "step"),
            (("--step", "1.5"), "step"),
            (("--theta", "x"), "--theta"),
            (("--theta", "nan"), "--theta"),
            (("--mode", "cleen"), "clean"),
            (("--method", "dense", "--theta", 3), "theta"),
            (("--method", "anchor,dense", "--set", "theta=3"), "anchor.theta"),
            (("--set", "theta=3", "--theta", 4), "--theta"),
            (("--set", "theta"), "KEY=VALUE"),
            (("--set", "dense.x=1"), "dense"),
            (("--method", "anchor,anchor"), "twice"),
            (("--layers", "3-1"), "--layers"),
            (("--heads", "x"), "--heads"),
            (("--out", self.path("r.txt")), "suffix"),
            (("--resume",), "--out"),
            (("--format", "xml"), "xml"),
            (("--device", "gpu"), "gpu"),
            (("--memory", "lots"), "--memory"),
            (("--head-map", "0:0"), "--svg"),
            (("--head-map", "7", "--svg", self.path("x.svg")), "LAYER:HEAD"),
            (("--svg", self.path("x.svg"), "--theta", "1,2"), "--svg"),
            (("--metric", "beauty"), "beauty"),
        ]
        for arguments, word in cases:
            with self.subTest(arguments):
                self.check_error(run("anchor-recall", path, *arguments), 2, word)
        self.assertEqual(sorted(os.listdir(self.folder)), ["d.h5"])
        self.check_error(run("anchor-recall"), 2, "DUMP")

    def test_what_is_not_there(self):
        path = self.dump(layers=2)
        self.check_error(run("anchor-recall", path, "--layers", "0,7"), 1, path, "layer 7")
        self.check_error(run("anchor-recall", path, "--heads", "0,4"), 1, "head 4", "0 to 3")
        self.check_error(run("anchor-recall", path, "--head-map", "0:9", "--svg", self.path("x.svg")), 1, "head 9")
        self.check_error(run("anchor-recall", self.path("none.h5")), 1, "none.h5")
        self.check_error(run("anchor-recall", path, "--out", "/nonexistent/r.jsonl"), 1, "/nonexistent/r.jsonl")
        self.check_error(run("anchor-recall", path, "--out", "/nonexistent/r.md"), 1, "/nonexistent/r.md")
        self.check_error(run("anchor-recall", path, "--config", self.path("none.toml")), 1, "none.toml")
        self.check_error(run("anchor-recall", path, "--memory", "10k"), 1, "--memory")

    def test_files_that_are_no_dump(self):
        Path(self.path("text.h5")).write_text("hello")
        self.check_error(run("anchor-recall", self.path("text.h5")), 1, "text.h5")
        data = heads(0, 4, 2, 64, 64, 16)
        write_dump(self.path("v2.h5"), {0: (*data, {})}, format_version="2.0")
        self.check_error(run("anchor-recall", self.path("v2.h5")), 1, "2.0")
        write_dump(self.path("half.h5"), {0: (*data, {}), 1: (*data, {"complete": np.uint8(0)})}, complete=0)
        self.check_error(run("anchor-recall", self.path("half.h5")), 1, "--allow-incomplete")
        result = run("anchor-recall", self.path("half.h5"), "--allow-incomplete")
        self.assertEqual({r["dump"]["layer"] for r in rows(result.stdout)}, {0})

    def test_layers_whose_attention_is_no_plain_softmax_are_refused(self):
        for what, words in (("softcap", "soft cap"), ("sink_logits", "attention sinks")):
            path = self.dump(f"{what}.h5")
            with h5py.File(path, "a") as file:
                for layer in file["layers"].values():
                    if what == "softcap":
                        layer.attrs[what] = 50.0
                    else:
                        layer[what] = np.zeros(4, np.float32)
            result = run("anchor-recall", path, *SMALL)
            self.assertEqual(result.returncode, 1)
            self.assertIn(words, result.stderr)
            self.assertIn("not defined", result.stderr)
            self.check_error(run("anchor-dump", "export", path, "--out", self.path("out.safetensors")), 1, words)

    def test_nan_fails_the_rows_of_its_group_and_the_run_goes_on(self):
        for part, value in (("q", np.nan), ("k", np.inf), ("v", -np.inf)):
            path = self.dump(layers=2)
            with h5py.File(path, "r+") as file:
                file["layers/001"][part][0, 3, 5] = value
            out = self.path("r.csv")
            result = run("anchor-recall", path, *SMALL, "--out", out)
            self.assertEqual(result.returncode, 3)
            found = rows(result.stdout)
            self.assertEqual([r["status"] for r in found], ["ok"] * 4 + ["error"] * 2 + ["ok"] * 2)
            self.assertIn(f"{part}[head 0, token 3, 5]", found[4]["error"])
            self.assertIn("layer 1", found[4]["error"])
            self.assertNotIn("mass_recall", found[4])
            self.assertEqual(len(Path(out).read_text().splitlines()), 9)
            self.check_error_exit_one(path)

    def check_error_exit_one(self, path):
        """If every unit failed, nothing could be computed."""
        result = run("anchor-recall", path, *SMALL, "--layers", 1, "--heads", 0, "-q", "--out", self.path("all.md"))
        self.assertEqual(result.returncode, 1)
        self.assertFalse(os.path.exists(self.path("all.md")))

    def test_a_full_disk_is_an_error_and_leaves_no_half_table(self):
        path = self.dump(layers=1)
        limit = "ulimit -f 1; exec \"$0\" \"$@\""  # files of at most 512 or 1024 bytes
        for name in ("r.jsonl", "r.json"):
            result = subprocess.run(["sh", "-c", limit, tool("anchor-recall"), path, "--out", self.path(name)],
                                    capture_output=True, text=True)
            self.assertEqual(result.returncode, 1)
            self.assertIn(name, result.stderr)
        self.assertFalse(os.path.exists(self.path("r.json")))
        self.assertFalse(os.path.exists(self.path("r.json.part")))


class Resume(ToolTest):
    def test_only_what_is_missing_is_computed_and_a_torn_line_is_dropped(self):
        path, out = self.dump(layers=3), self.path("r.jsonl")
        arguments = ("anchor-recall", path, *SMALL, "--out", out)
        whole = run(*arguments).stdout
        lines = whole.splitlines(keepends=True)
        Path(out).write_text("".join(lines[:5]) + lines[5][:40])
        again = run(*arguments, "--resume")
        self.assertEqual(again.returncode, 0, again.stderr)
        kept = Path(out).read_text()
        self.assertTrue(kept.startswith("".join(lines[:5])))
        plain = lambda text: [{k: v for k, v in r.items() if k not in ("t", "argv")} for r in rows(text)]
        self.assertEqual(plain(kept), plain(whole))
        self.assertEqual(plain(again.stdout), plain(whole))
        run(*arguments, "--resume")
        self.assertEqual(Path(out).read_text(), kept)

    def test_other_parameters_or_contents_are_other_units(self):
        path, out = self.dump(layers=1), self.path("r.jsonl")
        run("anchor-recall", path, *SMALL, "--out", out)
        run("anchor-recall", path, *SMALL, "--theta", 1, "--out", out, "--resume")
        self.assertEqual(len(rows(Path(out).read_text())), 8)
        with h5py.File(path, "r+") as file:
            file["layers/000/v"][0, 0, 0] += 1
        run("anchor-recall", path, *SMALL, "--out", out, "--resume")
        self.assertEqual(len({r["unit"] for r in rows(Path(out).read_text())}), 12)

    def test_a_foreign_file_is_left_alone(self):
        out = self.path("r.jsonl")
        Path(out).write_text("precious\n")
        self.check_error(run("anchor-recall", self.dump(layers=1), "--out", out, "--resume"), 1, "line 1")
        self.assertEqual(Path(out).read_text(), "precious\n")


class ContextParallel(ToolTest):
    def test_full_plans_cost_what_dense_attention_costs(self):
        path = self.dump(layers=2, length=400)
        result = run("anchor-recall", path, "--method", "dense,streaming", "--set", "streaming.sink=16", "--set",
                     "streaming.local=32", "--context-parallel", "ring,zigzag,striped", "--ranks", "2,4")
        self.assertEqual(result.returncode, 0, result.stderr)
        found = rows(result.stdout)
        self.assertEqual({r["kind"] for r in found}, {"context"})
        self.assertEqual([r["scope"] for r in found].count("layer"), 2 * 2 * 6)
        model = {(r["method"], r["layout"], r["ranks"]): r for r in found if r["scope"] == "all"}
        self.assertEqual(len(model), 12)
        for (method, layout, ranks), row in model.items():
            if method == "dense":
                self.assertEqual(row["moved_share"], 1)
                self.assertEqual(row["hop_bytes"], row["dense_hop_bytes"])
                self.assertEqual(row["density"], 1)
            elif layout == "striped":  # every key lies in the window of a row of every rank
                self.assertEqual(row["hop_bytes"], row["dense_hop_bytes"])
            else:
                self.assertLess(row["hop_bytes"], row["dense_hop_bytes"])
            self.assertGreaterEqual(row["pairs_imbalance"], 1)
        self.assertAlmostEqual(model["dense", "zigzag", 2]["pairs_imbalance"], 1)
        self.assertAlmostEqual(model["dense", "ring", 2]["pairs_imbalance"], 300.5 / 200.5, delta=1e-9)
        self.assertGreater(model["streaming", "striped", 4]["moved_share"], model["streaming", "ring", 4]["moved_share"])

    def test_bad_input(self):
        path = self.dump(layers=1)
        for arguments in (("--context-parallel", "rings"), ("--context-parallel", "ring", "--ranks", "1"),
                          ("--context-parallel", "zigzag", "--ranks", "1000")):
            with self.subTest(arguments):
                self.check_error(run("anchor-recall", path, *arguments), 2)


class ThresholdsFile(ToolTest):
    def setUp(self):
        super().setUp()
        self.dump_path, self.thresholds = self.dump(length=400), self.path("t.json")
        result = run("anchor-sweep", self.dump_path, *SMALL, "--target-recall", 0.8, "--thresholds-out", self.thresholds)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_recall_finds_what_the_sweep_promised(self):
        promised = json.loads(Path(self.thresholds).read_text())
        found = {(r["dump"]["layer"], r["dump"]["head"]): r
                 for r in rows(run("anchor-recall", self.dump_path, "--thresholds", self.thresholds).stdout)}
        chosen = 0
        for layer in promised["layers"]:
            for head, value, recall, density in zip(layer["heads"], layer["value"], layer["mass_recall"], layer["density"]):
                row = found[layer["layer"], head]
                self.assertEqual(row["params"]["theta"], "-inf" if value is None else value)
                self.assertEqual(row["params"]["block"], 16)
                self.assertAlmostEqual(row["mass_recall"], recall, delta=1e-5)
                self.assertAlmostEqual(row["density"], density, delta=1e-9)
                self.assertGreaterEqual(row["mass_recall"], 0.8 - 1e-5)
                chosen += value is not None
        self.assertGreater(chosen, 0)

    def test_contradictions_are_usage_errors(self):
        for arguments in (("--theta", 3), ("--step", 4), ("--method", "dense"), ("--set", "block=32"), ("--gamma", 0.9)):
            with self.subTest(arguments):
                self.check_error(run("anchor-recall", self.dump_path, "--thresholds", self.thresholds, *arguments), 2)
        same = run("anchor-recall", self.dump_path, "--thresholds", self.thresholds, *SMALL, "--method", "anchor")
        self.assertEqual(same.returncode, 0, same.stderr)

    def test_a_layer_or_head_that_the_file_lacks(self):
        made = json.loads(Path(self.thresholds).read_text())
        made["layers"][1]["heads"][2] = 77
        Path(self.thresholds).write_text(json.dumps(made))
        self.check_error(run("anchor-recall", self.dump_path, "--thresholds", self.thresholds), 1, "layer 1 head 2")
        self.assertEqual(run("anchor-recall", self.dump_path, "--thresholds", self.thresholds, "--heads", "0,1").returncode, 0)
        del made["layers"][0]
        Path(self.thresholds).write_text(json.dumps(made))
        self.check_error(run("anchor-recall", self.dump_path, "--thresholds", self.thresholds), 1, "layer 0")
        Path(self.thresholds).write_text("{")
        self.check_error(run("anchor-recall", self.dump_path, "--thresholds", self.thresholds), 1, "not a thresholds file")


if __name__ == "__main__":
    unittest.main()
