"""anchor-dump model on tiny files made here: every hyper-parameter key of a GGUF file is honoured, harmless or refused by name,
folders and split files are read whole, and whatever is wrong with a model is said in one line."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import numpy as np

import tiny_models as tiny
from anchor_h5 import Dump

TOOL = os.path.join(os.environ["ANCHOR_BIN"], "anchor-dump")
TEXT = "the thin hen in the inn then thinned the hinterland; " * 2
BASE = 10000.0
PLAIN = BASE ** (-2 * np.arange(tiny.DIM // 2) / tiny.DIM)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_files_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.text, self.out, self.weights = self.folder / "text.txt", self.folder / "d.h5", tiny.weights()
        self.text.write_text(TEXT)

    def run_tool(self, model, *arguments):
        command = [TOOL, "model", "--model", model, "--text", self.text, "--device", "cpu", "--dtype", "f32", *arguments]
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)

    def dump(self, model, *arguments):
        """{layer: {q, k, v}}, the ids, what was printed."""
        done = self.run_tool(model, "--out", self.out, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with Dump(self.out) as dump:
            heads = {layer: {part: dump.layer(layer)[part][:] for part in "qkv"} for layer in dump.layers}
            self.windows = [int(dump.layer(layer).attrs["sliding_window"]) for layer in dump.layers]
            return heads, dump.file["input_ids"][:].tolist(), done.stdout

    def refused(self, model, *words, code=1, arguments=()):
        done = self.run_tool(model, *arguments)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def gguf(self, keys=None, name="m.gguf", **more):
        return tiny.write_gguf(self.folder / name, self.weights, keys, **more)


def yarn(factor, original, fast=32.0, slow=1.0, extrapolation=1.0):
    """Frequencies by YaRN, arXiv 2309.00071, as github.com/ggml-org/llama.cpp ramps them."""
    pair = lambda turns: tiny.DIM * np.log(original / (turns * 2 * np.pi)) / (2 * np.log(BASE))
    low, high = max(np.floor(pair(fast)), 0), min(np.ceil(pair(slow)), tiny.DIM - 1)
    keep = (1 - np.clip((np.arange(tiny.DIM // 2) - low) / max(high - low, 0.001), 0, 1)) * extrapolation
    return PLAIN / factor * (1 - keep) + PLAIN * keep


class Keys(Case):
    def check(self, keys, inv_freq, factor=1.0):
        with self.subTest(keys):
            heads, ids, _ = self.dump(self.gguf(keys))
            wanted = tiny.first_queries(self.weights, ids, inv_freq, factor)
            self.assertLess(np.abs(heads[0]["q"] - wanted).max() / np.abs(wanted).max(), 1e-4)

    def test_rotary_keys_are_honoured(self):
        mscale = 0.1 * np.log(4) + 1
        base = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64}
        self.check({}, PLAIN)
        self.check({"rope.freq_base": None}, PLAIN)
        self.check({"rope.scaling.type": "linear", "rope.scaling.factor": 2.0}, PLAIN / 2)
        self.check({"rope.scaling.factor": 2.0}, PLAIN / 2)
        self.check({"rope.scale_linear": 2.0}, PLAIN / 2)
        self.check({"rope.scaling.type": "none", "rope.scaling.factor": 2.0}, PLAIN)
        self.check({"rope.scaling.type": "linear", "rope.scaling.factor": 2.0, "rope.scaling.attn_factor": 0.7}, PLAIN / 2, 0.7)
        self.check(base, yarn(4, 64), mscale)
        self.check(base | {"rope.scaling.attn_factor": 0.8}, yarn(4, 64), 0.8 * mscale)
        self.check(base | {"rope.scaling.yarn_log_multiplier": 1.0}, yarn(4, 64), 1.0)
        self.check(base | {"rope.scaling.yarn_log_multiplier": 0.5}, yarn(4, 64), mscale / (0.05 * np.log(4) + 1))
        self.check(base | {"rope.scaling.yarn_beta_fast": 2.0, "rope.scaling.yarn_beta_slow": 0.25}, yarn(4, 64, 2.0, 0.25), mscale)
        self.check(base | {"rope.scaling.yarn_ext_factor": 0.5}, yarn(4, 64, extrapolation=0.5), mscale)

    def test_harmless_keys_change_nothing(self):
        self.check({"rope.scaling.finetuned": True, "tensor_data_layout": "Meta AI original pth", "vocab_size": None}, PLAIN)

    def test_a_window_is_applied_and_recorded(self):
        whole, _, open_text = self.dump(self.gguf())
        self.assertEqual(self.windows, [0, 0])
        windowed, ids, text = self.dump(self.gguf({"attention.sliding_window": 5}))
        self.assertEqual(self.windows, [5, 5])
        np.testing.assert_array_equal(windowed[0]["q"], whole[0]["q"])
        # The first rows of the second layer have seen nothing less.
        np.testing.assert_allclose(windowed[1]["q"][:, :5], whole[1]["q"][:, :5], rtol=1e-4, atol=1e-5)
        self.assertGreater(np.abs(windowed[1]["q"][:, 5:] - whole[1]["q"][:, 5:]).max(), 0.05)
        self.assertNotEqual(text, open_text)

    def test_a_method_runs_within_a_window(self):
        path = self.gguf({"attention.sliding_window": 5})
        done = self.run_tool(path, "--method", "streaming", "--set", "sink=0", "--set", "local=5")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("streaming: density 1.0000", done.stdout)

    def test_unknown_keys_are_refused_by_name(self):
        for key, value in (("attention.max_alibi_bias", 8.0), ("attention.clamp_kqv", 8.0), ("rope.scaling.alpha", 2.0), ("swin_norm", True),
                           ("residual_scale", 0.5), ("attention.scale", 0.3), ("a_key_of_tomorrow", 1)):
            with self.subTest(key):
                self.refused(self.gguf({key: value}), f"'llama.{key}'", "data/hf_dump.py")
        self.refused(self.gguf({"attn_logit_softcapping": 30.0}), "soft caps")
        self.refused(self.gguf({"attention.causal": False}), "causal")
        self.refused(self.gguf({"expert_count": 4}), "experts")
        self.refused(self.gguf({"rope.scaling.type": "su"}), "rope scaling 'su'")
        self.refused(self.gguf({"rope.scaling.type": "yarn"}), "rope.scaling.factor")

    def test_unknown_architectures_are_refused_by_name(self):
        self.refused(self.gguf(arch="mamba"), "'mamba' is not supported, only llama, qwen2, qwen3, qwen3moe, gemma3, phi3, granite, smollm3")

    def test_experts_out_of_range(self):
        keys = {"expert_count": 4, "expert_feed_forward_length": 16}
        self.refused(self.gguf(keys | {"expert_used_count": 5}, arch="qwen3moe"), "'qwen3moe.expert_used_count' is 5, not in [1, 4]")
        self.refused(self.gguf(keys | {"expert_used_count": 2}, arch="qwen3moe"), "'blk.0.attn_q_norm.weight' is missing")

    def test_longer_than_the_context(self):
        self.text.write_text(TEXT * 4)
        self.refused(self.gguf(), "more than the model's context of 256", "--tokens", "--rope-scaling")

    def test_damaged_weights_are_named(self):
        for name, tensor in (("model.layers.1.self_attn.k_proj.weight", "blk.1.attn_k.weight"), ("model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"),
                             ("lm_head.weight", "output.weight"), ("model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight")):
            for value in (np.nan, np.inf):
                with self.subTest(name):
                    self.weights = tiny.weights()
                    self.weights[name].reshape(-1)[17] = value
                    self.refused(self.gguf(), f"tensor '{tensor}' holds NaN")
        self.weights = tiny.weights()
        self.weights["model.layers.1.mlp.up_proj.weight"] *= 1e30
        self.weights["model.layers.1.mlp.gate_proj.weight"] *= 1e30
        self.refused(self.gguf(), "layer 1", "overflow")


class Split(Case):
    def write(self, count=3, **wrong):
        tensors = list(tiny.gguf_tensors(self.weights).items())
        paths = []
        for n in range(count):
            part = dict(tensors[n::count])
            split = {"split.no": n, "split.count": count, "split.tensors.count": len(tensors), **wrong}
            keys = tiny.metadata() if n == 0 else {"general.architecture": "llama"}
            paths.append(self.folder / f"s-{n + 1:05}-of-{count:05}.gguf")
            paths[-1].write_bytes(tiny.gguf_bytes(part, {**keys, **split}))
        return paths

    def test_all_files_are_read_whichever_is_named(self):
        whole, _, said = self.dump(self.gguf())
        for path in self.write():
            heads, _, again = self.dump(path)
            for layer in whole:
                for part in "qkv":
                    np.testing.assert_array_equal(heads[layer][part], whole[layer][part])

    def test_what_is_wrong_with_one_is_said(self):
        paths = self.write()
        paths[2].rename(self.folder / "elsewhere")
        self.refused(paths[0], "s-00003-of-00003.gguf", "cannot be opened")
        paths = self.write()
        shutil.copy(paths[1], paths[2])
        self.refused(paths[0], "file 2 of its model, not file 3")
        paths = self.write()
        paths[0].rename(self.folder / "renamed.gguf")
        self.refused(paths[1], "s-00001-of-00003.gguf, the first file of its model, is missing")
        self.refused(self.folder / "renamed.gguf", "is one of 3 files", "-00001-of-00003.gguf")
        self.refused(self.write(**{"split.tensors.count": 99})[0], "99 of split.tensors.count")


class Folder(Case):
    def make(self, name="model", **settings):
        path = self.folder / name
        if path.exists():
            shutil.rmtree(path)
        return tiny.write_folder(path, **{"tensors": self.weights, **settings})

    def test_a_folder_is_the_gguf_file_of_the_same_weights(self):
        expected, ids, said = self.dump(self.gguf())
        for shards in (1, 3):
            heads, same_ids, same = self.dump(self.make(shards=shards))
            self.assertEqual(same_ids, ids)
            for layer in expected:
                for part in "qkv":
                    np.testing.assert_allclose(heads[layer][part], expected[layer][part], rtol=1e-4, atol=1e-5)
            with Dump(self.out) as dump:
                self.assertEqual(dump.attributes["model"], "model")
                self.assertEqual(json.loads(dump.attributes["config_json"])["model_type"], "llama")

    def test_a_method_runs_in_layers_with_and_without_a_window(self):
        for layer in range(tiny.LAYERS):
            for part, heads in (("q", tiny.HEADS), ("k", tiny.KV_HEADS), ("v", tiny.KV_HEADS)):
                self.weights[f"model.layers.{layer}.self_attn.{part}_proj.bias"] = np.full(heads * tiny.DIM, 0.1, np.float32)
        config = {**tiny.CONFIG, "model_type": "qwen2", "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
        path = self.make(config=config)
        self.dump(path)
        self.assertEqual(self.windows, [0, 5])
        done = self.run_tool(path, "--method", "streaming", "--set", "sink=1", "--set", "local=4")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("streaming: density 0.", done.stdout)

    def test_files_that_are_missing_or_wrong(self):
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            path = self.make()
            (path / name).unlink()
            self.refused(path, name)
        path = self.make(shards=3)
        (path / "model-00002-of-00003.safetensors").unlink()
        self.refused(path, "the shard model-00002-of-00003.safetensors is missing")
        path = self.make(shards=3)
        index = json.loads((path / "model.safetensors.index.json").read_text())
        index["weight_map"]["model.norm.weight"] = "../../etc/passwd"
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
        self.refused(path, "not a file of this folder")
        path = self.make()
        (path / "config.json").write_text("[1, 2")
        self.refused(path, "config.json", "not a JSON object")
        path = self.make()
        (path / "config.json").write_text('{"a":' + "[" * 100000 + "]" * 100000 + "}")
        self.refused(path, "nested more than 64 deep")
        path = self.make()
        (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:-100])
        self.refused(path, "model.safetensors")

    def test_tensors_that_are_missing_wrong_or_too_many(self):
        name = "model.layers.1.self_attn.v_proj.weight"
        for change, words in (
            (lambda w: w.pop(name), f"tensor '{name}' is missing"),
            (lambda w: w.__setitem__(name, w[name][:-1]), "has shape [32, 15"),
            (lambda w: w.__setitem__(name, w[name].astype(np.int32)), "stored as I32"),
            (lambda w: w.__setitem__("model.layers.0.self_attn.q_norm.weight", np.ones(8, np.float32)), "q_norm.weight' is not part"),
            (lambda w: w[name].__setitem__((3, 3), np.nan), f"'{name}' holds NaN"),
        ):
            self.weights = tiny.weights()
            change(self.weights)
            with self.subTest(words):
                self.refused(self.make(), words)

    def test_configurations(self):
        for change, words in (
            (dict(model_type="mamba"), "model type 'mamba' is not supported"),
            (dict(model_type=None), "'model_type' is missing"),
            (dict(num_hidden_layers=None), "'num_hidden_layers' is missing"),
            (dict(rms_norm_eps=None), "'rms_norm_eps' is missing"),
            (dict(hidden_size="32"), "'hidden_size' is \"32\", not an integer"),
            (dict(hidden_size=-32), "'hidden_size' is -32"),
            (dict(num_attention_heads=5), "does not divide into 5 heads"),
            (dict(num_key_value_heads=3), "cannot share 3 KV heads"),
            (dict(hidden_act="relu"), "activation 'relu'"),
            (dict(alibi=True), "'alibi' is not known"),
            (dict(quantization_config=dict(bits=4)), "quantised weights"),
            (dict(rope_scaling=dict(rope_type="spiral", factor=2.0)), "rope type 'spiral'"),
            (dict(rope_scaling=dict(rope_type="linear")), "'factor' is missing"),
            (dict(rope_scaling=dict(rope_type="linear", factor=0.0)), "factor 0 is impossible"),
            (dict(rope_scaling=dict(rope_type="linear", factor=2.0, twist=1)), "'twist' is not known"),
            (dict(rope_scaling=dict(rope_type="longrope", short_factor=[1.0], long_factor=[1.0, 1.0, 1.0, 1.0])), "1 factors for 4"),
            (dict(partial_rotary_factor=2), "'partial_rotary_factor' is 2"),
            (dict(vocab_size=300), "expected [32, 300]"),
            (dict(model_type="qwen2"), "q_proj.bias' is missing"),
            (dict(model_type="qwen3_moe", num_experts=4, num_experts_per_tok=5, moe_intermediate_size=8), "5 of 4 experts"),
        ):
            with self.subTest(change):
                config = {key: value for key, value in {**tiny.CONFIG, **change}.items() if value is not None}
                self.refused(self.make(config=config), words)

    def test_tokenizers(self):
        model = tiny.TOKENIZER["model"]
        for change, words in (
            (dict(model=dict(type="Unigram", vocab=[["a", 0.0]])), "type 'Unigram' is not supported"),
            (dict(model=dict(type="WordPiece", vocab={})), "type 'WordPiece'"),
            (dict(normalizer=dict(type="BertNormalizer")), "normalizer 'BertNormalizer'"),
            (dict(pre_tokenizer=dict(type="UnicodeScripts")), "pre-tokenizer 'UnicodeScripts'"),
            (dict(pre_tokenizer=dict(type="Split", pattern=dict(Regex="(a"), behavior="Isolated", invert=False)), "does not compile"),
            (dict(model=dict(model, merges=["t q"])), "does not join two tokens"),
            (dict(model=dict(model, merges=[1])), "does not join two tokens"),
            (dict(model=dict(model, dropout=0.5)), "'dropout'"),
            (dict(model=dict(model, vocab=dict(model["vocab"], z2=-1))), "the id of token 'z2'"),
            (dict(model=dict(model, vocab=dict(model["vocab"], zz=100000))), "embeddings for 260 only"),
            (dict(added_tokens=[dict(id="a", content="x")]), "the id of token 'x'"),
            (dict(added_tokens=[3]), "'content' is missing"),
            (dict(post_processor=dict(type="TemplateProcessing", single=[dict(SpecialToken=dict(id="<s>"))], special_tokens={})), "'ids' is missing"),
            (dict(model=None), "'model' is missing"),
        ):
            with self.subTest(change):
                self.refused(self.make(tokenizer={**tiny.TOKENIZER, **change}), words)


if __name__ == "__main__":
    unittest.main()
