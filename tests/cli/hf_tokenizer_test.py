"""The ids of a folder's tokenizer.json are those of the tokenizers library: small tokenizers in the styles of the model
families, on texts chosen to be unpleasant.

Needs the venvs of ./dev test --hf (torch and transformers bring tokenizers); ANCHOR_HF_PYTHONS names interpreters."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import hf_tiny

hf_tiny.run_under_all_pythons(__file__)

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "golden"))
from make_tokenizer_golden import LLAMA3, QWEN2, TEXTS, decoded

PROBE = os.path.join(os.environ["ANCHOR_BIN"], "model_probe")
LICENSE = (pathlib.Path(__file__).parents[2] / "LICENSE").read_text()
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def byte_level(regex=False, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def sequence(*steps):
    return pre_tokenizers.Sequence(list(steps))


SPACES = normalizers.Replace(" ", "\u2581")

# name: (normalizer, pre-tokenizer, options of the model, token put in front)
STYLES = {
    "Llama 3": (None, sequence(split(LLAMA3), byte_level()), dict(ignore_merges=True), "<s>"),
    "Qwen2": (normalizers.NFC(), sequence(split(QWEN2), byte_level()), {}, None),
    "SmolLM": (None, sequence(pre_tokenizers.Digits(individual_digits=True), byte_level(regex=True)), {}, None),
    "GPT-2 with a space in front": (None, byte_level(regex=True, prefix=True), {}, None),
    "Phi-4 mini": (None, sequence(split(O200K), byte_level()), {}, None),
    "Gemma": (SPACES, pre_tokenizers.Split(" ", "merged_with_previous"), dict(byte_fallback=True, fuse_unk=True), "<s>"),
    "Mistral, Phi-3, Llama 2": (normalizers.Sequence([normalizers.Prepend("\u2581"), SPACES]), None,
                                dict(byte_fallback=True, fuse_unk=True), "<s>"),
    "Metaspace once": (None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), dict(byte_fallback=True), "<s>"),
    "Metaspace always": (normalizers.NFKC(), pre_tokenizers.Metaspace(prepend_scheme="always", split=True), {}, None),
    "unknown characters fused": (normalizers.NFD(), split(r"\s+", "removed"), dict(fuse_unk=True), None),
    "unknown characters one by one": (normalizers.NFKD(), split(r"\w+", "merged_with_next", True), {}, None),
    "numbers in runs": (None, sequence(pre_tokenizers.Digits(individual_digits=False), split(r"[,.]", "contiguous")), {}, None),
}

ADDED = [AddedToken("<|im_start|>", special=True, normalized=False), AddedToken("<|im_end|>", special=True, normalized=False),
         AddedToken("<|im_start|>user", special=True, normalized=False), AddedToken("  ", special=False, normalized=False),
         AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True, normalized=False),
         AddedToken("hen", single_word=True, normalized=False), AddedToken("caf\u00e9", normalized=True)]
MORE = [" <left>  <right> \n hen hens when hen.\u00e9hen <|im_start|>user<|im_start|>  x", "<right>\u3000\t<left><left> y", "   ", "\u2581 \u2581\u2581a",
        "cafe\u0301 caf\u00e9s", "\ufb01 \u00bd \u212b \u1e9b\u0323 \uac00\u11a8 \u0958", "\U0001d400 \U0001f600\U0001f3fd", "'LL it'S I'M \u017f's"]


def make(normalizer, pre_tokenizer, options, front):
    words = dict(options)
    if not isinstance(pre_tokenizer, (pre_tokenizers.ByteLevel, pre_tokenizers.Sequence)) or "Digits" in str(pre_tokenizer):
        words.setdefault("unk_token", "<unk>")
    tokenizer = Tokenizer(models.BPE(**words))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    bytewise = '"ByteLevel"' in tokenizer.to_str()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if bytewise else []
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=alphabet, show_progress=False)
    corpus = [line for line in LICENSE.splitlines()] + [decoded(text) for text in TEXTS[:14]]
    tokenizer.train_from_iterator(corpus, trainer)
    if options.get("byte_fallback"):
        saved, first = json.loads(tokenizer.to_str()), tokenizer.get_vocab_size()
        saved["model"]["vocab"].update({f"<0x{byte:02X}>": first + byte for byte in range(256)})
        tokenizer = Tokenizer.from_str(json.dumps(saved))
    tokenizer.add_tokens(ADDED)
    if front:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{front} $A </s>", special_tokens=[(front, 1), ("</s>", 2)])
    return tokenizer.to_str(), bool(front)


class Ids(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_tokenizer_"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "config.json").write_text("{}")
        save_file({"x": np.zeros(1, np.float32)}, str(self.folder / "model.safetensors"))

    def texts(self):
        rng = random.Random(3)
        chosen = [decoded(text) for text in TEXTS] + MORE
        pool = "".join(chosen) + "<left> <right>  hen \n\t'"
        return chosen + ["".join(rng.choice(pool) for _ in range(rng.randrange(1, 60))) for _ in range(150)] + [LICENSE]

    def check(self, style):
        text, framed = make(*STYLES[style])
        (self.folder / "tokenizer.json").write_text(text)
        tokenizer = Tokenizer.from_str(text)
        paths = []
        for i, each in enumerate(self.texts()):
            paths.append(self.folder / f"{i}.txt")
            paths[-1].write_bytes(each.encode())
        done = subprocess.run([PROBE, "ids", self.folder, *paths], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        for each, line in zip(self.texts(), done.stdout.split("\n")):
            wanted = tokenizer.encode(each).ids
            self.assertEqual([int(word) for word in line.split()], wanted[:-1] if framed else wanted, repr(each))


for number, name in enumerate(STYLES):
    setattr(Ids, f"test_{number}_" + "".join(c if c.isalnum() else "_" for c in name.lower()), lambda self, style=name: self.check(style))

if __name__ == "__main__":
    unittest.main()
