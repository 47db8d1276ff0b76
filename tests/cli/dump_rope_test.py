"""What a dump says of its rotation: good and bad values of rope_inv_freq and what belongs to it."""
import os
import tempfile
import unittest

import h5py
import numpy as np
from tools import run, write_dump


class Rope(unittest.TestCase):
    def inspect(self, frequencies, **attributes):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "d.h5")
            q = np.zeros((2, 5, 8), np.float32)
            write_dump(path, {0: (q, q[:1], q[:1], attributes)})
            with h5py.File(path, "a") as file:
                file["layers/000/rope_inv_freq"] = frequencies
            return run("anchor-dump", "inspect", path)

    def test_good(self):
        for frequencies in ([1, 0.5, 0.1, 0.01], [1]):
            result = self.inspect(np.array(frequencies, np.float32), rope_attention_factor=np.float64(1.5), rope_layout="half")
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_bad(self):
        good = np.ones(4, np.float32)
        for frequencies, attributes, message in [
            (np.ones(5, np.float32), {}, "rope_inv_freq has 5 frequencies for heads of 8"),
            (np.ones(0, np.float32), {}, "rope_inv_freq has 0 frequencies"),
            (np.array([1, np.nan], np.float32), {}, "rope_inv_freq holds nan"),
            (np.array([1, -1], np.float32), {}, "rope_inv_freq holds -1"),
            (np.ones((2, 2), np.float32), {}, "must be f32 with one axis"),
            (np.ones(4, np.int32), {}, "must be f32 with one axis"),
            (good, {"rope_layout": "interleaved"}, "rope_layout is"),
            (good, {"rope_attention_factor": np.float64(0)}, "rope_attention_factor is 0, it must be positive"),
        ]:
            with self.subTest(message=message):
                result = self.inspect(frequencies, **attributes)
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertIn(message, result.stderr)
                self.assertEqual(result.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
