"""configs/models/random_model.py: a folder that anchor-dump model runs, and the rotation that its dump holds."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np
from tools import run

ROOT = pathlib.Path(__file__).resolve().parents[2]


def write(folder, *arguments):
    return subprocess.run([sys.executable, ROOT / "configs/models/random_model.py", "--out", folder, *map(str, arguments)],
                          capture_output=True, text=True)


class RandomModel(unittest.TestCase):
    def test_it_runs_and_its_dump_says_how_heads_were_turned(self):
        with tempfile.TemporaryDirectory() as folder:
            model, text, dump = (os.path.join(folder, name) for name in ("model", "text.txt", "d.h5"))
            self.assertEqual(write(model, "--shape", "tiny", "--layers", 3).returncode, 0)
            with open(text, "w") as file:
                file.write("A byte is a token, so that three hundred bytes are three hundred tokens. " * 4)
            result = run("anchor-dump", "model", "--model", model, "--text", text, "--tokens", 200, "--device", "cpu", "-o", dump, "-q")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("3 of 3 layers", result.stdout)
            self.assertIn("200 tokens", result.stdout)
            self.assertLess(float(re.search("perplexity ([0-9.]+)", result.stdout)[1]), 1e4)
            with h5py.File(dump) as file:
                self.assertEqual(file.attrs["format_version"], "1.1")
                for layer in file["layers"].values():
                    np.testing.assert_allclose(layer["rope_inv_freq"][:], 10000.0 ** (-np.arange(32) / 32), rtol=1e-6)
                    self.assertEqual(layer["rope_inv_freq"].dtype, np.float32)
                    self.assertEqual((layer.attrs["rope_attention_factor"], layer.attrs["rope_layout"]), (1, "half"))

    def test_equal_seeds_give_equal_weights_and_nothing_is_written_over(self):
        with tempfile.TemporaryDirectory() as folder:
            contents = []
            for name, seed in (("a", 1), ("b", 1), ("c", 2)):
                self.assertEqual(write(os.path.join(folder, name), "--shape", "tiny", "--seed", seed).returncode, 0)
                contents.append((pathlib.Path(folder) / name / "model.safetensors").read_bytes())
            self.assertEqual(contents[0], contents[1])
            self.assertNotEqual(contents[0], contents[2])
            again = write(os.path.join(folder, "a"), "--shape", "tiny")
            self.assertEqual(again.returncode, 2)
            self.assertIn("is there already", again.stderr)


if __name__ == "__main__":
    unittest.main()
