"""The options of data/hf_dump.py on tiny random models, and that it agrees with anchor-dump model.

Needs torch and transformers, which ./dev does not install by itself; ANCHOR_HF_PYTHONS names interpreters that have them."""
import json
import os
import subprocess
import sys
import unittest
from unittest import mock

import hf_tiny

hf_tiny.run_under_all_pythons(__file__)

import numpy as np
import transformers

from anchor_h5 import Dump, Writer
from hf_case import TOKENS, HfCase

GOLDEN = hf_tiny.ROOT / "tests/golden"


class Options(HfCase):
    def test_as_a_program(self):
        self.save()
        command = [sys.executable, hf_tiny.ROOT / "data/hf_dump.py", "--model", self.model, "--input-ids", self.ids(), "--out", self.out]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("3 layers, 60 tokens, perplexity", done.stdout)
        done = subprocess.run([*command, "--layers", "9"], capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stdout, len(done.stderr.splitlines())), (1, "", 1))

    def test_chosen_layers_and_tokens(self):
        self.save("Qwen2Config")
        self.assertIn("2 layers, 50 tokens", self.dump("--layers", "0,2", "--tokens", "50"))
        with Dump(self.out) as dump:
            self.assertEqual(dump.layers, [0, 2])
            self.assertEqual(dump.layer(0)["q"].shape, (4, 50, 8))
            self.assertEqual(dump.layer(0)["k"].shape, (2, 50, 8))
            self.assertEqual(json.loads(dump.attributes["config_json"])["num_key_value_heads"], 2)
            self.assertNotIn(str(self.folder), dump.attributes["config_json"])

    def test_stored_types(self):
        self.save()
        self.dump("--dtype", "f32")
        with Dump(self.out) as dump:
            exact = dump.head(1, "k", 1)
        for dtype, error in (("bf16", 2**-8), ("f16", 2**-11)):
            self.dump("--dtype", dtype)
            with Dump(self.out) as dump:
                np.testing.assert_allclose(dump.head(1, "k", 1), exact, rtol=error, atol=1e-6)

    def test_windows_longer_than_the_text_are_none(self):
        self.save("MistralConfig", sliding_window=TOKENS)
        self.dump()
        with Dump(self.out) as dump:
            self.assertEqual(dump.layer(2).attrs["sliding_window"], 0)

    def test_long_texts_see_the_window_beyond_the_prefix(self):
        self.save("MistralConfig", sliding_window=270)
        self.dump(ids=self.ids(300))
        with Dump(self.out) as dump:
            self.assertEqual(dump.layer(2).attrs["sliding_window"], 270)

    def test_output_projections(self):
        model = self.save()
        self.dump("--o-proj", "--dtype", "f32")
        with Dump(self.out) as dump:
            self.assertTrue(np.array_equal(dump.layer(1)["o_proj"][:], model.model.layers[1].self_attn.o_proj.weight.detach().numpy()))
        model = self.save(transformers.GPT2Config(**hf_tiny.GPT2))
        self.dump("--o-proj", "--dtype", "f32")
        with Dump(self.out) as dump:  # GPT-2 keeps it the other way round
            self.assertTrue(np.array_equal(dump.layer(1)["o_proj"][:], model.transformer.h[1].attn.c_proj.weight.detach().numpy().T))

    def test_ids_from_a_dump_and_from_lists(self):
        self.save()
        self.dump()
        for name, text in (("a.txt", "5 6 7\n8"), ("b.txt", "[5, 6,7, 8]")):
            (self.folder / name).write_text(text)
            self.dump(ids=self.folder / name, out=self.folder / "e.h5")
            with Dump(self.folder / "e.h5") as dump:
                self.assertEqual(dump.file["input_ids"][:].tolist(), [5, 6, 7, 8])
        self.dump(ids=self.out, out=self.folder / "e.h5")
        with Dump(self.out) as a, Dump(self.folder / "e.h5") as b:
            self.assertTrue(np.array_equal(a.file["input_ids"][:], b.file["input_ids"][:]))
            self.assertTrue(np.array_equal(a.layer(2)["q"][:], b.layer(2)["q"][:]))

    @unittest.skipUnless(hf_tiny.has("accelerate"), "no accelerate")
    def test_device_map(self):
        self.save()
        self.dump("--compute", "float32")
        self.dump("--compute", "float32", "--device-map", "auto", out=self.folder / "e.h5")
        with Dump(self.out) as a, Dump(self.folder / "e.h5") as b:
            np.testing.assert_allclose(a.head(2, "v", 1), b.head(2, "v", 1), rtol=1e-2, atol=1e-3)

    def test_code_that_comes_with_the_model(self):
        self.save()
        settings = json.loads((self.model / "config.json").read_text())
        settings.update(architectures=["Mine"], model_type="mine", auto_map={"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.Mine"})
        (self.model / "config.json").write_text(json.dumps(settings))
        (self.model / "mine.py").write_text(
            "from transformers import LlamaConfig, LlamaForCausalLM\n\n\nclass MineConfig(LlamaConfig):\n    model_type = 'mine'\n\n\n"
            "class Mine(LlamaForCausalLM):\n    config_class = MineConfig\n")
        self.refused(words=("--trust-remote-code",))
        with mock.patch.dict(os.environ, HF_MODULES_CACHE=str(self.folder / "modules")):
            self.dump("--trust-remote-code")


