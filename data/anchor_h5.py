"""Reads and writes dumps of queries, keys and values with h5py and numpy (README.md describes the file).

    with Dump("d.h5") as dump:
        q = dump.head(layer=3, part="q", head=5)                  # float32 [tokens, dim]
    with Writer("d.h5", model="mine", seq_len=4096) as writer:   # streamed: one layer in memory
        writer.layer(0, q, k, v, softmax_scale=0.125)             # float arrays [heads, tokens, dim]
"""
import datetime
import os

import h5py
import numpy as np


def bf16_to_float(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float_to_bf16(values):
    """Rounds to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def bf16_type():
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    return kind


class Dump:
    def __init__(self, path):
        self.file = h5py.File(path, "r")
        self.attributes = dict(self.file.attrs)
        if self.attributes.get("format") != "anchor-qkv" or not self.attributes.get("complete"):
            raise ValueError(f"{path} is not a complete anchor-qkv dump")
        self.layers = sorted(int(name) for name in self.file["layers"])

    def layer(self, layer):
        return self.file[f"layers/{layer:03}"]

    def head(self, layer, part, head):
        """Raw bytes in, converted by numpy: asking h5py for float32 is 150 times slower for bf16."""
        data = self.layer(layer)[part]
        kind = data.id.get_type()
        stored = data.dtype if kind.get_size() == 4 or kind == h5py.h5t.IEEE_F16LE else np.uint16
        raw = np.empty((1, *data.shape[1:]), stored)
        space = data.id.get_space()
        space.select_hyperslab((head, *[0] * (data.ndim - 1)), raw.shape)
        data.id.read(h5py.h5s.create_simple(raw.shape), space, raw, kind)
        return bf16_to_float(raw[0]) if stored == np.uint16 else raw[0].astype(np.float32)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


class Writer:
    def __init__(self, path, model, seq_len, dtype="bf16", input_ids=None, tool="anchor_h5.py", tool_version="1", **attributes):
        self.path, self.dtype = path, dtype
        self.file = h5py.File(f"{path}.part", "w", libver="earliest")
        self.file.attrs.update(
            format="anchor-qkv", format_version="1.0", model=model, seq_len=np.int64(seq_len), tool=tool,
            tool_version=tool_version, created_utc=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), **attributes)
        if input_ids is not None:
            self.file["input_ids"] = np.asarray(input_ids, "<i4")
        self.file.create_group("layers")

    def layer(self, number, q, k, v, softmax_scale, **attributes):
        group = self.file["layers"].create_group(f"{number:03}")
        group.attrs.update(layer=np.int64(number), softmax_scale=np.float64(softmax_scale), causal=np.uint8(1), **attributes)
        for name, values in (("q", q), ("k", k), ("v", v)):
            if self.dtype == "bf16":
                data = h5py.h5d.create(group.id, name.encode(), bf16_type(), h5py.h5s.create_simple(values.shape))
                data.write(h5py.h5s.ALL, h5py.h5s.ALL, float_to_bf16(values), bf16_type())
            else:
                group[name] = np.asarray(values, {"f32": "<f4", "f16": "<f2"}[self.dtype])
        group.attrs["complete"] = np.uint8(1)
        self.file.flush()

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error is None:
            self.file.attrs["complete"] = np.uint8(1)
        self.file.close()
        if error is None:
            os.replace(f"{self.path}.part", self.path)
