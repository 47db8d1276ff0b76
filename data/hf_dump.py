"""Dumps queries, keys and values of any Hugging Face causal language model (README.md describes the file).

    python data/hf_dump.py --model Qwen/Qwen2.5-0.5B --text book.txt --tokens 4096 --out d.h5
    python data/hf_dump.py --model FOLDER --gguf model.gguf --text book.txt --device cuda --out d.h5

Needs torch and transformers >= 4.51 besides h5py and numpy (for --gguf also gguf and accelerate). Layers are written
as they are computed, so only one is in memory besides the model. The text is taken as it is, without chat template;
special tokens are the ones that the model's tokenizer adds by itself.
"""
import argparse
import json
import os
import pathlib

import h5py
import torch
import transformers
from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer

from anchor_h5 import Writer

try:
    from transformers import AttentionMaskInterface
except ImportError:  # before 4.53 models hand every unknown attention a full mask, which ours does not need
    AttentionMaskInterface = None


def causal_attention(query, key, value, scale, window):
    """Softmax attention [1, heads, N, dim] of a causal, possibly sliding, window, without a mask of N x N."""
    if not window:
        if query.device.type == "cuda":  # the fast kernels want equal head counts
            repeat = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=query.shape[1] != key.shape[1])
    out, rows, positions = [], 1024, torch.arange(query.shape[2], device=query.device)
    for begin in range(0, query.shape[2], rows):
        end, first = min(begin + rows, query.shape[2]), max(0, begin - window + 1)
        distance = positions[begin:end, None] - positions[None, first:end]
        out.append(torch.nn.functional.scaled_dot_product_attention(
            query[:, :, begin:end], key[:, :, first:end], value[:, :, first:end],
            attn_mask=(distance >= 0) & (distance < window), scale=scale, enable_gqa=True))
    return torch.cat(out, 2)


class Recorder:
    """Stands in for the model's attention: writes what it is given, then computes it."""

    def __init__(self, layers):
        self.writer, self.layers, self.seen = None, layers, set()
        AttentionInterface.register("anchor_dump", self.attention)
        if AttentionMaskInterface:
            AttentionMaskInterface.register("anchor_dump", self.mask)

    def attention(self, module, query, key, value, attention_mask, scaling=None, **options):
        # The mask is not used: causality and the window are enforced here, and self.mask has checked that there is
        # nothing else in it.
        for name in ("softcap", "s_aux", "sinks", "position_bias"):
            if options.get(name) is not None:
                raise SystemExit(f"hf_dump.py: this model's attention has a {name}, which a dump cannot express")
        if not getattr(module, "is_causal", True):
            raise SystemExit("hf_dump.py: this model's attention is not causal")
        if query.shape[0] != 1 or query.shape[2] != key.shape[2] or key.shape[3] != value.shape[3]:
            raise SystemExit(f"hf_dump.py: queries {tuple(query.shape)}, keys {tuple(key.shape)} and values "
                             f"{tuple(value.shape)} do not fit a dump")
        layer, scale = module.layer_idx, scaling if scaling is not None else query.shape[-1] ** -0.5
        if layer in self.seen:
            raise SystemExit(f"hf_dump.py: layer {layer} has more than one attention, which a dump cannot express")
        self.seen.add(layer)
        window = options.get("sliding_window") or 0
        if window >= key.shape[2]:
            window = 0  # nothing is cut off
        if self.layers is None or layer in self.layers:
            q, k, v = (t[0].float().cpu().numpy() for t in (query, key, value))
            self.writer.layer(layer, q, k, v, scale, sliding_window=window)
        return causal_attention(query, key, value, scale, window).transpose(1, 2).contiguous(), None

    @staticmethod
    def mask(*args, mask_function=None, local_size=None, **_):
        """No mask; but the model must want a causal one with at most a sliding window."""
        random = torch.Generator().manual_seed(0)
        q, k = torch.randint(0, 4 * (local_size or 1024), (2, 512), generator=random)
        expected = (k <= q) & (q - k < (local_size or 1 << 60))
        zero = torch.tensor(0)
        for i in range(len(q)):
            if mask_function is not None and bool(mask_function(zero, zero, q[i], k[i])) != bool(expected[i]):
                raise SystemExit("hf_dump.py: this model's attention mask is more than causal and sliding; "
                                 "a dump cannot express it")
        return None