class Texts(HfCase):
    def setUp(self):
        super().setUp()
        from tokenizers import Tokenizer, models, pre_tokenizers

        self.save()
        for folder, first in ((self.model, 3), (self.folder / "other", 40)):
            ids = {f"word{number}": number for number in range(1, 97) if not first <= number < first + 3}
            ids.update({"<unk>": 0, "cat": first, "mat": first + 1, "sat": first + 2})
            words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
            words.pre_tokenizer = pre_tokenizers.Whitespace()
            transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
        self.texts = [self.folder / "one.txt", self.folder / "two.md"]
        for text, words in zip(self.texts, ("cat sat mat " * 9, "mat mat dog " * 5)):
            text.write_text(words)

    def tokens(self, name):
        with Dump(self.folder / name) as dump:
            return dump.file["input_ids"][:].tolist(), dump.attributes["prompt_source"]

    def test_several_texts_make_a_dump_each(self):
        code, said, wrong = self.run_dump("--model", self.model, "--text", self.texts[0], "--text", self.texts[1],
                                          out=self.folder / "{}.h5")
        self.assertEqual((code, wrong, len(said.splitlines())), (0, "", 2))
        self.assertEqual(self.tokens("one.h5"), ([3, 5, 4] * 9, str(self.texts[0])))
        self.assertEqual(self.tokens("two.h5"), ([4, 4, 0] * 5, str(self.texts[1])))

    def test_another_tokenizer(self):
        code, _, wrong = self.run_dump("--model", self.model, "--text", self.texts[0], "--tokenizer", self.folder / "other")
        self.assertEqual((code, wrong), (0, ""))
        self.assertEqual(self.tokens("d.h5")[0], [40, 42, 41] * 9)

    def test_no_tokenizer(self):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (self.model / name).unlink()
        code, said, wrong = self.run_dump("--model", self.model, "--text", self.texts[0])
        self.assertEqual((code, said, len(wrong.splitlines())), (1, "", 1))
        self.assertIn("--tokenizer", wrong)


