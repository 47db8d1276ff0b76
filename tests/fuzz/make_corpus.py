"""Makes the small seed inputs of tests/fuzz/corpus/NAME, one folder for each NAME_fuzz.cpp. What was found once stands beside them as
found-*, which this leaves alone.

    PYTHONPATH=tests/cli python3 tests/fuzz/make_corpus.py        (needs: numpy)
"""
import json
import pathlib
import struct

import numpy as np
import tiny_models as tiny

FOLDER = pathlib.Path(__file__).with_name("corpus")


def put(target, name, content):
    path = FOLDER / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def lines(*objects):
    return "".join(json.dumps(each) + "\n" for each in objects)


# ---- The command line

def command_line():
    for n, text in enumerate(("8k,32k", "0-29", "8k-128k*2", "4:16:0.5", "-inf,1e-4,+3", "1M,2G", "0.5", " 1 , 2 ")):
        put("lists", f"{n}", text)
    for name, text in {"target": "tmass_recall=0.95", "mixed": "pmixed", "pattern": "psink+local,stripes:@5/77/1k:50%*2,diffuse",
                       "slash": "plocal:256:70%+slash:@512,spread:2.2*31", "linear": "rlinear:2", "yarn": "ryarn:4.5",
                       "choice": "cstripes score=rows,pooled@0.05", "set": "manchor theta 12", "auto": "manchor tail auto",
                       "word": "mxattention stride 8"}.items():
        put("options", name, text)


# ---- Rows, thresholds, tasks

ROW = {"schema": "anchor-result/1", "unit": "a07f70bdf90b12eb", "kind": "recall", "scope": "head", "status": "ok",
       "dump": {"path": "a.h5", "model": "M", "layer": 17, "head": 0, "kv_head": 0},
       "geometry": {"q_heads": 3, "kv_heads": 1, "q_len": 1024, "kv_len": 1024, "q_start": 0, "head_dim": 64, "dtype": "bf16"},
       "method": "anchor", "params": {"block": 128, "mode": "clean", "theta": "inf"}, "device": "cpu", "path": "cpu", "plan_path": "cpu",
       "density": 0.61, "mass_recall": 0.92, "mass_recall_min": 0.07, "output_recall_0.01": 0.67, "out_rel_l2": 0.31,
       "tool": {"version": "0.2.0", "git_sha": "b16696d4baca", "dirty": False, "build": "Debug"},
       "env": {"cores": 2, "cpu": "C", "host": "h", "os": "Linux"}, "argv": ["anchor-recall", "a.h5"], "t": "2026-01-01T00:00:00Z"}


def rows():
    bench = ROW | {"kind": "bench", "scope": "layer", "time_ns": {"total": [9, 8, 7, 9, 8, 7, 8]}, "stages_ns": {"plan": 3},
                   "stats": {"median_ns": 8, "ci95_ns": [7, 9], "n": 7}, "cache": "cold", "tflops_dense": 1.5}
    sweep = ROW | {"kind": "curve", "curve": {"knob": ["-inf", 1, 2.5], "density": [0.1, 0.2, 1], "mass_recall": [0.5, 0.9, 1]},
                   "target": {"metric": "mass_recall", "statistic": "mean", "value": 0.95}, "value": 2.5, "choice": "global"}
    stats = ROW | {"sparsity": {"density_by_position": [0.5] * 8, "stripe_persistence": 0.5, "shared_stripe_density": 0.1, "sink_share": 0.2,
                                "row_max": {"initial": 0.2, "local": 0.3, "elsewhere": 0.5}}, "status": "error", "error": "what"}
    put("rows", "recall", lines(ROW))
    put("rows", "bench", lines(bench, bench))
    put("rows", "sweep", lines(sweep))
    put("rows", "stats", lines(stats) + '{"torn')


