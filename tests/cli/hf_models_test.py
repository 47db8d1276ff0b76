"""data/hf_dump.py on tiny random models of every family: the attention recomputed from the dump is the model's own.

Needs torch and transformers, which ./dev does not install by itself; ANCHOR_HF_PYTHONS names interpreters that have them."""
import contextlib
import io
import json
import pathlib
import re
import shutil
import tempfile
import unittest

import hf_tiny

hf_tiny.run_under_all_pythons(__file__)

import numpy as np
import torch
import transformers

import hf_dump
from anchor_h5 import Dump

TOLERANCE = 2e-5


class Models(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_hf_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "d.h5"

    def check(self, name, tokens):
        kind, settings, options = hf_tiny.MODELS[name]
        if not hasattr(transformers, kind):
            print(f"{name}: not in transformers {transformers.__version__}")
            return
        model = hf_tiny.make_model(transformers, torch, getattr(transformers, kind)(**settings))
        model.save_pretrained(self.folder / "model")
        ids = torch.randint(3, 97, (tokens,)).tolist()
        (self.folder / "ids.txt").write_text(json.dumps(ids))
        said, wrong = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
            code = hf_dump.main(["--model", str(self.folder / "model"), "--input-ids", str(self.folder / "ids.txt"), "--dtype",
                                 "f32", "--out", str(self.out), *options])
        self.assertEqual((code, wrong.getvalue()), (0, ""), name)
        expected, perplexity = hf_tiny.attention_outputs(model, torch, ids)
        self.assertAlmostEqual(float(re.search(r"perplexity ([\d.]+)", said.getvalue())[1]) / perplexity, 1, delta=1e-3)
        with Dump(self.out) as dump:
            self.assertEqual(dump.layers, sorted(expected))
            for layer in dump.layers:
                own, ours = expected[layer], hf_tiny.recomputed(np, dump, layer)
                width = own.shape[1] // ours.shape[1]  # narrower than the dump's where values were filled up
                self.assertTrue((ours[..., width:] == 0).all())
                error = np.abs(ours[..., :width].reshape(own.shape) - own).max() / np.abs(own).max()
                self.assertLess(error, TOLERANCE, f"{name}, layer {layer}, {tokens} tokens")


def add(name):
    for tokens in (48, 300):
        setattr(Models, f"test_{re.sub(r'[^a-z0-9]+', '_', name.lower())}_{tokens}", lambda self: self.check(name, tokens))


for each in hf_tiny.MODELS:
    for tokens in (48, 300):
        def test(self, each=each, tokens=tokens):
            self.check(each, tokens)
        setattr(Models, f"test_{re.sub('[^a-z0-9]+', '_', each.lower())}_{tokens}", test)

if __name__ == "__main__":
    unittest.main()
