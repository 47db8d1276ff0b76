"""data/hf_dump.py on tiny random models of every family: the attention recomputed from the dump is the model's own, and
windows, soft caps, sinks, gates and rotary frequencies are those of its configuration.

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

TOLERANCE = 2e-5  # of the largest output


class Models(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_hf_"))
        self.addCleanup(shutil.rmtree, self.folder)

    def dump(self, model, tokens, options):
        """(the dump, its perplexity)."""
        out, said, wrong = self.folder / f"{tokens}.h5", io.StringIO(), io.StringIO()
        (self.folder / "ids.txt").write_text(json.dumps(tokens_of(tokens)))
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
            code = hf_dump.main(["--model", str(model), "--input-ids", str(self.folder / "ids.txt"), "--dtype", "f32",
                                 "--out", str(out), *options])
        self.assertEqual((code, wrong.getvalue()), (0, ""))
        return out, float(re.search(r"perplexity ([\d.]+)", said.getvalue())[1])

    def check(self, name):
        kind, settings, options = hf_tiny.MODELS[name]
        if not hasattr(transformers, kind):
            print(f"{name}: not in transformers {transformers.__version__}")
            return
        model = hf_tiny.make_model(transformers, torch, getattr(transformers, kind)(**settings))
        model.save_pretrained(self.folder / "model")
        for tokens in (48, 300):  # less and more than the prefix that is tried first
            out, perplexity = self.dump(self.folder / "model", tokens, options)
            expected, own = hf_tiny.attention_outputs(model, torch, tokens_of(tokens))
            self.assertAlmostEqual(perplexity / own, 1, delta=1e-3)
            with Dump(out) as dump:
                self.assertEqual(dump.layers, sorted(expected))
                for layer in dump.layers:
                    self.check_attention(expected[layer], hf_tiny.recomputed(np, dump, layer), f"layer {layer}, {tokens} tokens")
                self.check_recorded(dump, **hf_tiny.RECORDED.get(name, {}))

    def check_attention(self, own, ours, where):
        width = own.shape[1] // ours.shape[1]  # narrower than the dump's where values were filled up
        self.assertTrue((ours[..., width:] == 0).all())
        error = np.abs(ours[..., :width].reshape(own.shape) - own).max() / np.abs(own).max()
        self.assertLess(error, TOLERANCE, where)

    def check_recorded(self, dump, windows=None, rope=None, softcap=None, sinks=False, gate=None, kv_heads=None):
        layers = [dump.layer(layer) for layer in dump.layers]
        if windows:
            self.assertEqual([layer.attrs["sliding_window"] for layer in layers], windows)
        for layer, wanted in zip(layers, rope or []):
            self.assertEqual("rope_inv_freq" in layer, wanted is not None)
            if wanted:
                theta, rotated = wanted
                frequencies = theta ** (-np.arange(0, rotated, 2) / rotated)
                np.testing.assert_allclose(layer["rope_inv_freq"][:], frequencies, rtol=1e-6)
                self.assertEqual(layer.attrs["rope_attention_factor"], 1.0)
        for layer in layers:
            self.assertEqual(layer.attrs.get("softcap"), softcap)
            self.assertEqual("sink_logits" in layer, sinks)
            self.assertEqual("gate" in layer, gate is not None)
            if gate:
                self.assertEqual((len(layer["gate"]), layer["gate"].shape[2]), gate)
            if kv_heads:
                self.assertEqual(len(layer["k"]), kv_heads)
        added = any(set(layer) - {"q", "k", "v"} or "softcap" in layer.attrs for layer in layers)
        self.assertEqual(dump.attributes["format_version"], "1.1" if added else "1.0")


def tokens_of(count):
    return np.random.default_rng(count).integers(3, 97, count).tolist()


def add_test(name):
    setattr(Models, "test_" + re.sub("[^a-z0-9]+", "_", name.lower()), lambda self: self.check(name))


for each in hf_tiny.MODELS:
    add_test(each)

if __name__ == "__main__":
    unittest.main()
