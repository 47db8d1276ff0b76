"""anchor-sweep codebook, and what anchor-recall makes of its file."""
import os
import unittest

import h5py
import numpy as np

from tools import ToolTest, rows, run

DATA = os.path.join(os.path.dirname(__file__), "..", "..", "data")
SMOLLM2 = os.path.join(DATA, "smollm2.h5")
RECALL = ("anchor-recall", SMOLLM2, "--method", "a2ats", "--format", "jsonl")


class Codebook(ToolTest):
    def fit(self, name="c.h5", *more):
        path = self.path(name)
        return path, run("anchor-sweep", "codebook", "--fit", SMOLLM2, "--set", "codes=32", "--set", "init=stride", *more, "-o", path)

    def test_the_file_holds_what_its_page_says(self):
        path, result = self.fit()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, "")
        with h5py.File(path) as file:
            self.assertEqual((file.attrs["format"], file.attrs["codes"], file.attrs["b"], file.attrs["metric"], file.attrs["rope"]),
                             ("anchor-codebook", 32, 2048, "query", "windowed"))
            self.assertEqual(file.attrs["fitted_on"], "smollm2.h5")
            layer = file["layers/017"]
            self.assertEqual(layer["centroids"].shape, (1, 32, 64))
            self.assertEqual(layer["count"][:].sum(), 1024)
            factor = layer["factor"][0]
            self.assertEqual(factor.shape, (64, 64))
            self.assertTrue((np.triu(factor, 1) == 0).all())
            # Distances in factor^T k are those by which the file's own keys were counted.
            with h5py.File(SMOLLM2) as dump:
                raw = dump["layers/017/k"][0].astype(np.float64)
            angle = np.arange(1024)[:, None] * 1e5 ** (-np.arange(32) / 32)
            z = (raw[:, :32] + 1j * raw[:, 32:]) * np.exp(-1j * angle)
            keys = np.concatenate([z.real, z.imag], 1) @ factor
            centres = layer["centroids"][0] @ factor
            ids = ((keys[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
            moved = np.abs(np.bincount(ids, minlength=32) - layer["count"][0]).sum() / 2
            self.assertLessEqual(moved, 8)  # of 1,024 keys; angles are products in float there

    def test_threads_change_no_bit_and_recall_reads_the_file(self):
        first, _ = self.fit("one.h5", "--threads", 1)
        second, _ = self.fit("two.h5", "--threads", 3)
        with h5py.File(first) as a, h5py.File(second) as b:
            for name in ("centroids", "factor", "count"):
                self.assertTrue((a[f"layers/017/{name}"][:] == b[f"layers/017/{name}"][:]).all())
        result = run(*RECALL, "--set", f"codebook={first}", "--stats", "--heads", 1)
        self.assertEqual(result.returncode, 0, result.stderr)
        row, = rows(result.stdout)
        self.assertEqual(row["params"]["rank"], "vq")
        self.assertEqual(row["bits_per_key"], 5)
        self.assertGreater(row["topk_recall"], 0)
        self.assertLess(row["relative_mass"], 1)
        exact, = rows(run(*RECALL, "--set", "rank=exact", "--stats", "--heads", 1).stdout)
        self.assertEqual((exact["topk_recall"], exact["relative_mass"], exact["bits_per_key"]), (1, 1, 1024))

    def test_without_a_codebook_keys_are_ranked_themselves_and_the_row_says_so(self):
        row, = rows(run(*RECALL, "--heads", 0).stdout)
        self.assertEqual((row["status"], row["params"]["rank"], row["plan_path"]), ("ok", "keys", "cpu"))
        self.check_error(run(*RECALL, "--set", "rank=vq"), 2, "a2ats.rank = vq", "codebook=FILE")

    def test_what_makes_no_sense_is_one_line(self):
        self.check_error(self.fit("c.h5", "--set", "codes=300")[1], 2, "--set codes=300: codes is set twice")
        path = self.path("c.h5")
        codebook = ("anchor-sweep", "codebook", "--fit", SMOLLM2, "-o", path)
        self.check_error(run(*codebook, "--set", "codes=300"), 2, "1024 keys give 3.4 keys a code", "--force")
        self.check_error(run(*codebook, "--set", "metric=cosine"), 2, "metric")
        self.check_error(run(*codebook, "--set", "codes=16", "--set", "parts=5"), 2, "parts=5")
        self.check_error(run("anchor-sweep", "codebook", "--fit", self.dump(), "--set", "codes=16", "-o", path), 1,
                         "layers/000", "rope_inv_freq is missing")
        self.assertFalse(os.path.exists(path))
        other = os.path.join(DATA, "synthetic.h5")
        file, _ = self.fit()
        result = run("anchor-recall", other, "--method", "a2ats", "--set", f"codebook={file}")
        self.assertEqual(result.returncode, 1, result.stderr)  # every row is an error
        for row in rows(result.stdout):
            self.assertEqual(row["status"], "error")
            self.assertIn("the codebook has no layer", row["error"])


if __name__ == "__main__":
    unittest.main()
