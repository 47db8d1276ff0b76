"""Recall and curves of dumps that plain h5py wrote equal an independent numpy implementation."""
import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "golden"))
import anchor_numpy
from tools import ToolTest, heads, rows, run, write_dump

# (q_heads, kv_heads, rows, keys, q_start or None for the default, dim, block, step)
GEOMETRIES = [
    (1, 1, 300, 300, None, 64, 16, 4),    # not a multiple of block or group
    (3, 1, 256, 256, None, 64, 16, 2),    # grouped queries
    (9, 3, 130, 130, None, 80, 32, 1),
    (4, 4, 96, 224, None, 32, 16, 4),     # the last 96 rows: q_start = 128
    (2, 1, 64, 256, 64, 128, 16, 2),      # keys after the last query
    (1, 1, 1, 1, None, 16, 128, 16),      # one token
    (2, 2, 100, 100, None, 16, 128, 16),  # shorter than a block
    (2, 1, 333, 333, None, 256, 8, 8),
]


class NumpyTest(ToolTest):
    def test_every_geometry(self):
        for number, (q_heads, kv_heads, q_len, kv_len, q_start, dim, block, step) in enumerate(GEOMETRIES):
            with self.subTest(geometry=GEOMETRIES[number]):
                q, k, v = heads(number, q_heads, kv_heads, q_len, kv_len, dim)
                path = self.path(f"{number}.h5")
                attributes = {} if q_start is None else {"q_start": np.int64(q_start)}
                write_dump(path, {5: (q, k, v, attributes)})
                start = kv_len - q_len if q_start is None else q_start
                self.check_recall(path, (q, k, v), start, block, step)
                self.check_curve(path, (q, k, v), start, block, step)

    def check_recall(self, path, data, start, block, step):
        q, k, v = data
        result = run("anchor-recall", path, "--theta", "0,2,5", "--block", block, "--step", step, "-q")
        self.assertEqual(result.returncode, 0, result.stderr)
        found = rows(result.stdout)
        self.assertEqual(len(found), 3 * len(q))
        for row in found:
            head, theta = row["dump"]["head"], row["params"]["theta"]
            kv_head = head // (len(q) // len(k))
            self.assertEqual(row["dump"]["kv_head"], kv_head)
            recall, density, out, dense = anchor_numpy.recall_and_density(
                q[head], k[kv_head], v[kv_head], q.shape[2] ** -0.5, start, block, step, theta)
            error = np.abs(out - dense)
            expected = {
                "density": density, "mass_recall": recall.mean(), "mass_recall_p05": np.percentile(recall, 5),
                "mass_recall_min": recall.min(), "out_rel_l2": np.linalg.norm(out - dense) / np.linalg.norm(dense),
                "out_max_abs": error.max(), "out_mean_abs": error.mean(),
            }
            for name, value in expected.items():
                self.assertAlmostEqual(row[name], value, delta=1e-4, msg=f"{name} of head {head} at theta {theta}")
            for tolerance in ("0.01", "0.005"):  # float32 may put an element on the other side of the tolerance
                near = (np.abs(error - float(tolerance)) < 1e-5).mean()
                self.assertAlmostEqual(row[f"output_recall_{tolerance}"], (error < float(tolerance)).mean(), delta=1e-4 + near)

    def check_curve(self, path, data, start, block, step):
        q, k, _ = data
        result = run("anchor-sweep", path, "--curves=full", "--block", block, "--step", step, "--target-recall", 0.5, "-q")
        self.assertEqual(result.returncode, 0, result.stderr)
        thetas = [-np.inf, -3, -1, 0, 0.5, 1, 2, 3, 4, 6, 8, 12, np.inf]
        for row in rows(result.stdout):
            if row["kind"] != "curve" or row["scope"] != "head":
                continue
            head = row["dump"]["head"]
            density, recall = anchor_numpy.curve(q[head], k[head // (len(q) // len(k))], q.shape[2] ** -0.5, start, block, step, thetas)
            knob = np.array([float(x) for x in row["curve"]["knob"]])
            self.assertEqual(knob[0], -np.inf)
            for n, theta in enumerate(thetas):
                at = np.searchsorted(knob, theta, side="right") - 1
                self.assertAlmostEqual(row["curve"]["density"][at], density[n], delta=1e-4)
                self.assertAlmostEqual(row["curve"]["mass_recall"][at], recall[n], delta=1e-4)

    def test_theta_infinity_is_dense(self):
        path = self.dump(length=300)
        for row in rows(run("anchor-recall", path, "--theta=inf", "--block", 16, "--step", 2).stdout):
            self.assertEqual(row["density"], 1)
            self.assertEqual(row["params"]["theta"], "inf")
            self.assertAlmostEqual(row["mass_recall_min"], 1, delta=1e-5)
            self.assertLess(row["out_rel_l2"], 1e-5)
            self.assertEqual(row["output_recall_0.005"], 1)

    def test_the_reference_device_says_the_same(self):
        path = self.dump(length=200)
        arguments = ("anchor-recall", path, "--theta", 2, "--block", 16, "--step", 2)
        for fast, slow in zip(rows(run(*arguments).stdout), rows(run(*arguments, "--device", "reference").stdout)):
            self.assertEqual(slow["path"], "reference")
            self.assertNotEqual(fast["unit"], slow["unit"])
            for name in ("density", "mass_recall", "mass_recall_min", "out_rel_l2"):
                self.assertAlmostEqual(fast[name], slow[name], delta=1e-5)


if __name__ == "__main__":
    unittest.main()
