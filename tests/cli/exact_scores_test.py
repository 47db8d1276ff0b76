"""Scores as the tools see them: equal keys, massive activations, what overflows float, prefixes of late queries."""
import pathlib
import unittest

import numpy as np

from tools import ToolTest, heads, rows, run, write_dump


def exact(q, k, visible):
    """float64: (row mass recall under a mask [rows, keys]) of one head, no causality added."""
    scores = q.astype(np.float64) @ k.astype(np.float64).T * q.shape[1] ** -0.5
    causal = np.arange(len(k)) <= np.arange(len(q))[:, None]

    def lse(mask):
        masked = np.where(mask & causal, scores, -np.inf)
        top = masked.max(axis=1)
        return top + np.log(np.exp(masked - top[:, None]).sum(axis=1))

    return np.exp(lse(visible) - lse(causal))


class ExactScores(ToolTest):
    def recall(self, path, *arguments):
        return run("anchor-recall", path, "--device", "cpu", "-q", *arguments)

    def test_equal_keys_tie(self):
        rng = np.random.default_rng(3)
        for length, dim, count in ((700, 64, 50), (256, 32, 16)):
            q = rng.standard_normal((1, length, dim), np.float32)
            k = np.repeat(rng.standard_normal((1, 1, dim), np.float32), length, 1)
            v = np.zeros((1, length, dim), np.float32)
            v[0, :count, 0] = 1  # the output says which keys were taken
            write_dump(self.path("d.h5"), {0: (q, k, v, {})})
            row, = rows(self.recall(self.path("d.h5"), "--method", "topk", "--set", f"k={count}").stdout)
            share = np.minimum(count, np.arange(length) + 1) / (np.arange(length) + 1)
            self.assertAlmostEqual(row["out_mean_abs"] * dim, (1 - share).mean(), delta=1e-4)
            row, = rows(self.recall(self.path("d.h5"), "--method", "difference", "--theta", "0").stdout)
            self.assertEqual(row["density"], 1)

    def test_massive_activations_are_right(self):
        rng = np.random.default_rng(4)
        q, k, v = (rng.standard_normal((1, 400, 64), np.float32) for _ in range(3))
        q[:, :, 5], k[:, :, 5] = 300, 2700  # every score is 1e5 and a little
        write_dump(self.path("d.h5"), {0: (q, k, v, {})})
        row, = rows(self.recall(self.path("d.h5"), "--method", "streaming", "--set", "sink=4", "--set", "local=60").stdout)
        distance = np.arange(400)[:, None] - np.arange(400)
        share = exact(q[0], k[0], (distance < 60) | (np.arange(400) < 4))
        self.assertAlmostEqual(row["mass_recall"], share.mean(), delta=1e-4)
        self.assertAlmostEqual(row["mass_recall_min"], share.min(), delta=1e-4)
        swept = run("anchor-sweep", self.path("d.h5"), "--block", "32", "--step", "1", "--device", "cpu", "-q")
        self.assertEqual(swept.returncode, 0, swept.stderr)
        for row in rows(swept.stdout):
            self.assertTrue(0 < row.get("mass_recall", 0.5) <= 1)

    def test_what_overflows_float_is_an_error_row(self):
        rng = np.random.default_rng(5)
        q, k, v = (rng.standard_normal((1, 300, 32), np.float32) for _ in range(3))
        huge = np.float32(1e20)
        for name, (a, b, c), words in (("scores", (q * huge, k * huge, v), "overflow float"),
                                       ("values", (q, k, np.clip(v * np.float32(1e38), -3e38, 3e38)), "not finite|overflow float")):
            write_dump(self.path("d.h5"), {0: (a, b, c, {})})
            done = self.recall(self.path("d.h5"), "--method", "topk,streaming", "--set", "topk.k=20", "--set", "streaming.local=50")
            self.assertIn(done.returncode, (1, 3), name)
            for row in rows(done.stdout):
                self.assertEqual(row["status"], "error", name)
                self.assertRegex(row["error"], words)
                self.assertNotIn("mass_recall", row)
        write_dump(self.path("d.h5"), {0: (q * huge, k * huge, v, {})})
        thresholds = pathlib.Path(self.path("T.json"))
        done = run("anchor-sweep", self.path("d.h5"), "--step", "1", "--thresholds-out", thresholds, "--device", "cpu", "-q")
        self.assertIn(done.returncode, (1, 3))
        self.assertFalse(thresholds.exists())

    def test_a_prefix_of_late_queries_is_timed_with_what_was_read(self):
        q, k, v = heads(1, 2, 1, 100, 400, 32)  # queries at 300 to 399
        write_dump(self.path("d.h5"), {0: (q, k, v, {"q_start": np.int64(300)})})
        done = run("anchor-bench", "--dump", self.path("d.h5"), "--seq", "350", "--method", "streaming", "--set", "local=50",
                   "--baseline", "none", "--device", "cpu", "--time-limit", "0.05")
        self.assertEqual(done.returncode, 0, done.stderr)
        row, = rows(done.stdout)
        self.assertEqual((row["geometry"]["q_len"], row["geometry"]["kv_len"]), (50, 350))
        self.assertEqual(row["cache"], "unflushed")
        done = run("anchor-bench", "--dump", self.path("d.h5"), "--seq", "300", "--device", "cpu")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("holds none of them", done.stderr)


if __name__ == "__main__":
    unittest.main()
