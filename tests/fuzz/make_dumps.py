"""Makes the small valid dumps in tests/fuzz/dumps that tests/data/hostile_dump_test.cpp damages: every storage a reader must follow.
Run with data/ on PYTHONPATH; the files are committed."""
import os

import h5py
import numpy as np

from anchor_h5 import bf16_type, float_to_bf16

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dumps")


def store(group, name, values, dtype, **storage):
    if dtype != "bf16":
        group.create_dataset(name, data=values.astype({"f32": "<f4", "f16": "<f2"}[dtype]), **storage)
        return
    data = h5py.h5d.create(group.id, name.encode(), bf16_type(), h5py.h5s.create_simple(values.shape))
    data.write(h5py.h5s.ALL, h5py.h5s.ALL, float_to_bf16(values), mtype=data.get_type())


def make(name, dtype, libver, layers=2, **storage):
    random = np.random.default_rng(1)
    with h5py.File(os.path.join(FOLDER, name), "w", libver=libver) as file:
        file.attrs.update({"format": "anchor-qkv", "format_version": "1.0", "model": name, "seq_len": np.int64(12), "tool": "make_dumps",
                           "tool_version": "1", "created_utc": "2026-01-01T00:00:00Z", "config_json": "{}", "complete": np.uint8(1)})
        file.create_dataset("input_ids", data=np.arange(12, dtype="<i4"))
        for layer in range(layers):
            group = file.create_group(f"layers/{layer:03d}")
            for part, heads in (("q", 2), ("k", 1), ("v", 1)):
                store(group, part, np.round(random.normal(size=(heads, 12, 8)), 1), dtype, **storage)
            store(group.create_group("ref"), "lse", np.ones((2, 12)), "f32", **storage)
            group.attrs.update({"layer": np.int64(layer), "softmax_scale": 0.25, "causal": np.uint8(1), "complete": True})


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    make("contiguous.h5", "bf16", "earliest")
    make("chunked.h5", "f32", "earliest", chunks=True, compression="gzip", shuffle=True, fletcher32=True)
    make("latest.h5", "f16", ("v110", "v110"), layers=10, compression="gzip", chunks=True)
    make("chunks.h5", "f32", ("v110", "v110"), layers=1, chunks=True)
