"""Writes dequantize.json: random blocks of every type that we read, and what the `gguf` package makes of them.

    python tests/golden/make_dequantize_golden.py        (needs: numpy gguf)
"""
import json
import pathlib

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Q

# Bytes of a block that hold float16 scales: random bits there would mostly be huge or NaN.
SCALES = {Q.Q8_0: [0], Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208]}


def main():
    rng = np.random.default_rng(3)
    golden = {}
    for kind in (Q.F32, Q.F16, Q.BF16, *SCALES):
        elements, size = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (max(2, 32 // elements), size), dtype=np.uint8)
        if kind in (Q.F32, Q.F16, Q.BF16):
            values = rng.standard_normal(32).astype(np.float32)
            blocks = gguf.quants.quantize(values, kind).view(np.uint8)
        for at in SCALES.get(kind, []):
            scale = rng.standard_normal(len(blocks)).astype(np.float16)
            blocks[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
        values = gguf.quants.dequantize(blocks.reshape(-1, size) if kind in SCALES else blocks, kind)
        golden[kind.name] = {"number": int(kind), "bytes": blocks.tobytes().hex(),
                             "floats": values.astype("<f4").tobytes().hex()}
    out = pathlib.Path(__file__).with_name("dequantize.json")
    out.write_text(json.dumps(golden, indent=0) + "\n")


if __name__ == "__main__":
    main()
