"""Layers with a sliding window through the tools: rows, curves, thresholds, timing and report of a hybrid dump."""
import json
import pathlib
import unittest

import numpy as np

from tools import ToolTest, heads, rows, run, write_dump

LENGTH, WINDOW = 400, 90


def seen(window):
    """[row, key]: which keys the rows see."""
    distance = np.arange(LENGTH)[:, None] - np.arange(LENGTH)
    return (distance >= 0) & (distance < (window or LENGTH))


def masses(q, k, window):
    """The dense softmax of one head, from the definition."""
    scores = np.where(seen(window), q.astype(np.float64) @ k.T * q.shape[1] ** -0.5, -np.inf)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


class WindowedLayers(ToolTest):
    def hybrid(self):
        """Layer 0 sees everything, layer 1 a window, layer 2 one that is longer than the text."""
        self.data = {n: heads(n, 4, 2, LENGTH, LENGTH, 32) for n in range(3)}
        path = self.path("d.h5")
        write_dump(path, {n: (*self.data[n], {"sliding_window": np.int64(window)}) for n, window in enumerate((0, WINDOW, LENGTH))})
        return path

    def recall(self, path, *arguments):
        done = run("anchor-recall", path, "--device", "cpu", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return rows(done.stdout)

    def test_density_and_recall_are_those_of_the_pairs_in_the_window(self):
        found = self.recall(self.hybrid(), "--method", "streaming", "--set", "sink=20", "--set", "local=30")
        self.assertEqual(len(found), 12)
        for row in found:
            layer, head = row["dump"]["layer"], row["dump"]["head"]
            window = (0, WINDOW, LENGTH)[layer]
            q, k, _ = self.data[layer]
            kept = seen(window) & ((np.arange(LENGTH) < 20) | seen(30))
            recall = (masses(q[head], k[head // 2], window) * kept).sum(axis=1)
            self.assertAlmostEqual(row["density"], kept.sum() / seen(window).sum(), delta=1e-12)
            self.assertAlmostEqual(row["mass_recall"], recall.mean(), delta=1e-5)
            self.assertAlmostEqual(row["mass_recall_min"], recall.min(), delta=1e-5)
            self.assertEqual(row["geometry"].get("window"), window or None)

    def test_dense_attention_keeps_everything_everywhere(self):
        for row in self.recall(self.hybrid(), "--method", "dense", "--stats"):
            self.assertEqual((row["density"], row["out_max_abs"]), (1, 0))
            self.assertAlmostEqual(row["mass_recall_min"], 1, delta=1e-6)

    def test_one_thresholds_file_for_all_layers(self):
        path, file = self.hybrid(), self.path("t.json")
        method = ("--method", "stripes", "--set", "block=32")
        done = run("anchor-sweep", path, "--device", "cpu", *method, "--target", "mass_recall=0.9", "--thresholds-out", file)
        self.assertEqual(done.returncode, 0, done.stderr)
        fitted = json.loads(pathlib.Path(file).read_text())["layers"]
        self.assertEqual([layer["layer"] for layer in fitted], [0, 1, 2])
        found = {(r["dump"]["layer"], r["dump"]["head"]): r for r in self.recall(path, "--thresholds", file)}
        for layer in fitted:
            for head, density, recall in zip(layer["heads"], layer["density"], layer["mass_recall"]):
                self.assertAlmostEqual(found[layer["layer"], head]["density"], density, delta=1e-9)
                self.assertAlmostEqual(found[layer["layer"], head]["mass_recall"], recall, delta=1e-4)
                self.assertGreaterEqual(recall, 0.9)

    def test_bench_checks_a_windowed_layer(self):
        done = run("anchor-bench", "--dump", self.hybrid(), "--device", "cpu", "--layers", "1", "--method", "dense,anchor", "--set",
                   "anchor.block=32", "--set", "anchor.step=2")
        self.assertEqual(done.returncode, 0, done.stderr)
        for row in rows(done.stdout):
            self.assertEqual((row["status"], row["geometry"]["window"]), ("ok", WINDOW))

    def test_a_report_shows_all_layers(self):
        path, file = self.hybrid(), self.path("rows.jsonl")
        pathlib.Path(file).write_text("".join(json.dumps(row) + "\n" for row in self.recall(path, "--method", "anchor")))
        for extra in ((), ("--method", "stripes"), ("--method", "topk")):
            done = run("anchor-report", file, path, *extra, "--html", self.path("r.html"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr.count("error"), 0)


if __name__ == "__main__":
    unittest.main()
