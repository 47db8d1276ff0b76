"""What others wrote: config files, thresholds, result rows, numbers. A mistake is one line that names the field, not a default."""
import json
import unittest
from pathlib import Path

from tools import ToolTest, heads, rows, run, write_dump

SMALL = ("--block", 16, "--step", 2, "--device", "cpu")


class Config(ToolTest):
    def test_a_key_that_no_option_has_is_named(self):
        path, config = self.dump(layers=1, length=64), self.path("c.toml")
        Path(config).write_text("theta = 3.5\nstep = 1\nblock = 32\n")
        row = rows(run("anchor-recall", path, "--config", config).stdout)[0]
        self.assertEqual((row["params"]["theta"], row["params"]["step"]), (3.5, 1))
        for text, key in (("thetta = 3.5\n", "thetta"), ("Theta = 3.5\n", "Theta"), ("[anchor]\ntheta = 3.5\n", None),
                          ("theta = 3.5\nstpe = 1\n", "stpe"), ("time-limit = 3\n", "time-limit")):
            Path(config).write_text(text)
            self.check_error(run("anchor-recall", path, "--config", config), 2, config, f"no option {key}" if key else "no section [anchor]")
        Path(config).write_text("thetta = 3.5\n")
        self.check_error(run("anchor-recall", path, "--config", config), 2, "did you mean theta?")
        self.check_error(run("anchor-bench", "--seq", 64, "--config", config), 2, "thetta")
        self.check_error(run("anchor-sweep", path, "--config", config), 2, "thetta")


class Numbers(ToolTest):
    def test_a_number_out_of_range_is_one_short_line(self):
        path = self.dump(layers=1, length=64)
        for line in (("anchor-recall", path, "--threads", -1), ("anchor-recall", path, "--threads", "abc"), ("anchor-recall", path, "--threads", 99999999999),
                     ("anchor-bench", "--seq", 256, "--time-limit", 0), ("anchor-bench", "--seq", 256, "--time-limit", "nan"),
                     ("anchor-bench", "--seq", 256, "--interval", -1), ("anchor-bench", "--seq", 256, "--checked-rows", 0),
                     ("anchor-bench", "--seq", 256, "--q-heads", 0), ("anchor-bench", "--seq", 256, "--dim", "1e9"),
                     ("anchor-bench", "compare", "a", "b", "--margin", -1), ("anchor-recall", path, "--heads", -1),
                     ("anchor-dump", "synthetic", "--seq", 0, "-o", self.path("y.h5")), ("anchor-sweep", path, "--row-curves", 0),
                     ("anchor-sweep", path, "--allocate", "model", "--floor", 2), ("anchor-sweep", "fit", path, "--margin", "nan"),
                     ("anchor-sweep", "fit", path, "--worst", "--max-error", 0), ("anchor-sweep", "cluster", path, "--cut", 7, "-o", self.path("c.json"))):
            with self.subTest(line=line):
                done = run(*line)
                self.check_error(done, 2)
                self.assertLess(len(done.stderr), 200)
        self.assertIn("not a whole number", run("anchor-recall", path, "--threads", "abc").stderr)

    def test_ranges_without_end_are_refused_at_once(self):
        for seq in ("1-1.8e308*2", "1-inf*2", "1-8k*1.0000000001", "1-8k*inf", "1:1e300:1", "1:2:1e-300", "1-9e99", "1e308k", "0-999999,0-999999"):
            with self.subTest(seq=seq):
                done = run("anchor-bench", "--seq", seq, "--baseline", "none")
                self.check_error(done, 2)
                self.assertLess(len(done.stderr), 250)

    def test_a_calibration_from_infinity_is_refused(self):
        self.check_error(run("anchor-sweep", "calibrate", self.dump(layers=1, length=64), "--error", 0.4, "--set", "theta_h=inf"), 2, "halves of infinity never end")