def read_tokens(args, location):
    if args.input_ids:
        with h5py.File(args.input_ids) as dump:
            return dump["input_ids"][:].tolist()[: args.tokens]
    # Bytes as they are: no newline translation, ill-formed UTF-8 as U+FFFD.
    text = pathlib.Path(args.text).read_bytes().decode("utf-8", errors="replace")
    ids = AutoTokenizer.from_pretrained(**location)(text)["input_ids"][: args.tokens]
    if not ids:
        raise SystemExit(f"hf_dump.py: {args.text}: the text has no tokens")
    return ids


def parse_layers(text):
    layers = set()
    for item in text.split(","):
        first, _, last = item.partition("-")
        layers.update(range(int(first), int(last or first) + 1))
    return layers


def perplexity(model, hidden, logits, ids):
    """From the final hidden states, a few rows of logits at a time; None if the model changes its logits afterwards."""
    head = model.get_output_embeddings()
    if not torch.allclose(head(hidden[-1]), logits, rtol=1e-3, atol=1e-3) or len(ids) < 2:
        return None
    targets, total = torch.tensor(ids[1:], device=hidden.device), 0.0
    for begin in range(0, len(ids) - 1, 512):
        rows = head(hidden[begin : min(begin + 512, len(ids) - 1)]).float()
        total += torch.nn.functional.cross_entropy(rows, targets[begin : begin + len(rows)], reduction="sum").item()
    return float(torch.tensor(total / (len(ids) - 1)).exp())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="name on the Hugging Face hub, or a folder")
    parser.add_argument("--gguf", help="a GGUF file in that folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="a text file")
    source.add_argument("--input-ids", help="a dump whose token ids to take, to compare two models or programs")
    parser.add_argument("--tokens", type=int, help="use the first so many tokens (default: all)")
    parser.add_argument("--layers", type=parse_layers, help="layers to write, such as 0-3,8 (default: all)")
    parser.add_argument("--dtype", choices=("bf16", "f16", "f32"), default="bf16", help="stored type (default bf16)")
    parser.add_argument("--compute", choices=("float32", "bfloat16", "float16"),
                        help="type to compute in (default: float32 on the CPU, the model's own elsewhere)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 … (default cpu)")
    parser.add_argument("-o", "--out", required=True, help="the dump to write; it grows as OUT.part")
    args = parser.parse_args()

    location = {"pretrained_model_name_or_path": args.model}
    if args.gguf:
        location["gguf_file"] = args.gguf
    compute = args.compute or ("float32" if args.device == "cpu" else "auto")
    ids = read_tokens(args, location)
    recorder = Recorder(args.layers)
    model = AutoModelForCausalLM.from_pretrained(
        **location, attn_implementation="anchor_dump", torch_dtype=compute if compute == "auto" else getattr(torch, compute),
    ).eval().to(args.device)
    config = model.config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    if limit and len(ids) > limit:
        raise SystemExit(f"hf_dump.py: {len(ids)} tokens are more than the model's context of {limit}; use --tokens")
    unknown = sorted((args.layers or set()) - set(range(config.num_hidden_layers)))
    if unknown:
        raise SystemExit(f"hf_dump.py: the model has layers 0-{config.num_hidden_layers - 1}, no layer {unknown[0]}")
    rope = getattr(config, "rope_parameters", None) or {
        "rope_theta": getattr(config, "rope_theta", None), **(getattr(config, "rope_scaling", None) or {})}

    with Writer(args.out, model=os.path.basename(args.gguf or args.model.rstrip("/")), seq_len=len(ids), dtype=args.dtype,
                input_ids=ids, tool="hf_dump.py", tool_version=f"transformers {transformers.__version__}",
                config_json=config.to_json_string(use_diff=False), rope_json=json.dumps(rope, default=str),
                prompt_source=args.text or args.input_ids, device=args.device) as writer, torch.no_grad():
        recorder.writer, kept = writer, []
        model.base_model.register_forward_hook(lambda module, given, output: kept.append(output.last_hidden_state[0]))
        logits = model(torch.tensor([ids], device=args.device), use_cache=False, logits_to_keep=1).logits[0, -1]
        missing = sorted(set(args.layers or range(config.num_hidden_layers)) - recorder.seen)
        if missing:
            raise SystemExit(f"hf_dump.py: layer {missing[0]} has no attention of the usual kind")
        value = perplexity(model, kept[0], logits, ids)
    print(f"{args.out}: {len(args.layers or recorder.seen)} layers, {len(ids)} tokens, "
          f"perplexity {'not defined' if value is None else f'{value:.3f}'}")


if __name__ == "__main__":
    main()
