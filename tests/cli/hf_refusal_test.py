"""What data/hf_dump.py cannot dump it refuses in one line, before the work and without leaving a file."""
import unittest
from unittest import mock

import hf_tiny

hf_tiny.run_under_all_pythons(__file__)

import torch
import transformers

import hf_attention
from hf_case import HfCase


class Refusals(HfCase):
    def test_longer_than_the_context(self):
        self.save(max_position_embeddings=40)
        self.refused(words=("60 tokens", "context of 40", "--tokens"))

    def test_no_such_layer(self):
        self.save()
        self.refused("--layers", "1-3", words=("layers 0-2", "no layer 3"))

    def test_ids_of_another_model(self):
        self.save(vocab_size=90)
        self.refused(words=("not one of the model's 90",))

    def test_no_such_model_or_folder(self):
        self.refused(words=("model",))
        self.save()
        code, said, wrong = self.run_dump("--model", self.model, "--input-ids", self.ids(), out=self.folder / "no" / "d.h5")
        self.assertEqual((code, said), (1, ""))
        self.assertIn("there is no folder", wrong)

    def test_alibi(self):
        config = transformers.FalconConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True)
        self.save(config)
        self.refused(words=("layer 0", "ALiBi"))

    def test_chunked_attention(self):
        if not hasattr(transformers, "AttentionMaskInterface"):
            self.skipTest("Llama4 does not run without a cache before transformers 4.53")
        self.save("Llama4TextConfig", num_hidden_layers=4, head_dim=8, attention_chunk_size=16, num_local_experts=2,
                  interleave_moe_layer_step=2, intermediate_size_mlp=48)
        self.refused(words=("layer 0", "chunks"))
        self.dump("--layers", "3")  # this layer sees all

    def test_hybrid_models_name_the_layers_that_can_be_dumped(self):
        if not hasattr(transformers, "Qwen3NextConfig"):
            self.skipTest("no Qwen3-Next")
        self.save("Qwen3NextConfig", **hf_tiny.HYBRID)
        self.refused(words=("layer 0", "linear_attention", "--layers 3"))
        self.refused("--layers", "2,3", words=("layer 2", "--layers 3"))
        with mock.patch("hf_model.refuse_by_config"):  # found by the trial, too, where the configuration does not tell
            self.refused(words=("layer 0", "--layers 3"))

    def test_without_attention(self):
        self.save(transformers.MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2))
        self.refused(words=("softmax attention",))

    def test_two_widths(self):
        self.save("DeepseekV3Config", **hf_tiny.MLA)
        self.refused(words=("24 numbers", "12", "--pad-values"))
        with mock.patch("hf_model.refuse_by_config"):
            self.refused(words=("24 numbers", "12", "--pad-values"))

    def test_not_a_number(self):
        model = self.save()
        with torch.no_grad():
            model.model.layers[1].self_attn.k_proj.weight[3, 4] = float("nan")
        model.save_pretrained(self.model)
        self.refused(words=("layer 1", "k is not finite"))

    def test_too_large_for_f16(self):
        model = self.save()
        with torch.no_grad():
            model.model.layers[1].self_attn.v_proj.weight.mul_(1e5)
        model.save_pretrained(self.model)
        self.refused("--dtype", "f16", words=("layer 1, v[", "overflows f16", "take bf16"))

    def test_wrong_files_of_ids(self):
        self.save()
        for text, word in (("12 cats", "nor a list"), ("[]", "no tokens")):
            (self.folder / "wrong.txt").write_text(text)
            self.refused(ids=self.folder / "wrong.txt", words=("wrong.txt", word))

    def test_wrong_usage(self):
        self.save()
        for arguments, word in ((["--text", "a", "--text", "b"], "{}"), (["--text", "a/x", "--text", "b/x"], "{}"),
                                (["--text", "a", "--input-ids", "b"], "not allowed"), ([], "required"),
                                (["--text", "a", "--tokens", "0"], "--tokens"), (["--text", "a", "--layers", "x"], "--layers")):
            code, said, wrong = self.run_dump("--model", self.model, *arguments)
            self.assertEqual((code, said), (2, ""))
            self.assertIn(word, wrong)
        code, _, wrong = self.run_dump("--model", self.model, "--text", "a/x", "--text", "b/x", out=self.folder / "{}.h5")
        self.assertEqual(code, 2)
        self.assertIn("same name", wrong)

    def test_the_output_is_an_input(self):
        self.save()
        self.dump()
        before = self.out.read_bytes()
        code, _, wrong = self.run_dump("--model", self.model, "--input-ids", self.out)
        self.assertEqual(code, 2)
        self.assertIn("one of the inputs", wrong)
        self.assertEqual(self.out.read_bytes(), before)


class SelfCheck(HfCase):
    def test_another_attention_than_the_models_own_is_found(self):
        self.save()
        attend = hf_attention.attend

        def sharper(given):
            given.scale *= 1.1
            return attend(given)

        with mock.patch("hf_attention.attend", sharper):
            self.refused(words=("self-check", "--no-self-check"))
            self.dump("--no-self-check")

    def test_holds_in_narrow_types(self):
        for kind, settings in (("LlamaConfig", {}), ("Qwen3MoeConfig", hf_tiny.MOE), ("Gemma2Config", hf_tiny.GEMMA)):
            self.save(kind, std=0.1, **settings)
            for compute in ("bfloat16", "float16"):
                self.dump("--compute", compute)


if __name__ == "__main__":
    unittest.main()