class Resume(HfCase):
    """A run that ends after two of three layers."""

    def setUp(self):
        super().setUp()
        self.save("GptOssConfig" if hasattr(transformers, "GptOssConfig") else "LlamaConfig", std=0.2)
        self.dump("--o-proj", out=self.folder / "whole.h5")

    def interrupt(self, error=KeyboardInterrupt):
        layer = Writer.layer

        def dies(writer, number, *rest, **more):
            if number == 2:
                raise error
            layer(writer, number, *rest, **more)

        with mock.patch.object(Writer, "layer", dies):
            return self.run_dump("--model", self.model, "--input-ids", self.ids(), "--o-proj")

    def test_goes_on_with_the_layers_that_are_there(self):
        self.assertEqual(self.interrupt()[0], 130)
        self.assertFalse(self.out.exists())
        self.assertIn("3 layers (2 kept), 60 tokens", self.dump("--o-proj", "--resume"))
        self.assert_same_dump(self.out, self.folder / "whole.h5")
        self.assertIn("complete already", self.dump("--o-proj", "--resume"))

    def test_begins_anew_without_it(self):
        self.interrupt()
        self.assertNotIn("kept", self.dump("--o-proj"))
        self.assert_same_dump(self.out, self.folder / "whole.h5")

    def test_begins_where_nothing_is(self):
        self.assertNotIn("kept", self.dump("--o-proj", "--resume"))

    def test_refuses_what_another_request_left(self):
        for prepare in (self.interrupt, lambda: self.dump("--o-proj")):
            prepare()
            for other in ([], ["--o-proj", "--dtype", "f32"], ["--o-proj", "--tokens", "50"], ["--o-proj", "--layers", "0,1"],
                          ["--o-proj", "--compute", "bfloat16", "--no-self-check"]):
                self.refused(*other, "--resume", words=("another run",))
            self.refused("--o-proj", "--resume", ids=self.ids(seed=1), words=("another run",))
            self.out.unlink(missing_ok=True)
        self.save("GptOssConfig" if hasattr(transformers, "GptOssConfig") else "LlamaConfig", std=0.1)
        self.interrupt()
        self.save("GptOssConfig" if hasattr(transformers, "GptOssConfig") else "LlamaConfig", std=0.2)
        self.refused("--o-proj", "--resume", words=("another run", "history"))  # other weights

    def test_an_error_before_the_first_layer_leaves_nothing(self):
        with mock.patch.object(Writer, "layer", side_effect=OSError("disk full")):
            self.refused("--o-proj", words=("disk full",))

    def test_two_writers_of_one_dump(self):
        with Writer(self.out, model="other", seq_len=4):
            self.refused("--o-proj", words=("being written by another program",))


@unittest.skipUnless(hf_tiny.has("gguf") and hf_tiny.has("accelerate"), "no gguf or accelerate")
@unittest.skipUnless("ANCHOR_BIN" in os.environ, "no anchor-dump: ANCHOR_BIN is not set")
class SameModel(HfCase):
    def setUp(self):
        super().setUp()
        self.text, self.ours = self.folder / "text.txt", self.folder / "ours.h5"
        self.text.write_text("the cat sat on the other mat; " * 30)
        subprocess.run([os.path.join(os.environ["ANCHOR_BIN"], "anchor-dump"), "model", "--model", GOLDEN / "tiny_llama.gguf",
                        "--text", self.text, "--dtype", "f32", "--out", self.ours], check=True, capture_output=True)

    def test_agrees_with_anchor_dump(self):
        code, _, wrong = self.run_dump("--model", GOLDEN, "--gguf", "tiny_llama.gguf", "--input-ids", self.ours, "--dtype", "f32")
        self.assertEqual(code, 0, wrong)
        with Dump(self.ours) as a, Dump(self.out) as b:
            self.assertEqual(a.layers, b.layers)
            for layer in a.layers:
                for part in "qkv":
                    x, y = a.layer(layer)[part][:], b.layer(layer)[part][:]
                    self.assertLess(np.abs(x - y).max(), 2e-3 * np.abs(y).max())
        verified = subprocess.run([os.path.join(os.environ["ANCHOR_BIN"], "anchor-dump"), "verify", self.out], capture_output=True, text=True)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)

    def test_warns_of_other_words(self):
        code, _, wrong = self.run_dump("--model", GOLDEN, "--gguf", "tiny_llama.gguf", "--text", self.text)
        if code:  # some versions make no tokenizer of it
            self.assertIn("--tokenizer", wrong)
            self.assertIn("--input-ids", wrong)
            return
        self.assertIn('drops the pre-tokenizer "smollm"', wrong)

    def test_begins_as_the_file_says(self):
        import hf_tokens

        settings = hf_tokens.GgufSettings(str(GOLDEN), "tiny_llama.gguf")
        self.assertEqual(settings.values, {"model": "gpt2", "pre": "smollm", "add_bos_token": True, "bos_token_id": 0})
        tokenizer = mock.Mock(bos_token_id=0)
        with mock.patch("hf_tokens.warn") as warn:
            self.assertEqual(settings.with_its_bos([5, 6], tokenizer), [0, 5, 6])
            self.assertEqual(warn.call_count, 1)
            self.assertEqual(settings.with_its_bos([0, 5], tokenizer), [0, 5])
            self.assertEqual(warn.call_count, 1)
            settings.values["add_bos_token"] = False
            self.assertEqual(settings.with_its_bos([0, 5], tokenizer), [5])
            self.assertEqual(warn.call_count, 2)


if __name__ == "__main__":
    unittest.main()