def thresholds():
    layer = {"layer": 0, "heads": [0, 1], "value": [7.1, None], "mass_recall": [0.9, 1], "density": [0.1, 0.2]}
    file = {"format": "anchor-thresholds", "format_version": "1.0", "method": "anchor", "knob": "theta",
            "params": {"block": 128, "step": 4, "mode": "clean"}, "model": "M", "target": {"metric": "mass_recall", "statistic": "mean", "value": 0.9},
            "calibrated_on": ["a.h5"], "layers": [layer, layer | {"layer": 3, "q_heads": 2, "kv_heads": 1, "head_dim": 64}]}
    put("thresholds", "plain", json.dumps(file))
    put("thresholds", "by_head", json.dumps(file | {"format_version": "1.1", "method": "stripes", "params": {"sink": 4},
                                                    "layers": [layer | {"params": {"score": ["pooled", "rows"]}}]}))
    put("thresholds", "block", json.dumps(file | {"method": "block-sparse", "knob": "topk", "params": {}, "layers": [layer | {"value": [5, 1]}]}))


def tasks():
    task = {"schema": "anchor-tasks/1", "id": "needle-512-0", "kind": "needle", "length": 512, "depth": 0.5, "prompt": "The key is 7. The key is",
            "answer": " 7, 8", "evidence": [[0, 12]], "seed": 7}
    put("tasks", "one", lines(task))
    put("tasks", "two", lines(task | {"depth": None, "inner": [[1, 2], [4, 5]]}, task | {"id": "b", "evidence": []}))


# ---- Models

def small_tensors():
    """A model of one layer, so that its file stays small."""
    hidden, ffn, vocabulary = 8, 4, 4
    shapes = {"token_embd": (vocabulary, hidden), "output_norm": (hidden,), "blk.0.attn_norm": (hidden,), "blk.0.ffn_norm": (hidden,),
              "blk.0.attn_q": (8, hidden), "blk.0.attn_k": (4, hidden), "blk.0.attn_v": (4, hidden), "blk.0.attn_output": (hidden, 8),
              "blk.0.ffn_gate": (ffn, hidden), "blk.0.ffn_up": (ffn, hidden), "blk.0.ffn_down": (hidden, ffn)}
    return {f"{name}.weight": np.ones(shape, np.float32) for name, shape in shapes.items()}


