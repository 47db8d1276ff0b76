"""Writes tiny_llama.gguf: a random Llama model small enough to commit, with every stored type of 32-element blocks.

    python tests/golden/tiny_model.py        (needs: numpy gguf)

Vocabulary: two special tokens, the 256 bytes and a few dozen merges, so that every text can be encoded.
"""
import pathlib

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType as Q

OUT = pathlib.Path(__file__).with_name("tiny_llama.gguf")
HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, CONTEXT = 64, 96, 3, 4, 2, 512
TEXT = "the cat sat on the mat and then the other cat sat there too; the thinner hen went in there with ten men "


def byte_alphabet():
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for byte in range(256):
        table[byte] = chr(byte) if byte in visible else chr(256 + extra)
        extra += byte not in visible
    return table


def train_merges(count):
    """Plain BPE training on one sentence: enough merges to make the tokenizer do something."""
    words = [["\u0120", *w] for w in TEXT.split()]
    merges = []
    for _ in range(count):
        pairs = {}
        for word in words:
            for pair in zip(word, word[1:]):
                pairs[pair] = pairs.get(pair, 0) + 1
        best = max(sorted(pairs), key=pairs.get)
        merges.append(best)
        for i, word in enumerate(words):
            merged = []
            for symbol in word:
                if merged and (merged[-1], symbol) == best:
                    merged[-1] += symbol
                else:
                    merged.append(symbol)
            words[i] = merged
    return merges


def main():
    rng = np.random.default_rng(7)
    merges = train_merges(40)
    tokens = ["<|bos|>", "<|end|>", *byte_alphabet().values(), *("".join(m) for m in merges)]
    types = [3, 3] + [1] * (len(tokens) - 2)

    writer = gguf.GGUFWriter(OUT, "llama")
    writer.add_name("tiny random llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(m) for m in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(True)

    def add(name, rows, columns, kind, scale=1.0):
        values = (rng.standard_normal((rows, columns)) * scale).astype(np.float32)
        if kind == Q.F32:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def add_norm(name):
        writer.add_tensor(name, (1 + 0.1 * rng.standard_normal(HIDDEN)).astype(np.float32))

    add("token_embd.weight", len(tokens), HIDDEN, Q.Q8_0, 0.2)
    kv = KV_HEADS * HIDDEN // HEADS
    # The scale of q and k makes attention uneven: with small scores every row would be a plain average.
    for layer, kind in enumerate([Q.Q4_1, Q.Q5_0, Q.Q8_0]):
        block = f"blk.{layer}."
        add_norm(block + "attn_norm.weight")
        add(block + "attn_q.weight", HIDDEN, HIDDEN, kind, 0.3)
        add(block + "attn_k.weight", kv, HIDDEN, kind, 0.3)
        add(block + "attn_v.weight", kv, HIDDEN, Q.Q5_1, 0.1)
        add(block + "attn_output.weight", HIDDEN, HIDDEN, Q.Q4_0, 0.1)
        add_norm(block + "ffn_norm.weight")
        add(block + "ffn_gate.weight", FFN, HIDDEN, Q.F16, 0.1)
        add(block + "ffn_up.weight", FFN, HIDDEN, Q.BF16, 0.1)
        add(block + "ffn_down.weight", HIDDEN, FFN, kind, 0.1)
    add_norm("output_norm.weight")

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
