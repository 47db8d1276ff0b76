"""anchor-dump model on the tiny committed model: what lands in the file, bad input, interruption and resume."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import numpy as np

from anchor_h5 import Dump

TOOL = os.path.join(os.environ["ANCHOR_BIN"], "anchor-dump")
GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
TINY = GOLDEN / "tiny_llama.gguf"
WORDS = "the cat sat on the other mat and then 12 hens went there; "


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_model_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "d.h5"

    def text(self, content):
        path = self.folder / "text.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def command(self, *arguments, text=WORDS * 8, model=TINY, out=None):
        text = text if isinstance(text, pathlib.Path) else self.text(text)
        return [TOOL, "model", "--model", model, "--text", text, "--out", out or self.out, *map(str, arguments)]

    def dump(self, *arguments, code=0, **inputs):
        """Runs the tool; returns its stdout, or on an error its one line of stderr."""
        done = subprocess.run(self.command(*arguments, **inputs), capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.notes = done.stderr
        if code == 0:
            return done.stdout
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertFalse(self.out.exists())
        return done.stderr


class Content(Case):
    def test_matches_transformers(self):
        golden = json.loads((GOLDEN / "tiny_llama.json").read_text())
        stdout = self.dump("--dtype", "f32", "--tokens", len(golden["input_ids"]), text=golden["text"])
        self.assertIn(f"perplexity {np.exp(golden['mean_nll']):.2f}", stdout)
        with Dump(self.out) as dump:
            self.assertEqual(dump.file["input_ids"][:].tolist(), golden["input_ids"])
            for layer in golden["layers"]:
                for part in layer["slices"]:
                    if part["tensor"] == "out":
                        continue
                    rows = dump.head(layer["layer"], part["tensor"], part["head"])[golden["positions"]]
                    expected = np.reshape(part["values"], rows.shape)
                    self.assertLess(np.abs(rows - expected).max(), 2e-3 * np.abs(expected).max())

    def test_attributes(self):
        self.dump("--tokens", 100)
        with Dump(self.out) as dump:
            attributes = dump.attributes
            self.assertEqual(attributes["complete"], 1)
            self.assertEqual(attributes["model"], "tiny_llama")
            self.assertEqual(attributes["tokenizer"], "gpt2/smollm")
            self.assertEqual(attributes["seq_len"], 100)
            self.assertEqual(json.loads(attributes["config_json"])["num_key_value_heads"], 2)
            self.assertEqual(json.loads(attributes["rope_json"]), {"rope_theta": 10000.0, "rope_type": "default"})
            self.assertEqual(dump.layers, [0, 1, 2])
            self.assertEqual(dump.layer(1)["q"].shape, (4, 100, 16))
            self.assertEqual(dump.layer(1)["v"].shape, (2, 100, 16))
            self.assertEqual(dump.layer(1).attrs["softmax_scale"], 0.25)

    def test_stored_types_differ_by_rounding_only(self):
        heads = {}
        for dtype in ("f32", "f16", "bf16"):
            self.dump("--dtype", dtype)
            with Dump(self.out) as dump:
                heads[dtype] = dump.head(2, "q", 3)
        for dtype, rounding in (("f16", 2**-11), ("bf16", 2**-8)):
            error = np.abs(heads[dtype] - heads["f32"]) / np.abs(heads["f32"])
            self.assertLessEqual(error.max(), 1.001 * rounding)
            self.assertGreater(error.max(), rounding / 4)

    def test_chosen_layers_hold_the_same_as_all(self):
        self.dump("--layers", "2,0")
        with Dump(self.out) as dump:
            self.assertEqual(dump.layers, [0, 2])
            some = dump.head(2, "k", 1)
        self.dump()
        with Dump(self.out) as dump:
            np.testing.assert_array_equal(dump.head(2, "k", 1), some)

    def test_reference_is_the_attention_of_the_dumped_heads(self):
        self.dump("--reference", "--dtype", "f32", "--tokens", 60)
        with Dump(self.out) as dump:
            q, k, v = (dump.head(1, part, head).astype(float) for part, head in (("q", 3), ("k", 1), ("v", 1)))
            scores = np.where(np.tri(60, dtype=bool), q @ k.T * 0.25, -np.inf)
            lse = np.logaddexp.reduce(scores, axis=1)
            np.testing.assert_allclose(dump.layer(1)["ref/lse"][3], lse, atol=1e-5)
            np.testing.assert_allclose(dump.layer(1)["ref/out"][3], np.exp(scores - lse[:, None]) @ v, atol=1e-5)

    def test_any_method_in_the_loop(self):
        perplexities = {}
        for name, arguments in (("dense", ()), ("full", ("--method", "anchor", "--block", 16, "--step", 1, "--theta", "inf")),
                                ("region", ("--method", "anchor", "--block", 16, "--step", 1, "--theta=-inf")),
                                ("topk", ("--method", "topk", "--set", "k=3"))):
            stdout = self.dump(*arguments)
            perplexities[name] = float(stdout.split("perplexity ")[1].split(",")[0])
            if arguments:
                self.assertRegex(stdout, r"(anchor|topk): density [01]\.[0-9]+, work density")
        self.assertAlmostEqual(perplexities["full"], perplexities["dense"], delta=2e-3 * perplexities["dense"])
        self.assertNotEqual(perplexities["topk"], perplexities["dense"])
        self.assertNotEqual(perplexities["region"], perplexities["dense"])

    def test_thresholds_from_a_sweep_in_the_loop_without_a_dump(self):
        self.dump()
        thresholds = self.folder / "t.json"
        sweep = [TOOL.replace("anchor-dump", "anchor-sweep"), self.out, "--block", "16", "--step", "1", "--target-recall", "0.9", "--thresholds-out", thresholds]
        swept = subprocess.run(sweep, capture_output=True, text=True)
        self.assertEqual(swept.returncode, 0, swept.stderr)
        rows = [json.loads(line) for line in swept.stdout.splitlines()]
        expected = np.mean([r["density"] for r in rows if r["scope"] == "head"])
        command = self.command("--thresholds", thresholds)
        del command[command.index("--out"):command.index("--out") + 2]
        self.out.unlink()
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse(self.out.exists())
        density = float(done.stdout.split("density ")[1].split(",")[0])
        self.assertAlmostEqual(density, expected, delta=0.02)  # later layers see other inputs than in the dump
        self.assertIn("contradicts", self.dump("--thresholds", thresholds, "--step", 2, code=2))
        self.assertIn("one method", self.dump("--method", "dense,topk", code=2))

    def test_text_shorter_than_tokens(self):
        self.dump("--tokens", "4k", text="the cat")
        self.assertIn("fewer than the 4096 asked for", self.notes)
        with Dump(self.out) as dump:
            self.assertEqual(dump.attributes["seq_len"], len(dump.file["input_ids"]))

    def test_a_single_token(self):
        self.assertIn("perplexity undefined", self.dump("--tokens", 1))
        with Dump(self.out) as dump:
            self.assertEqual(dump.layer(0)["q"].shape, (4, 1, 16))

    def test_invalid_utf8_is_read_as_replacement_characters(self):
        self.dump(text=b"a\xff\xfe b")
        self.assertIn("2 ill-formed UTF-8 sequences", self.notes)
        with Dump(self.out) as dump:
            bad = dump.file["input_ids"][:].tolist()
        self.dump(text="a\ufffd\ufffd b")
        self.assertEqual(self.notes, "")
        with Dump(self.out) as dump:
            self.assertEqual(dump.file["input_ids"][:].tolist(), bad)

    def test_rope_scaling_is_recorded(self):
        self.dump("--rope-scaling", "yarn:2", text=WORDS * 35)
        with Dump(self.out) as dump:
            self.assertGreater(dump.attributes["seq_len"], 512)
            rope = json.loads(dump.attributes["rope_json"])
            self.assertEqual((rope["rope_type"], rope["factor"]), ("yarn", 2.0))


class BadInput(Case):
    def test_inputs_that_cannot_be_used(self):
        noise = self.folder / "noise.gguf"
        noise.write_bytes(b"GGUF" + bytes(range(256)))
        cut = self.folder / "cut.gguf"
        cut.write_bytes(TINY.read_bytes()[:100_000])
        other = self.folder / "other.gguf"
        other.write_bytes(TINY.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0gemma", 1))
        for words, inputs, arguments in (
            ("the text is empty", dict(text=""), []),
            ("cannot be read", dict(text=self.folder / "absent.txt"), []),
            ("cannot be read", dict(text=self.folder), []),
            ("cannot be opened", dict(model=self.folder / "absent.gguf"), []),
            ("has no config.json", dict(model=self.folder), []),
            ("GGUF version", dict(model=noise), []),
            ("past the end of the file", dict(model=cut), []),
            ("'gemma' is not supported", dict(model=other), []),
            ("more than the model's context of 512", dict(text=WORDS * 35), []),
            ("context of 1024 that rope scaling linear:2", dict(text=WORDS * 80), ["--rope-scaling", "linear:2"]),
            ("has layers 0-2, no layer 3", {}, ["--layers", "0-3"]),
            ("cannot write", dict(out=self.folder / "absent" / "d.h5"), []),
        ):
            with self.subTest(words):
                message = self.dump(*arguments, code=1, **inputs)
                self.assertIn(words, message)

    def test_flags_that_make_no_sense(self):
        for arguments in (["--rope-scaling", "ntk:2"], ["--rope-scaling", "linear:0"], ["--dtype", "f8"], ["--tokens", "0"],
                          ["--tokens", "-5"], ["--tokens", "many"], ["--layers", "x"], ["--layers", "-1"], ["--threads", "0"]):
            with self.subTest(arguments):
                self.dump(*arguments, code=2)

    def test_nothing_is_left_under_the_final_name(self):
        self.dump("--layers", "9", code=1)
        self.assertEqual(sorted(os.listdir(self.folder)), ["text.txt"])


class Interruption(Case):
    LONG = ["--tokens", "12k", "--rope-scaling", "dynamic:1"]

    def stop(self, stop_signal):
        """Ends the tool once its first layer is in the .part file; returns its exit code."""
        tool = subprocess.Popen(self.command(*self.LONG, text=WORDS * 800), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        part = pathlib.Path(f"{self.out}.part")
        layer_bytes = 12 * 1024 * (4 + 2 + 2) * 16 * 2
        while tool.poll() is None and (not part.exists() or part.stat().st_blocks * 512 < layer_bytes):
            time.sleep(0.01)
        tool.send_signal(stop_signal)
        code = tool.wait(60)
        self.assertFalse(self.out.exists())
        self.assertTrue(part.exists())
        return code

    def check_resume(self):
        self.dump(*self.LONG, "--resume", text=WORDS * 800)
        whole = self.folder / "whole.h5"
        self.dump(*self.LONG, text=WORDS * 800, out=whole)
        with Dump(self.out) as resumed, Dump(whole) as expected:
            self.assertEqual(resumed.layers, expected.layers)
            for layer in expected.layers:
                for part in "qkv":
                    np.testing.assert_array_equal(resumed.head(layer, part, 1), expected.head(layer, part, 1))

    def test_killed_then_resumed(self):
        self.assertEqual(self.stop(signal.SIGKILL), -signal.SIGKILL)
        self.check_resume()

    def test_interrupted_then_resumed(self):
        self.assertEqual(self.stop(signal.SIGINT), 130)
        self.check_resume()
        self.dump(*self.LONG, "--resume", text=WORDS * 800)
        self.assertIn("nothing to resume", self.notes)

    def test_another_text_cannot_be_resumed(self):
        self.stop(signal.SIGINT)
        message = self.dump(*self.LONG, "--resume", code=1, text="mat " + WORDS * 800)
        self.assertIn("cannot be resumed", message)


if __name__ == "__main__":
    unittest.main()