KEYS = {"context_length": 64, "embedding_length": 8, "feed_forward_length": 4, "block_count": 1, "attention.head_count": 2,
        "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0, "rope.dimension_count": 4}


def model_keys(arch, **more):
    return {"general.architecture": arch} | {f"{arch}.{key}": value for key, value in (KEYS | more).items()}


def gguf():
    put("gguf", "llama", tiny.gguf_bytes(small_tensors(), model_keys("llama")))
    embedding = {"token_embd.weight": small_tensors()["token_embd.weight"]}
    yarn = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16}
    put("gguf", "yarn", tiny.gguf_bytes(embedding, model_keys("llama", **yarn)))
    put("gguf", "gemma3", tiny.gguf_bytes(embedding, model_keys("gemma3", **{"attention.key_length": 4, "attention.value_length": 4, "attention.sliding_window": 16})))
    put("gguf", "qwen3moe", tiny.gguf_bytes(embedding, model_keys("qwen3moe", **{"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 4})))
    factors = {f"rope_factors_{kind}.weight": np.ones(2, np.float32) for kind in ("long", "short")}
    put("gguf", "longrope", tiny.gguf_bytes(embedding | factors, model_keys("phi3", **{"rope.scaling.original_context_length": 16})))
    put("gguf", "values", tiny.gguf_bytes({}, {"a": True, "b": 7, "c": 1.5, "d": "x", "e": ["y", "z"], "f": [1, 2], "g": [1.5], "general.alignment": 32}))


def gguf_tokenizer():
    tokens = ["a", "e", "h", "t", "\u0120", "he", "the", "\u0120the", "<s>", "1", "2"]
    common = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": [1] * 8 + [3, 1, 1], "tokenizer.ggml.bos_token_id": 8,
              "tokenizer.ggml.add_bos_token": True}
    merges = {"tokenizer.ggml.merges": ["h e", "t he", "\u0120 the"]}
    for label in ("smollm", "llama-bpe", "qwen2"):
        put("gguf_tokenizer", label, tiny.gguf_bytes({}, common | merges | {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": label}) + b" the 12 the<s>")
    pieces = ["<unk>", "<s>", "<0x0A>", "\u2581", "\u2581the", "t", "h", "e", "he", "the"]
    scored = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.token_type": [2, 3, 6] + [1] * 7,
              "tokenizer.ggml.scores": [0.0] * 3 + [-float(n) for n in range(7)], "tokenizer.ggml.bos_token_id": 1}
    put("gguf_tokenizer", "llama", tiny.gguf_bytes({}, scored) + b"the other\nthe")


def tokenizer_json():
    vocabulary = {text: n for n, text in enumerate(["a", "e", "h", "t", "\u0120", "he", "the", "<s>", "\u2581", "<0x0A>", "<unk>"])}
    added = [{"id": 7, "content": "<s>", "special": True, "normalized": False, "lstrip": True, "rstrip": True, "single_word": True}]
    plain = {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "added_tokens": added, "decoder": None,
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
             "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A"}}],
                                "special_tokens": {"<s>": {"id": "<s>", "ids": [7], "tokens": ["<s>"]}}},
             "model": {"type": "BPE", "vocab": vocabulary, "merges": ["h e", ["t", "he"]]}}
    split = {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}|\\s+(?!\\S)|[^\\s]+"}, "behavior": "Isolated"},
                                                   {"type": "Digits", "individual_digits": True},
                                                   {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}
    normal = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "\u2581"},
                                                  {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                                                  {"type": "Replace", "pattern": {"Regex": "t+"}, "content": "th"}]}
    put("tokenizer_json", "byte_level", json.dumps(plain) + "\0the <s> hat")
    put("tokenizer_json", "split", json.dumps(plain | {"pre_tokenizer": split, "post_processor": None}) + "\0the 1234  hat")
    put("tokenizer_json", "metaspace", json.dumps(plain | {
        "normalizer": normal, "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}}) + "\0the\n\nhat")


def hf_config():
    llama = tiny.CONFIG
    put("hf_config", "llama", json.dumps(llama))
    put("hf_config", "llama3", json.dumps(llama | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                                                    "original_max_position_embeddings": 64}}))
    put("hf_config", "yarn", json.dumps(llama | {"model_type": "qwen2", "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
                                                 "use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1}))
    put("hf_config", "gemma3", json.dumps(llama | {"model_type": "gemma3_text", "hidden_act": None, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16,
                                                   "layer_types": ["sliding_attention", "full_attention"], "hidden_activation": "gelu_pytorch_tanh"}))
    put("hf_config", "longrope", json.dumps(llama | {"model_type": "phi3", "original_max_position_embeddings": 64,
                                                     "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}}))
    put("hf_config", "moe", json.dumps(llama | {"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
                                                "decoder_sparse_step": 1, "mlp_only_layers": [0], "norm_topk_prob": True}))
    put("hf_config", "granite", json.dumps(llama | {"model_type": "granite", "embedding_multiplier": 2.0, "residual_multiplier": 0.5,
                                                    "attention_multiplier": 0.1, "logits_scaling": 4.0}))


# ---- Dumps

def safetensors():
    def file(header, data=b""):
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    def tensor(kind, shape, begin, end):
        return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}

    layer = {"layers.000.q": tensor("BF16", [2, 3, 2], 0, 24), "layers.000.k": tensor("BF16", [1, 3, 2], 24, 36), "layers.000.v": tensor("BF16", [1, 3, 2], 36, 48),
             "layers.000.ref.lse": tensor("F32", [2, 3], 48, 72), "input_ids": tensor("I32", [3], 72, 84)}
    metadata = {"model": "M", "seq_len": "3", "layers.000.softmax_scale": "0.5", "layers.000.causal": "1", "layers.000.q_start": "0", "seed": "7"}
    put("safetensors", "layer", file({"__metadata__": metadata} | layer, bytes(84)))
    put("safetensors", "no_metadata", file(layer, bytes(84)))
    put("safetensors", "types", file({kind: tensor(kind, [2, 0], 0, 0) for kind in ("F64", "I8", "BOOL", "U16", "F8_E4M3")}))


def node(kind, attributes=None, layout=None, children=None):
    """A description as data/hdf5/node.cpp sends it."""
    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def value(held):
        if isinstance(held, str):
            return struct.pack("<Q", 0) + text(held)
        return struct.pack("<Qd", 3, held) if isinstance(held, float) else struct.pack("<Qq", 1, held)

    out = struct.pack("<Q", ("group", "dataset", "unusable", "unseen").index(kind)) + text("") + struct.pack("<QQ", 96, len(attributes or {}))
    out += b"".join(text(key) + value(held) for key, held in (attributes or {}).items())
    if kind == "dataset":
        shape, element, stored, offset, chunks = layout
        out += struct.pack(f"<Q{len(shape)}qQ", len(shape), *shape, element) + text("float of 4 bytes") + text("contiguous" if offset >= 0 else "chunked")
        out += struct.pack("<QqQQQQ", stored, offset, 64 if chunks else 0, chunks, chunks, 0)
    return out + struct.pack("<Q", len(children or {})) + b"".join(text(key) + child for key, child in (children or {}).items())


def dump_description():
    root = {"format": "anchor-qkv", "format_version": "1.0", "model": "M", "seq_len": 12, "tool": "t", "tool_version": "1",
            "created_utc": "2026-01-01T00:00:00Z", "complete": 1}
    layer = {"layer": 0, "softmax_scale": 0.25, "causal": 1, "complete": 1}
    q, kv, lse = ((2, 12, 8), 0, 768, 2048, 0), ((1, 12, 8), 0, 384, 2048, 0), ((2, 12), 0, 96, 2048, 0)
    parts = {"q": node("dataset", layout=q), "k": node("dataset", layout=kv), "v": node("dataset", layout=kv),
             "ref": node("group", children={"lse": node("dataset", layout=lse)})}
    ids = node("dataset", layout=((12,), 4, 48, 2048, 0))
    put("dump_description", "root", node("group", root, children={"input_ids": node("unseen"), "layers": node("unseen")}))
    put("dump_description", "layer", node("group", layer, children=parts))
    put("dump_description", "ids", ids)
    put("dump_description", "chunked", node("group", layer, children={part: node("dataset", layout=((1, 4, 2), 0, 64, -1, 1)) for part in "qkv"}))
    put("dump_description", "all", node("group", root | layer, children=parts | {"input_ids": ids}))


def plan():
    # Flags, KV heads, heads of each, lengths, tiles, then lists: rows, offsets, count, items (plan_fuzz.cpp).
    put("plan", "blocks", bytes([0, 0, 0, 31, 31, 16, 16, 1, 0] + [2, 0, 1, 3, 3, 0, 0, 16] + [2, 0, 0, 0, 0]))
    put("plan", "columns", bytes([0, 0, 1, 31, 31, 16, 16, 2, 2] + [2, 0, 1, 2, 2, 0, 0] + [2, 0, 1, 2, 2, 20, 20]))
    put("plan", "window", bytes([4, 0, 0, 31, 31, 16, 16, 1, 1] + [2, 0, 1, 3, 3, 0, 0, 16] + [2, 0, 0, 0, 0] + [4, 255, 0, 0, 0, 0, 0, 0, 0, 99, 8]))


if __name__ == "__main__":
    for make in (command_line, rows, thresholds, tasks, gguf, gguf_tokenizer, tokenizer_json, hf_config, safetensors, dump_description, plan):
        make()
