"""data/score_output.py: another program's output, lse and plan get the numbers that anchor-recall gives the same attention."""
import json
import pathlib
import subprocess
import sys
import unittest

import h5py
import numpy as np

from anchor_h5 import Dump, float_to_bf16
from tools import ToolTest, heads, rows, run, write_dump

ROOT = pathlib.Path(__file__).parents[2]
SINK, LOCAL, TILE, BLOCK = 16, 32, 32, 16


def attention(q, k, v, scale, start, visible):
    """Output and lse of one head under a mask [rows, keys]; causality is added."""
    scores = scale * (q.astype(np.float64) @ k.T)
    scores[~visible | (np.arange(len(k)) > start + np.arange(len(q))[:, None])] = -np.inf
    top = scores.max(axis=1, keepdims=True)
    weights = np.exp(scores - top)
    total = weights.sum(axis=1, keepdims=True)
    return (weights / total) @ v, (top + np.log(total))[:, 0]


def save_safetensors(path, tensors):
    header, data = {"__metadata__": {"by": "test"}}, b""
    for name, (kind, values) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(len(text).to_bytes(8, "little") + text + data)


class Score(ToolTest):
    def script(self, *arguments, code=0):
        done = subprocess.run([sys.executable, ROOT / "data/score_output.py", *map(str, arguments)], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def scored(self, dump, output, *arguments):
        out = self.path("rows.jsonl")
        done = self.script(dump, output, "--out", out, *arguments)
        return done, rows(pathlib.Path(out).read_text())

    def kernel(self, path, mask):
        """What a kernel with that mask computes on every head: {layer: (out, lse)}."""
        made = {}
        with Dump(path) as dump:
            for number in dump.layers:
                layer = dump.layer(number)
                count, length, _ = layer["q"].shape
                share = count // layer["k"].shape[0]
                start = layer["k"].shape[1] - length
                distance = start + np.arange(length)[:, None] - np.arange(layer["k"].shape[1])
                seen = mask & (distance < (layer.attrs.get("sliding_window", 0) or layer["k"].shape[1]))
                results = [attention(dump.head(number, "q", h), dump.head(number, "k", h // share), dump.head(number, "v", h // share),
                                     layer.attrs["softmax_scale"], start, seen) for h in range(count)]
                made[number] = tuple(np.stack(part) for part in zip(*results))
        return made

    def test_agrees_with_anchor_recall(self):
        path, length, keys = self.path("d.h5"), 600, 650  # more than one chunk of rows, a text before the first query
        write_dump(path, {n: (*heads(n, 4, 2, length, keys, 32), {"sliding_window": np.int64(window)}) for n, window in ((0, 0), (3, 140))})
        position = keys - length + np.arange(length)[:, None]
        window = (np.arange(keys) < SINK) | (position - np.arange(keys) < LOCAL)
        made = self.kernel(path, window)
        save_safetensors(self.path("o.safetensors"), {
            f"layers.{n:03}.{name}": ("F32", part.astype(np.float32)) for n, both in made.items() for name, part in zip(("out", "lse"), both)})
        done, found = self.scored(path, self.path("o.safetensors"), "--name", "mine")
        self.assertEqual(done.stderr, "")
        self.assertIn("mine, mean over 8 heads", done.stdout)
        expected = rows(run("anchor-recall", path, "--method", "streaming", "--set", f"sink={SINK}", "--set", f"local={LOCAL}").stdout)
        self.assertEqual(len(found), len(expected))
        for a, b in zip(found, expected):
            self.assertEqual(a["dump"], b["dump"])
            self.assertEqual(a["geometry"] | {"dtype": 0}, b["geometry"] | {"dtype": 0})
            self.assertEqual((a["method"], a["path"], a["schema"]), ("mine", "external", b["schema"]))
            for field in ("mass_recall", "mass_recall_p05", "mass_recall_min", "out_rel_l2", "out_max_abs", "out_mean_abs"):
                self.assertAlmostEqual(a[field], b[field], delta=2e-5 * max(1, abs(b[field])), msg=field)
            for field in ("output_recall_0.01", "output_recall_0.005"):
                self.assertAlmostEqual(a[field], b[field], delta=2e-3)
            self.assertNotIn("density", a)  # nobody said what the kernel looked at

    def test_a_plan_alone_has_density_and_recall(self):
        path = self.dump(layers=1, length=250)
        kept = np.random.default_rng(1).random((4, -(-250 // TILE), -(-250 // BLOCK))) < 0.5
        kept[:, :, 0] = True
        with h5py.File(self.path("plan.h5"), "w") as file:
            file["layers/000/kept"] = kept.astype(np.uint8)
        done, found = self.scored(path, self.path("plan.h5"), "--tile", f"{TILE}x{BLOCK}")
        with Dump(path) as dump:
            for row in found:
                head = row["dump"]["head"]
                visible = np.repeat(np.repeat(kept[head], TILE, 0), BLOCK, 1)[:250, :250]
                q, k, v = dump.head(0, "q", head), dump.head(0, "k", head // 2), dump.head(0, "v", head // 2)
                scale = dump.layer(0).attrs["softmax_scale"]
                share = np.exp(attention(q, k, v, scale, 0, visible)[1] - attention(q, k, v, scale, 0, np.ones_like(visible))[1])
                self.assertAlmostEqual(row["mass_recall"], share.mean(), delta=1e-5)
                self.assertAlmostEqual(row["density"], np.tril(visible).sum() / (250 * 251 / 2), delta=1e-12)
                self.assertNotIn("out_rel_l2", row)

    def test_dense_output_of_the_model_itself_is_perfect(self):
        """The layout of a dump's own ref/out, in bf16 and in f32."""
        path = self.dump(layers=1, length=128)
        out, lse = self.kernel(path, np.ones((128, 128), bool))[0]
        with h5py.File(self.path("o.h5"), "w") as file:
            file["layers/000/ref/out"], file["layers/000/ref/lse"] = out, lse
        for row in self.scored(path, self.path("o.h5"))[1]:
            self.assertAlmostEqual(row["mass_recall_min"], 1, delta=1e-5)
            self.assertLess(row["out_rel_l2"], 1e-5)
        save_safetensors(self.path("b.safetensors"), {"layers.0.out": ("BF16", float_to_bf16(out))})
        for row in self.scored(path, self.path("b.safetensors"))[1]:
            self.assertTrue(1e-4 < row["out_rel_l2"] < 4e-3)  # half a unit in the last of 8 bits
            self.assertNotIn("mass_recall", row)

    def test_wrong_logarithms_and_unfollowed_plans_are_named(self):
        path = self.dump(layers=1, length=128)
        out, lse = self.kernel(path, np.ones((128, 128), bool))[0]
        save_safetensors(self.path("log2.safetensors"), {"layers.000.lse": ("F32", (lse / np.log(2)).astype(np.float32))})
        self.assertIn("natural log?", self.scored(path, self.path("log2.safetensors"))[0].stderr)
        kept = np.zeros((4, 4, 8), np.uint8)
        kept[:, :, 0] = 1
        save_safetensors(self.path("plan.safetensors"), {"layers.000.lse": ("F32", lse.astype(np.float32)), "layers.000.kept": ("U8", kept)})
        done, _ = self.scored(path, self.path("plan.safetensors"), "--tile", f"{TILE}x{BLOCK}")
        self.assertIn("did the kernel follow it?", done.stderr)

    def test_rows_go_into_a_report(self):
        path = self.dump(layers=1, length=128)
        out, lse = self.kernel(path, np.ones((128, 128), bool))[0]
        with h5py.File(self.path("o.h5"), "w") as file:
            file["layers/000/out"], file["layers/000/lse"] = out, lse
        self.scored(path, self.path("o.h5"), "--name", "my-kernel")
        result = run("anchor-report", self.path("rows.jsonl"), "--html", self.path("r.html"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("my-kernel", pathlib.Path(self.path("r.html")).read_text())

    def test_layers_that_are_not_dense_and_causal_are_refused(self):
        for attributes, words in (({"causal": np.uint8(0)}, "is not causal"),
                                  ({"rope_applied": np.uint8(0)}, "was taken before RoPE"), ({"softcap": 50.0}, "has a soft cap")):
            path = self.path("other.h5")
            write_dump(path, {0: (*heads(0, 2, 1, 64, 64, 16), attributes)})
            with h5py.File(self.path("o.h5"), "w") as file:
                file["layers/000/out"] = np.zeros((2, 64, 16))
            done = self.script(path, self.path("o.h5"), code=1)
            self.assertIn(f"layer 0 {words}", done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
            self.assertNotEqual(run("anchor-recall", path).returncode, 0)  # as the tools do

    def test_errors_are_one_line(self):
        path = self.dump(layers=1, length=128)
        cases = {"shape": (0, np.zeros((4, 127, 32))), "layer 7": (7, np.zeros((4, 128, 32)))}
        for word, (layer, values) in cases.items():
            with h5py.File(self.path("bad.h5"), "w") as file:
                file[f"layers/{layer:03}/out"] = values
            done = self.script(path, self.path("bad.h5"), code=1)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn("layer 7", done.stderr)
        with h5py.File(self.path("empty.h5"), "w"):
            pass
        self.assertIn("layers.000.out", self.script(path, self.path("empty.h5"), code=1).stderr)
        self.assertIn("nothing.h5", self.script(path, self.path("nothing.h5"), code=1).stderr)


if __name__ == "__main__":
    unittest.main()