class Thresholds(ToolTest):
    def setUp(self):
        super().setUp()
        self.file = self.path("T.json")
        self.a = self.model("a.h5", "Qwen2.5-7B", 32)
        done = run("anchor-sweep", self.a, *SMALL, "--thresholds-out", self.file, "-q")
        self.assertEqual(done.returncode, 0, done.stderr)

    def model(self, name, model, dim, q_heads=4, seed=0):
        path = self.path(name)
        write_dump(path, {0: (*heads(seed, q_heads, 2, 200, 200, dim), {})}, model=model)
        return path

    def test_another_shape_is_refused_and_another_model_is_named(self):
        same = run("anchor-recall", self.model("a2.h5", "Qwen2.5-7B", 32, seed=5), "--thresholds", self.file, "--device", "cpu")
        self.assertEqual((same.returncode, same.stderr), (0, ""))
        for other in (self.model("b.h5", "Qwen2.5-7B", 64), self.model("c.h5", "Qwen2.5-7B", 32, q_heads=8)):
            for line in (("anchor-recall", other), ("anchor-bench", "--dump", other, "--time-limit", 0.05, "--baseline", "none")):
                self.check_error(run(*line, "--thresholds", self.file, "--device", "cpu"), 1, "T.json", "4/2 heads of dimension 32")
        other = self.model("m.h5", "Llama-3.1-8B", 32)
        for line in (("anchor-recall", other), ("anchor-bench", "--dump", other, "--time-limit", 0.05, "--baseline", "none")):
            done = run(*line, "--thresholds", self.file, "--device", "cpu")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("Qwen2.5-7B", done.stderr)
            self.assertIn("Llama-3.1-8B", done.stderr)

    def test_every_value_is_checked_by_the_methods_own_range(self):
        whole = json.loads(Path(self.file).read_text())

        def broken(change, *words):
            made = json.loads(json.dumps(whole))
            change(made)
            Path(self.file).write_text(json.dumps(made))
            self.check_error(run("anchor-recall", self.a, "--thresholds", self.file), 1, "T.json: field", *words)

        layer = lambda made: made["layers"][0]
        broken(lambda m: layer(m)["value"].pop(), "layers[0].value", "3 values for 4 heads")
        broken(lambda m: layer(m)["mass_recall"].pop(), "layers[0].mass_recall")
        broken(lambda m: layer(m)["value"].__setitem__(1, "nan"), "layers[0].value")
        broken(lambda m: layer(m)["value"].__setitem__(1, {}), "layers[0].value")
        broken(lambda m: layer(m).__setitem__("layer", -1), "layers[0].layer", "[0,")
        broken(lambda m: layer(m).__setitem__("layer", 1.5), "layers[0].layer", "whole number")
        broken(lambda m: layer(m)["heads"].__setitem__(0, 1), "layers[0].heads", "twice")
        broken(lambda m: layer(m)["heads"].__setitem__(0, 2 ** 63), "layers[0].heads")
        broken(lambda m: m["layers"].append(m["layers"][0]), "layer 0 twice")
        broken(lambda m: m["params"].__setitem__("block", 0), "params", "anchor.block")
        broken(lambda m: m["params"].__setitem__("blok", 16), "params", "blok")
        broken(lambda m: m.__setitem__("method", "achor"), "method", "did you mean anchor?")
        broken(lambda m: m.__setitem__("knob", "gamma"), "knob", "theta")
        broken(lambda m: m.__setitem__("layers", {}), "layers", "not a list")
        broken(lambda m: m.pop("params"), "params", "missing")
        # another method's knob has another range
        other = {**whole, "method": "vertical-slash", "knob": "vertical", "params": {}}
        for value in ("inf", 0, -3, 1.5, None):
            layer(other)["value"] = [value] * 4
            Path(self.file).write_text(json.dumps(other))
            self.check_error(run("anchor-recall", self.a, "--thresholds", self.file), 1, "T.json: field \"layers[0].value\"")
        for text in ("", "[]", "[" * 200000, "{", '{"format":"anchor-thresholds"}'):
            Path(self.file).write_text(text)
            self.check_error(run("anchor-recall", self.a, "--thresholds", self.file), 1, "T.json")

    def test_what_sweeps_write_is_read_back(self):
        for method in ("anchor", "stripes", "flashprefill", "xattention"):
            grid = ("--grid", "0.3,0.6,0.9") if method == "xattention" else ()
            run("anchor-sweep", self.a, "--method", method, "--set", "block=16", *(("--set", "stride=4") if grid else ()), *grid, "--target-recall", 0.8, "--thresholds-out", self.file, "-q")
            done = run("anchor-recall", self.a, "--thresholds", self.file, "-q")
            self.assertEqual(done.returncode, 0, (method, done.stderr))


