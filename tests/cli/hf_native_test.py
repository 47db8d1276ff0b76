"""anchor-dump model on tiny random models of every architecture it knows, as a Hugging Face folder and as a GGUF file: ids,
queries, keys, values, attention outputs and logits are those of transformers in float32.

Needs torch, transformers, tokenizers and gguf; ANCHOR_HF_PYTHONS names interpreters that have them (./dev test --hf)."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import hf_tiny

hf_tiny.run_under_all_pythons(__file__)

import numpy as np
import torch
import transformers

transformers.utils.logging.disable_progress_bar()

import hf_gguf
from anchor_h5 import Dump

TOLERANCE = 2e-4  # of the largest value
TOOL, PROBE = (os.path.join(os.environ["ANCHOR_BIN"], name) for name in ("anchor-dump", "model_probe"))
TEXT = "the thin hen in the inn then thinned the hinterland; 12 other hens went in there too, and the cat sat on the mat. " * 3
VOCABULARY = 280

SIZES = dict(hf_tiny.SIZES, vocab_size=VOCABULARY, pad_token_id=None)
GEMMA = dict(SIZES, num_hidden_layers=7, head_dim=16, sliding_window=9)
LLAMA3 = dict(rope_type="llama3", rope_theta=1e4, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
LONGROPE = dict(type="longrope", short_factor=[1.0, 1.1, 1.3, 2.0], long_factor=[1.0, 2.0, 4.5, 7.0])
MOE = dict(hf_tiny.MOE, head_dim=16)

# name: (configuration class, settings, architecture of the GGUF file or None, windows of the layers)
FAMILIES = {
    "Llama": ("LlamaConfig", dict(SIZES, head_dim=16), "llama", [0] * 3),
    "Llama, tied": ("LlamaConfig", dict(SIZES, tie_word_embeddings=True), "llama", [0] * 3),
    "Llama with biases": ("LlamaConfig", dict(SIZES, attention_bias=True, mlp_bias=True), "llama", [0] * 3),
    "Llama 3.1": ("LlamaConfig", dict(SIZES, rope_scaling=LLAMA3), "llama", [0] * 3),
    "Llama with linear scaling": ("LlamaConfig", dict(SIZES, rope_scaling=dict(rope_type="linear", factor=3.0)), "llama", [0] * 3),
    "Llama with YaRN": ("LlamaConfig", dict(SIZES, rope_scaling=hf_tiny.YARN), "llama", [0] * 3),
    "Mistral": ("MistralConfig", dict(SIZES, sliding_window=7), "llama", [7] * 3),
    "Mistral without window": ("MistralConfig", dict(SIZES, sliding_window=None), "llama", [0] * 3),
    "Qwen2": ("Qwen2Config", SIZES, "qwen2", [0] * 3),
    "Qwen2 with windows": ("Qwen2Config", dict(SIZES, use_sliding_window=True, sliding_window=11, max_window_layers=1), None, [0, 11, 11]),
    "Qwen3": ("Qwen3Config", dict(SIZES, head_dim=16), "qwen3", [0] * 3),
    "Qwen3-MoE": ("Qwen3MoeConfig", dict(SIZES, **MOE), "qwen3moe", [0] * 3),
    "Qwen3-MoE, some layers dense": ("Qwen3MoeConfig", dict(SIZES, **dict(MOE, norm_topk_prob=False), mlp_only_layers=[1]), None, [0] * 3),
    "Gemma 3": ("Gemma3TextConfig", dict(GEMMA, query_pre_attn_scalar=16), "gemma3", [9] * 5 + [0, 9]),
    "Gemma 3 with another scale": ("Gemma3TextConfig", dict(GEMMA, query_pre_attn_scalar=24), None, [9] * 5 + [0, 9]),
    "Phi-3": ("Phi3Config", dict(SIZES, sliding_window=None), "phi3", [0] * 3),
    "Phi-3 with window": ("Phi3Config", dict(SIZES, sliding_window=13), "phi3", [13] * 3),
    "Phi-3 with LongRoPE": ("Phi3Config", dict(SIZES, sliding_window=None, rope_scaling=LONGROPE,
                                               original_max_position_embeddings=64), "phi3", [0] * 3),
    "Granite": ("GraniteConfig", dict(SIZES, attention_multiplier=0.2, embedding_multiplier=3.0, residual_multiplier=0.4,
                                      logits_scaling=2.0), "granite", [0] * 3),
    "SmolLM3": ("SmolLM3Config", dict(SIZES, num_hidden_layers=5), "smollm3", [0] * 5),
}
# What a version of transformers does otherwise, or lacks.
WRONG_THERE = {"4.51.3": ["Qwen2 with windows"]}  # one mask for all layers


def byte_level_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - 4, special_tokens=["<unk>", "<s>", "</s>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    return tokenizer


class Recorded:
    """Queries, keys, values [heads, tokens, dim] of every layer, while a model of transformers runs."""

    def __init__(self, model):
        self.module, self.layers = sys.modules[type(model).__module__], {}
        self.own = self.module.eager_attention_forward

    def __enter__(self):
        def record(module, query, key, value, *rest, **settings):
            self.layers[module.layer_idx] = [x[0].double().numpy() for x in (query, key, value)]
            return self.own(module, query, key, value, *rest, **settings)

        self.module.eager_attention_forward = record
        return self

    def __exit__(self, *_):
        self.module.eager_attention_forward = self.own


def expected(model, ids):
    """(q, k, v and attention output per layer, logits)."""
    with Recorded(model) as recorded:
        outputs, _ = hf_tiny.attention_outputs(model, torch, ids)
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0].double().numpy()
    for layer, (q, _, _) in recorded.layers.items():
        out = outputs[layer].reshape(len(ids), q.shape[0], q.shape[2]).transpose(1, 0, 2)
        recorded.layers[layer].append(out)
    return recorded.layers, logits


class Native(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_native_"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "text.txt").write_text(TEXT)

    def run_tool(self, *command):
        done = subprocess.run([str(word) for word in command], capture_output=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout

    def close(self, got, wanted, what):
        self.assertEqual(got.shape, wanted.shape, what)
        self.assertTrue(np.isfinite(got).all(), what)
        self.assertLess(np.abs(got - wanted).max() / np.abs(wanted).max(), TOLERANCE, what)

    def compare(self, path, model, ids, windows):
        out = self.folder / "d.h5"
        said = self.run_tool(TOOL, "model", "--model", path, "--text", self.folder / "text.txt", "--tokens", len(ids), "--dtype", "f32",
                             "--reference", "--device", "cpu", "--out", out).decode()
        layers, logits = expected(model, ids)
        with Dump(out) as dump:
            self.assertEqual(dump.file["input_ids"][:].tolist(), ids)
            self.assertEqual(dump.layers, sorted(layers))
            self.assertEqual([dump.layer(layer).attrs["sliding_window"] for layer in dump.layers], windows)
            for layer in dump.layers:
                stored = dump.layer(layer)
                for name, wanted in zip(("q", "k", "v", "ref/out"), layers[layer]):
                    self.close(stored[name][:].astype(np.float64), wanted, f"{path.name}, {len(ids)} tokens, layer {layer}, {name}")
        (self.folder / "ids.txt").write_text(" ".join(map(str, ids)))
        got = np.frombuffer(self.run_tool(PROBE, "logits", path, self.folder / "ids.txt"), np.float32).reshape(logits.shape)
        self.close(got.astype(np.float64), logits, f"{path.name}, {len(ids)} tokens, logits")
        own = torch.nn.functional.cross_entropy(torch.tensor(logits[:-1]), torch.tensor(ids[1:])).exp().item()
        self.assertAlmostEqual(float(re.search(r"perplexity ([\d.]+)", said)[1]) / own, 1, delta=1e-3)

    def check(self, name):
        kind, settings, arch, windows = FAMILIES[name]
        if not hasattr(transformers, kind) or name in WRONG_THERE.get(transformers.__version__, []):
            print(f"{name}: not in transformers {transformers.__version__}")
            return
        model = hf_tiny.make_model(transformers, torch, getattr(transformers, kind)(**settings), std=0.2)
        tokenizer = byte_level_tokenizer()
        ids = tokenizer.encode(TEXT).ids
        saved = self.folder / "model"
        model.save_pretrained(saved, max_shard_size="40KB" if "tied" not in name else "5GB")
        tokenizer.save(str(saved / "tokenizer.json"))
        for tokens in (40, 150):  # less and more than the original context of the scaled ones
            self.compare(saved, model, ids[:tokens], windows)
        if arch:
            path = hf_gguf.write(self.folder / "model.gguf", arch, model, tokenizer)
            for tokens in (40, 150):
                self.compare(path, model, ids[:tokens], windows)

    def test_half_precision_and_one_file(self):
        for dtype in (torch.float16, torch.bfloat16):
            model = hf_tiny.make_model(transformers, torch, transformers.LlamaConfig(**SIZES), std=0.2).to(dtype)
            saved = self.folder / str(dtype)
            model.save_pretrained(saved)
            tokenizer = byte_level_tokenizer()
            tokenizer.save(str(saved / "tokenizer.json"))
            model = transformers.LlamaForCausalLM.from_pretrained(saved, torch_dtype=torch.float32, attn_implementation="eager")
            self.compare(saved, model, tokenizer.encode(TEXT).ids[:70], [0] * 3)

    def test_the_text_part_of_a_model_of_images(self):
        from safetensors.torch import load_file, save_file

        model = hf_tiny.make_model(transformers, torch, transformers.Gemma3TextConfig(**GEMMA, query_pre_attn_scalar=16), std=0.2)
        saved, tokenizer = self.folder / "model", byte_level_tokenizer()
        model.save_pretrained(saved)
        tokenizer.save(str(saved / "tokenizer.json"))
        tensors = load_file(saved / "model.safetensors")
        config = json.loads((saved / "config.json").read_text())
        (saved / "config.json").write_text(json.dumps(dict(model_type="gemma3", text_config=config, vision_config=dict(hidden_size=8))))
        for prefix in ("language_model.model.", "model.language_model."):  # until 4.51, and since
            renamed = {name.replace("model.", prefix, 1): value for name, value in tensors.items()}
            save_file({**renamed, "vision_tower.embeddings.weight": torch.ones(3, 3)}, saved / "model.safetensors")
            self.compare(saved, model, tokenizer.encode(TEXT).ids[:60], [9] * 5 + [0, 9])

    def test_split_gguf(self):
        model = hf_tiny.make_model(transformers, torch, transformers.LlamaConfig(**SIZES), std=0.2)
        tokenizer = byte_level_tokenizer()
        hf_gguf.write(self.folder / "split.gguf", "llama", model, tokenizer, split_max_tensors=10)
        parts = sorted(self.folder.glob("split-*.gguf"))
        self.assertEqual([part.name for part in parts], [f"split-{n:05}-of-00003.gguf" for n in (1, 2, 3)])
        for part in (parts[0], parts[2]):
            self.compare(part, model, tokenizer.encode(TEXT).ids[:70], [0] * 3)


def add_test(name):
    setattr(Native, "test_" + re.sub("[^a-z0-9]+", "_", name.lower()), lambda self: self.check(name))


for each in FAMILIES:
    add_test(each)

if __name__ == "__main__":
    unittest.main()
