"""anchor-recall --pareto, and anchor-sweep cluster with what SharePrefill makes of its file."""
import json
import os
import unittest
import xml.etree.ElementTree as xml

from tools import ToolTest, rows, run

SMALL = ("--set", "anchor.block=16", "--set", "anchor.step=2", "--set", "streaming.sink=4")


class Frontier(ToolTest):
    def test_every_method_gets_a_curve_and_the_densities_that_recalls_need(self):
        picture = self.path("front.svg")
        result = run("anchor-recall", self.dump(layers=2, length=300), "--method", "dense,anchor,streaming,xattention", *SMALL,
                     "--set", "xattention.block=32", "--set", "xattention.stride=4", "--pareto", picture)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = rows(result.stdout)
        self.assertEqual([(r["kind"], r["scope"], r["method"], r["curve_is"]) for r in found],
                         [("curve", "all", "anchor", "exact"), ("curve", "all", "streaming", "replayed"), ("curve", "all", "xattention", "exact")])
        for row in found:
            density, recall = row["curve"]["density"], row["curve"]["mass_recall"]
            self.assertEqual(density, sorted(density))
            self.assertAlmostEqual(recall[-1], 1, places=4)
            needed = [row[f"density_at_{r}"] for r in ("0.9", "0.95", "0.99")]
            self.assertEqual(needed, sorted(needed))
            self.assertGreaterEqual(needed[0], density[0])
        names = [t.text for t in xml.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
        for name in ("anchor step 2", "streaming", "xattention"):
            self.assertIn(name, names)

    def test_a_density_that_a_recall_needs_is_the_sweeps(self):
        dump = self.dump(layers=2, length=300)
        small = ("--block", 16, "--step", 2)
        row = rows(run("anchor-recall", dump, *small, "--pareto", self.path("f.svg")).stdout)[0]
        sweep = [r for r in rows(run("anchor-sweep", dump, *small, "--target", "mass_recall=0.95").stdout)
                 if r["scope"] == "all" and r["kind"] == "sweep"][0]
        self.assertAlmostEqual(row["density_at_0.95"], sweep["density"], delta=2e-3)

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
