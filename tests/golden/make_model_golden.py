"""Runs a GGUF model under transformers (float32) and keeps slices of what it computes.

    python tests/golden/make_model_golden.py MODEL.gguf NAME.json [--rope-scaling linear:2] [--tokens N]
    (needs: torch transformers gguf accelerate; independent of the C++ forward pass that it checks)
"""
import argparse
import json
import os
import pathlib

import gguf
import torch
from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModelForCausalLM
from transformers.masking_utils import sdpa_mask

from make_tokenizer_golden import hugging_face_tokenizer

TEXT = (pathlib.Path(__file__).parents[2] / "LICENSE").read_text()
SEEN = {}


def recording_attention(module, query, key, value, mask, scaling=None, **_):
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
    SEEN[module.layer_idx] = {"q": query[0], "k": key[0], "v": value[0], "out": out[0]}
    return out.transpose(1, 2).contiguous(), None


def numbers(tensor):
    return [float(f"{x:.8g}") for x in tensor.flatten().tolist()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf")
    parser.add_argument("out")
    parser.add_argument("--rope-scaling", help="linear:F, dynamic:F or yarn:F")
    parser.add_argument("--tokens", type=int, default=700)
    args = parser.parse_args()

    tokenizer, bos = hugging_face_tokenizer(gguf.GGUFReader(args.gguf))
    text = TEXT[: 4 * args.tokens]
    ids = ([bos] if bos is not None else []) + tokenizer.encode(text).ids
    ids = ids[: args.tokens]

    AttentionInterface.register("record", recording_attention)
    AttentionMaskInterface.register("record", sdpa_mask)
    folder, name = os.path.split(os.path.abspath(args.gguf))
    config = AutoConfig.from_pretrained(folder, gguf_file=name)
    if args.rope_scaling:
        kind, factor = args.rope_scaling.split(":")
        config.rope_parameters = {**config.rope_parameters, "rope_type": kind, "factor": float(factor)}
        if kind == "yarn":
            config.rope_parameters["original_max_position_embeddings"] = config.max_position_embeddings
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, config=config, dtype=torch.float32, attn_implementation="record"
    ).eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0].float()
    nll = torch.nn.functional.cross_entropy(logits[:-1].double(), torch.tensor(ids[1:])).item()

    n, last = len(ids), max(SEEN)
    positions = sorted({0, 1, n // 2, n - 1})
    layers = []
    for layer in sorted({0, (last + 1) // 2, last}):
        slices = []
        for name, tensor in SEEN[layer].items():
            for head in sorted({0, tensor.shape[0] - 1}):
                slices.append({"tensor": name, "head": head, "values": numbers(tensor[head, positions])})
        layers.append({"layer": layer, "slices": slices})
    step = max(1, logits.shape[1] // 500)
    golden = {
        "model": os.path.basename(args.gguf), "rope_scaling": args.rope_scaling, "text": text, "input_ids": ids,
        "mean_nll": nll,
        "positions": positions, "layers": layers, "last_logits": {"step": step, "values": numbers(logits[-1, ::step])},
    }
    pathlib.Path(args.out).write_text(json.dumps(golden, ensure_ascii=True) + "\n")
    print(args.out, n, "tokens, perplexity", torch.tensor(nll).exp().item())


if __name__ == "__main__":
    main()
