#!/usr/bin/env python3
"""Writes a Hugging Face folder with the shape of a known model and random weights, to time forward passes that need no real ones.

    python3 configs/models/random_model.py --shape llama-3.1-8b --out /tmp/random-8b
    anchor-dump model --model /tmp/random-8b --text book.txt --tokens 32k

Weights are bf16 with the spread of an initialised model: a pool of normal numbers, from which every matrix takes a stretch of its
own. The tokenizer knows the 256 bytes and no merges, so that a text of 32 kB has 32k tokens.
"""
import argparse
import json
import pathlib
import struct

import numpy as np

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
SHAPES = {
    "llama-3.1-8b": dict(model_type="llama", hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                         num_key_value_heads=8, vocab_size=128256, rope_theta=500000.0, rope_scaling=LLAMA3, max_position_embeddings=131072),
    "llama-3.1-70b": dict(model_type="llama", hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64,
                          num_key_value_heads=8, vocab_size=128256, rope_theta=500000.0, rope_scaling=LLAMA3, max_position_embeddings=131072),
    "qwen2.5-1.5b": dict(model_type="qwen2", hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
                         num_key_value_heads=2, vocab_size=151936, rope_theta=1000000.0, tie_word_embeddings=True,
                         max_position_embeddings=32768, use_sliding_window=False),
    "tiny": dict(model_type="llama", hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=2,
                 num_key_value_heads=1, vocab_size=320, rope_theta=10000.0, max_position_embeddings=4096),
}
POOL = 1 << 24
SHARD_BYTES = 4 << 30


def bf16(values):
    """float32 rounded to nearest even, as 16-bit integers."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


class Weights:
    """Random matrices as pieces of bytes; equal for equal seeds."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.normal = self.random.standard_normal(POOL, np.float32)
        self.pools = {}

    def matrix(self, count, spread):
        if spread not in self.pools:
            self.pools[spread] = bf16(self.normal * np.float32(spread))
        pool = self.pools[spread]
        at = int(self.random.integers(POOL))
        while count > 0:
            piece = pool[at:at + count]
            yield piece.data
            count, at = count - len(piece), 0


def tensors(config):
    """Name, shape and spread of every tensor, in the order of the layers; spread None: ones."""
    hidden, ffn, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    dim = hidden // heads
    kv = config["num_key_value_heads"] * dim
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden), 1.0
    for layer in range(config["num_hidden_layers"]):
        front = f"model.layers.{layer}."
        yield front + "input_layernorm.weight", (hidden,), None
        for name, rows in (("q", hidden), ("k", kv), ("v", kv)):
            yield f"{front}self_attn.{name}_proj.weight", (rows, hidden), hidden ** -0.5
            if config["model_type"] == "qwen2":
                yield f"{front}self_attn.{name}_proj.bias", (rows,), 0.1
        small = (2 * config["num_hidden_layers"]) ** -0.5  # so that the residual stream does not grow with the depth
        yield front + "self_attn.o_proj.weight", (hidden, hidden), small * hidden ** -0.5
        yield front + "post_attention_layernorm.weight", (hidden,), None
        for name in ("gate", "up"):
            yield f"{front}mlp.{name}_proj.weight", (ffn, hidden), hidden ** -0.5
        yield front + "mlp.down_proj.weight", (hidden, ffn), small * ffn ** -0.5
    yield "model.norm.weight", (hidden,), None
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], hidden), hidden ** -0.5


def shards_of(config):
    """The tensors in groups of at most SHARD_BYTES, but one tensor at least."""
    shards, room = [], 0
    for tensor in tensors(config):
        size = 2 * int(np.prod(tensor[1]))
        if not shards or size > room:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(tensor)
        room -= size
    return shards


def write_shard(path, shard, weights):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _ in shard:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", buffering=0) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape, spread in shard:
            count = int(np.prod(shape))
            for piece in [bf16(np.ones(count)).data] if spread is None else weights.matrix(count, spread):
                file.write(piece)


def tokenizer():
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    letters = [chr(byte) if byte in visible else chr(next(hidden)) for byte in range(256)]
    return {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None, "added_tokens": [],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "vocab": {letter: n for n, letter in enumerate(letters)}, "merges": []}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", required=True, choices=sorted(SHAPES))
    parser.add_argument("--layers", type=int, help="so many layers instead of the model's")
    parser.add_argument("--out", required=True, help="the folder to make")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    config = {"hidden_act": "silu", "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "torch_dtype": "bfloat16", **SHAPES[args.shape]}
    if args.layers is not None:
        if args.layers < 1:
            parser.error("--layers must be 1 or more")
        config["num_hidden_layers"] = args.layers
    folder = pathlib.Path(args.out)
    if folder.exists():
        parser.error(f"{folder} is there already")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    weights, where, shards = Weights(args.seed), {}, shards_of(config)
    for n, shard in enumerate(shards):
        name = "model.safetensors" if len(shards) == 1 else f"model-{n + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(folder / name, shard, weights)
        where.update((tensor[0], name) for tensor in shard)
    if len(shards) > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


if __name__ == "__main__":
    main()