class Rows(ToolTest):
    def setUp(self):
        super().setUp()
        self.d, self.out = self.dump(layers=1, length=96), self.path("r.jsonl")
        run("anchor-sweep", self.d, *SMALL, "--curves", "-o", self.out)
        self.good = Path(self.out).read_text()

    def broken(self, change, *words):
        found = rows(self.good)
        change(found[0], next(row for row in found if row["kind"] == "curve"))
        Path(self.out).write_text("".join(json.dumps(row) + "\n" for row in found))
        for line in (("anchor-report", self.out, "--html", self.path("p.html")), ("anchor-sweep", self.d, *SMALL, "--curves", "-o", self.out, "--resume")):
            done = run(*line)
            self.check_error(done, 1, self.out + ":", "field", *words)
            self.assertNotIn("json.exception", done.stderr)

    def test_a_wrong_field_is_named_with_its_line(self):
        self.broken(lambda row, _: row.pop("value"), ":1:", "\"value\" is missing")
        self.broken(lambda row, _: row.pop("density"), ":1:", "\"density\" is missing")
        self.broken(lambda row, _: row.update(density=7), ":1:", "\"density\" is 7", "[0, 1")
        self.broken(lambda row, _: row["geometry"].update(q_heads=0), "geometry.q_heads")
        self.broken(lambda row, _: row["geometry"].update(q_heads=5, kv_heads=3), "geometry.kv_heads")
        self.broken(lambda row, _: row["geometry"].update(kv_len=2 ** 63), "geometry.kv_len")
        self.broken(lambda row, _: row["dump"].update(head=-1), "dump.head")
        self.broken(lambda row, _: row.update(status="maybe"), "status")
        self.broken(lambda _, curve: curve["curve"].update(density=[], knob=[], mass_recall=[]), "curve.knob")
        self.broken(lambda _, curve: curve["curve"]["density"].pop(), "curve.density")
        self.broken(lambda _, curve: curve.pop("curve"), "\"curve\" is missing")

    def test_deep_and_endless_lines_are_refused(self):
        Path(self.out).write_text('{"schema":"anchor-result/1","kind":' + "[" * 200000 + "\n" + self.good)
        self.check_error(run("anchor-report", self.out, "--html", self.path("p.html")), 1, self.out + ":1:")
        self.check_error(run("anchor-report", self.folder, "--html", self.path("p.html")), 1, "cannot read")

    def test_rows_of_another_dump_are_refused_or_named(self):
        short, other = self.dump("short.h5", layers=1, length=64), self.path("other.h5")
        self.check_error(run("anchor-report", self.out, short, "--html", self.path("p.html")), 1, "96 keys", "64 keys", "short.h5")
        write_dump(other, {0: (*heads(3, 4, 2, 96, 96, 32), {})}, model="another")
        done = run("anchor-report", self.out, other, "--html", self.path("p.html"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("has rows of test", done.stderr)
        self.assertIn("another", done.stderr)
        done = run("anchor-report", self.out, self.d, "--html", self.path("p.html"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class FewSamples(ToolTest):
    BENCH = ("--seq", 256, "--q-heads", 1, "--kv-heads", 1, "--dim", 32, "--device", "cpu", "--threads", 1, "-q", "--method", "anchor",
             "--baseline", "none", "--time-limit", 1e-9)

    def test_fewer_than_six_samples_have_no_interval(self):
        row = rows(run("anchor-bench", *self.BENCH).stdout)[0]
        self.assertLess(row["stats"]["n"], 6)
        self.assertNotIn("ci95_ns", row["stats"])
        self.assertNotIn("ci95_percent", row)
        table = [[cell.strip() for cell in line.split("|")] for line in run("anchor-bench", *self.BENCH, "--format", "md").stdout.splitlines()]
        self.assertEqual(table[2][table[0].index("+-%")] if "+-%" in table[0] else "-", "-")

    def test_compare_says_too_few_samples(self):
        row = rows(run("anchor-bench", *self.BENCH).stdout)[0]

        def save(name, samples, **stats):
            made = json.loads(json.dumps(row))
            ordered = sorted(samples)
            made["time_ns"] = {"total": samples}
            made["stats"] = {"median_ns": ordered[len(ordered) // 2], "ci95_ns": [ordered[0], ordered[-1]], "n": len(samples), **stats}
            Path(self.path(name)).write_text(json.dumps(made) + "\n")

        compare = lambda: run("anchor-bench", "compare", self.path("a.jsonl"), self.path("b.jsonl"))
        for before, after in (([1000], [1100]), ([1000, 1001], [1040, 1050]), ([1000] * 5, [2000] * 20)):
            save("a.jsonl", before)
            save("b.jsonl", after)
            done = compare()
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.stdout.startswith("too few samples"), done.stdout)
        save("a.jsonl", [1000 + i for i in range(20)])
        save("b.jsonl", [1100 + i for i in range(20)])
        done = compare()
        self.assertEqual(done.returncode, 4)
        self.assertTrue(done.stdout.startswith("slower"))
        Path(self.path("b.jsonl")).write_text(json.dumps({**row, "stats": {"median_ns": 5}}) + "\n")
        self.check_error(compare(), 1, "b.jsonl:1: field \"stats.n\" is missing")


if __name__ == "__main__":
    unittest.main()
