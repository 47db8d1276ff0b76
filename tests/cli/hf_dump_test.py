"""data/hf_dump.py on tiny random models: causality is kept, and it agrees with anchor-dump model.

Needs torch and transformers: `./dev test --hf` installs them and runs this with their Python (ANCHOR_HF_PYTHON). Without
them the test says so and is skipped."""
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

chosen = os.environ.get("ANCHOR_HF_PYTHON")
if chosen and chosen != sys.executable:
    os.execv(chosen, [chosen, *sys.argv])
missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
if missing and chosen:
    sys.exit(f"{chosen} has no {' and no '.join(missing)}")
if missing:
    print("skipped: no", " and no ".join(missing), "(./dev test --hf installs them)")
    sys.exit(0)

import h5py
import numpy as np
import torch
import transformers

from anchor_h5 import Dump

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
SIZES = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, head_dim=8, max_position_embeddings=64)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_hf_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "d.h5"

    def run_script(self, *arguments, code=0):
        done = subprocess.run([sys.executable, ROOT / "data/hf_dump.py", *map(str, arguments), "--out", self.out],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def dump(self, config, *arguments, code=0):
        """Dumps a random model over 50 tokens; returns the output and the model's own perplexity (eager attention)."""
        torch.manual_seed(1)
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(self.folder / "model")
        ids = torch.randint(0, config.vocab_size, (1, 50))
        with h5py.File(self.folder / "ids.h5", "w") as file:
            file["input_ids"] = ids[0].numpy().astype("<i4")
        output = self.run_script("--model", self.folder / "model", "--input-ids", self.folder / "ids.h5", *arguments, code=code)
        with torch.no_grad():
            return output, model(ids, labels=ids).loss.exp().item()

    def check_perplexity(self, output, expected):
        self.assertAlmostEqual(float(re.search(r"perplexity ([\d.]+)", output)[1]) / expected, 1, delta=1e-3)


class Models(Case):
    def test_llama(self):
        output, expected = self.dump(transformers.LlamaConfig(**SIZES))
        self.check_perplexity(output, expected)
        with Dump(self.out) as dump:
            self.assertEqual(dump.layers, [0, 1, 2])
            self.assertEqual(dump.layer(0)["q"].shape, (4, 50, 8))
            self.assertEqual(dump.layer(0)["k"].shape, (2, 50, 8))
            self.assertAlmostEqual(dump.layer(0).attrs["softmax_scale"], 8**-0.5)
            self.assertEqual(json.loads(dump.attributes["config_json"])["num_key_value_heads"], 2)

    def test_sliding_window(self):
        for window, recorded in ((7, 7), (50, 0)):
            output, expected = self.dump(transformers.MistralConfig(**SIZES, sliding_window=window))
            self.check_perplexity(output, expected)
            with Dump(self.out) as dump:
                self.assertEqual(dump.layer(2).attrs["sliding_window"], recorded)

    def test_chosen_layers(self):
        output, expected = self.dump(transformers.Qwen2Config(**SIZES), "--layers", "0,2")
        self.check_perplexity(output, expected)
        with Dump(self.out) as dump:
            self.assertEqual(dump.layers, [0, 2])

    def test_what_a_dump_cannot_express_is_refused(self):
        for config, words in ((transformers.Gemma2Config(**SIZES, attn_logit_softcapping=30.0), "softcap"),
                              (transformers.LlamaConfig(**{**SIZES, "max_position_embeddings": 40}), "context of 40")):
            message, _ = self.dump(config, code=1)
            self.assertIn(words, message)
            self.assertFalse(self.out.exists())
        self.assertIn("no layer 3", self.dump(transformers.LlamaConfig(**SIZES), "--layers", "1-3", code=1)[0])


@unittest.skipUnless(chosen or importlib.util.find_spec("gguf") and importlib.util.find_spec("accelerate"), "no gguf or accelerate")
class SameModel(Case):
    def test_agrees_with_anchor_dump(self):
        text, ours = self.folder / "text.txt", self.folder / "ours.h5"
        text.write_text("the cat sat on the other mat; " * 30)
        subprocess.run([os.path.join(os.environ["ANCHOR_BIN"], "anchor-dump"), "model", "--model", GOLDEN / "tiny_llama.gguf",
                        "--text", text, "--dtype", "f32", "--out", ours], check=True, capture_output=True)
        self.run_script("--model", GOLDEN, "--gguf", "tiny_llama.gguf", "--input-ids", ours, "--dtype", "f32")
        with Dump(ours) as a, Dump(self.out) as b:
            self.assertEqual(a.layers, b.layers)
            for layer in a.layers:
                for part in "qkv":
                    x, y = a.layer(layer)[part][:], b.layer(layer)[part][:]
                    self.assertLess(np.abs(x - y).max(), 2e-3 * np.abs(y).max())


if __name__ == "__main__":
    unittest.main()
