"""anchor-recall --pareto, and anchor-sweep cluster with what SharePrefill makes of its file."""
import json
import os
import unittest
import xml.etree.ElementTree as xml

from tools import ToolTest, rows, run

SMALL = ("--set", "anchor.block=16", "--set", "anchor.step=2", "--set", "streaming.sink=4")


def answers(found, method, choice, metric="mass_recall", scope="all"):
    return [r for r in found if r["kind"] == "sweep" and (r["scope"], r["method"], r["choice"], r["target"]["metric"]) == (scope, method, choice, metric)]


def reaches(row):
    target = row["target"]
    value = row[target["metric"]]
    return value >= target["value"] - 2e-5 if target["metric"] == "mass_recall" else value <= target["value"]


class Front(ToolTest):
    def test_every_method_answers_every_target_with_plans_that_reach_it(self):
        picture = self.path("front.svg")
        result = run("anchor-recall", self.dump(layers=2, length=300), "--method", "dense,anchor,streaming,xattention", *SMALL,
                     "--set", "xattention.block=32", "--set", "xattention.stride=4", "--pareto", picture)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = rows(result.stdout)
        curves = [r for r in found if r["kind"] == "curve"]
        self.assertEqual([(r["scope"], r["method"], r["curve_is"]) for r in curves],
                         [("all", "anchor", "exact"), ("all", "xattention", "exact"), ("all", "streaming", "replayed")])  # cheap ones first
        for row in curves:
            density, recall = row["curve"]["density"], row["curve"]["mass_recall"]
            self.assertEqual(density, sorted(density))
            self.assertAlmostEqual(recall[-1], 1, places=4)
        for method in ("anchor", "streaming", "xattention"):
            for metric, choices in (("mass_recall", ("global", "heads", "allocation")), ("out_rel_l2", ("global", "heads"))):
                for choice in choices:
                    got = answers(found, method, choice, metric)
                    self.assertEqual([r["target"]["value"] for r in got], [0.9, 0.95, 0.99] if metric == "mass_recall" else [0.1, 0.05, 0.02])
                    layers = answers(found, method, choice, metric, "layer")
                    for n, row in enumerate(got):
                        self.assertEqual(row["status"], "ok")
                        self.assertTrue(reaches(row), row)
                        self.assertLessEqual(row["density"], row["work_density"])
                        self.assertEqual("value" in row, choice == "global")
                        own = layers[2 * n:2 * n + 2]  # rows of both layers, of the same number of heads
                        self.assertEqual([r["dump"]["layer"] for r in own], [0, 1])
                        for field in ("density", "work_density", "mass_recall", "out_rel_l2"):
                            self.assertAlmostEqual(row[field], (own[0][field] + own[1][field]) / 2, places=12)
                        worst = (min if metric == "mass_recall" else max)(own, key=lambda r: r[metric])
                        self.assertEqual((row["worst_layer"], row["worst_layer_" + metric]), (worst["dump"]["layer"], worst[metric]))
                        if choice == "heads":
                            self.assertEqual(row["heads_below_target"], 0)
        for row in answers(found, "anchor", "heads"):  # every head reaches what only the mean must reach elsewhere
            self.assertGreaterEqual(row["worst_head_mass_recall"], row["target"]["value"] - 2e-5)
        for method in ("anchor", "xattention"):
            for n, allocated in enumerate(answers(found, method, "allocation")):
                self.assertLessEqual(allocated["density"] - allocated["optimality_gap"], answers(found, method, "global")[n]["density"])
        names = [t.text for t in xml.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
        for name in ("anchor step=2", "streaming", "xattention"):
            self.assertEqual(names.count(name), 2)  # a panel of recalls, one of errors

    def test_answers_are_what_the_sweep_and_a_replay_find(self):
        dump = self.dump(layers=2, length=300)
        small = ("--block", 16, "--step", 2)
        found = rows(run("anchor-recall", dump, *small, "--pareto", self.path("f.svg")).stdout)
        swept = [r for r in rows(run("anchor-sweep", dump, *small, "--target", "mass_recall=0.95", "--allocate", "model", "--measure", "all").stdout)
                 if r["kind"] == "sweep"]
        one = [r for r in swept if r["scope"] == "all" and "choice" not in r][0]
        got = answers(found, "anchor", "global")[1]
        self.assertAlmostEqual(got["density"], one["density"], delta=2e-4)
        own = [r for r in swept if r["scope"] == "head" and "choice" not in r]
        self.assertAlmostEqual(answers(found, "anchor", "heads")[1]["density"], sum(r["density"] for r in own) / len(own), places=9)
        allocated = [r for r in swept if r["scope"] == "all" and r.get("choice") == "allocation"][0]
        self.assertAlmostEqual(answers(found, "anchor", "allocation")[1]["density"], allocated["density"], places=9)

        error = answers(found, "anchor", "global", "out_rel_l2")[1]
        heads = rows(run("anchor-recall", dump, *small, f"--theta={error['value']}").stdout)
        for field in ("density", "work_density", "mass_recall", "out_rel_l2"):
            self.assertAlmostEqual(sum(r[field] for r in heads) / len(heads), error[field], places=9)
        worst = max(heads, key=lambda r: r["out_rel_l2"])
        self.assertEqual((error["worst_head_layer"], error["worst_head"], error["worst_head_out_rel_l2"]),
                         (worst["dump"]["layer"], worst["dump"]["head"], worst["out_rel_l2"]))

    def test_without_measuring_nothing_is_run_and_no_error_is_known(self):
        dump = self.dump(layers=1, length=300)
        small = ("--block", 16, "--step", 2)
        measured = rows(run("anchor-recall", dump, *small, "--pareto", self.path("f.svg")).stdout)
        found = rows(run("anchor-recall", dump, *small, "--measure", "none", "--pareto", self.path("f.svg")).stdout)
        self.assertEqual(answers(found, "anchor", "global", "out_rel_l2"), [])
        for choice in ("global", "heads", "allocation"):
            for n, row in enumerate(answers(found, "anchor", choice)):
                self.assertNotIn("work_density", row)
                self.assertAlmostEqual(row["density"], answers(measured, "anchor", choice)[n]["density"], delta=1e-3)

        picture = self.path("mixed.svg")  # a panel of errors would lack the method whose plans were not run
        run("anchor-recall", dump, *SMALL, "--method", "anchor,streaming", "--measure", "none", "--pareto", picture)
        names = [t.text for t in xml.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
        self.assertEqual([names.count(name) for name in ("anchor step=2", "streaming")], [1, 1])

    def test_a_target_that_no_knob_reaches_is_skipped_with_a_reason(self):
        result = run("anchor-recall", self.dump(layers=1, length=1000), "--method", "flexprefill", "--set", "min_budget=1", "--set",
                     "max_budget=200", "--pareto", self.path("f.svg"))
        self.assertEqual(result.returncode, 0, result.stderr)
        row = answers(rows(result.stdout), "flexprefill", "global")[2]
        self.assertEqual((row["status"], row["error"]), ("skipped", "no knob reaches a mean mass_recall of 0.99"))
        self.assertFalse({"density", "value", "mass_recall"} & set(row))

    def test_the_tables_fit_a_terminal(self):
        result = run("anchor-recall", self.dump(layers=1, length=300), "--method", "vertical-slash-blocks,anchor", "--set", "anchor.block=16",
                     "--pareto", self.path("f.svg"), "--format", "md", "-o", self.path("f.md"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertLessEqual(max(len(line) for line in result.stdout.splitlines()), 80)
        for title in ("one knob for all heads", "a knob per head", "recall allocated over the heads", "worst head, one knob for all heads"):
            self.assertIn(title, result.stdout)
        with open(self.path("f.md")) as text:
            self.assertIn("optimality_gap", text.read())

    def test_contradictions(self):
        dump = self.dump(layers=1, length=40)
        for extra in (("--svg", self.path("a.svg")), ("--method", "dense"), ("--head-map", "0:0", "--svg", self.path("b.svg"))):
            self.assertEqual(run("anchor-recall", dump, "--pareto", self.path("c.svg"), *extra).returncode, 2)


class Clusters(ToolTest):
    def test_clusters_name_every_head_once_and_sharing_needs_them(self):
        dump, file = self.dump(layers=3, length=1000), self.path("clusters.json")
        self.assertEqual(run("anchor-sweep", "cluster", dump, "--cut", 1, "--out", file).returncode, 0)
        with open(file) as text:
            made = json.load(text)
        heads = [tuple(head) for members in made["clusters"].values() for head in members]
        self.assertEqual(sorted(heads), [(layer, head) for layer in range(3) for head in range(4)])
        self.assertEqual(made["shared_clusters"], ["0"])  # at cut 1 everything is alike

        share = ("--method", "shareprefill", "--set", "min_budget=0", "--set", "tau_qa=0", "--set", "gamma=0.3")
        alone = rows(run("anchor-recall", dump, *share).stdout)
        result = run("anchor-recall", dump, *share, "--set", f"clusters={file}")
        self.assertEqual(result.returncode, 0, result.stderr)
        shared = rows(result.stdout)
        self.assertLess(alone[0]["density"], 1)
        self.assertEqual(shared[0]["density"], 1)  # the pivot runs dense
        self.assertEqual([r["density"] for r in shared[1:4]], [r["density"] for r in alone[1:4]])  # its own layer cannot share yet
        self.assertNotEqual([r["density"] for r in shared[4:]], [r["density"] for r in alone[4:]])

    def test_a_cut_of_nothing_shares_nothing(self):
        dump, file = self.dump(layers=1, length=1000), self.path("c.json")
        self.assertEqual(run("anchor-sweep", "cluster", dump, "--cut", 0, "--out", file).returncode, 0)
        with open(file) as text:
            self.assertEqual(json.load(text)["shared_clusters"], [])
        self.assertFalse(os.path.exists(file + ".part"))


if __name__ == "__main__":
    unittest.main()
