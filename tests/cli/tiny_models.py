"""Tiny random Llama models as bytes, without any library for them: a GGUF file and a Hugging Face folder, for the tests of what
anchor-dump model accepts. Keys, tensors and files can be left out or made wrong."""
import json
import struct

import numpy as np

HIDDEN, FFN, HEADS, KV_HEADS, LAYERS, DIM, CONTEXT = 32, 48, 4, 2, 2, 8, 256


def byte_tokens():
    """The 256 bytes in GPT-2's printable alphabet."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(hidden)) for byte in range(256)]


TOKENS = byte_tokens() + ["th", "he", "<|bos|>", "<|end|>"]


def weights(seed=0):
    """By Hugging Face's names; rows of q and k in its order."""
    rng = np.random.default_rng(seed)

    def matrix(rows, columns):
        return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def norm():
        return (1 + 0.1 * rng.standard_normal(HIDDEN)).astype(np.float32)

    out = {"model.embed_tokens.weight": matrix(len(TOKENS), HIDDEN) * 6, "model.norm.weight": norm(), "lm_head.weight": matrix(len(TOKENS), HIDDEN)}
    for layer in range(LAYERS):
        front = f"model.layers.{layer}."
        out |= {front + "input_layernorm.weight": norm(), front + "post_attention_layernorm.weight": norm(),
                front + "self_attn.q_proj.weight": 2 * matrix(HEADS * DIM, HIDDEN), front + "self_attn.k_proj.weight": 2 * matrix(KV_HEADS * DIM, HIDDEN),
                front + "self_attn.v_proj.weight": matrix(KV_HEADS * DIM, HIDDEN), front + "self_attn.o_proj.weight": matrix(HIDDEN, HEADS * DIM),
                front + "mlp.gate_proj.weight": matrix(FFN, HIDDEN), front + "mlp.up_proj.weight": matrix(FFN, HIDDEN),
                front + "mlp.down_proj.weight": matrix(HIDDEN, FFN)}
    return out


# ---- Hugging Face folder

CONFIG = dict(model_type="llama", architectures=["LlamaForCausalLM"], vocab_size=len(TOKENS), hidden_size=HIDDEN, intermediate_size=FFN,
              num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=CONTEXT,
              rms_norm_eps=1e-5, hidden_act="silu", rope_theta=10000.0, tie_word_embeddings=False, torch_dtype="float32", use_cache=True)
TOKENIZER = dict(version="1.0", truncation=None, padding=None, normalizer=None, post_processor=None, decoder=None,
                 pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
                 added_tokens=[dict(id=TOKENS.index(text), content=text, special=True, normalized=False, lstrip=False, rstrip=False, single_word=False)
                               for text in TOKENS[-2:]],
                 model=dict(type="BPE", vocab={text: i for i, text in enumerate(TOKENS)}, merges=["t h", "h e"]))


def safetensors(tensors):
    header, data = {}, b""
    for name, value in tensors.items():
        kind, raw = ("F32", value.astype("<f4").tobytes()) if value.dtype == np.float32 else ("I32", value.astype("<i4").tobytes())
        header[name] = dict(dtype=kind, shape=list(value.shape), data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def write_folder(path, tensors=None, config=CONFIG, tokenizer=TOKENIZER, shards=1):
    """Writes the folder; with several shards also their index."""
    path.mkdir()
    tensors = tensors or weights()
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    if shards == 1:
        (path / "model.safetensors").write_bytes(safetensors(tensors))
        return path
    names, where = list(tensors), {}
    for n in range(shards):
        file = f"model-{n + 1:05}-of-{shards:05}.safetensors"
        part = names[n::shards]
        (path / file).write_bytes(safetensors({name: tensors[name] for name in part}))
        where |= dict.fromkeys(part, file)
    (path / "model.safetensors.index.json").write_text(json.dumps(dict(metadata={}, weight_map=where)))
    return path


# ---- GGUF

NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
KEYS = {"context_length": CONTEXT, "embedding_length": HIDDEN, "feed_forward_length": FFN, "block_count": LAYERS, "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS, "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0, "rope.dimension_count": DIM,
        "vocab_size": len(TOKENS)}


def gguf_string(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(value):
    if isinstance(value, bool):
        return struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + gguf_string(value)
    items = [gguf_value(item) for item in value]
    return struct.pack("<I", 9) + items[0][:4] + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)


def gguf_bytes(tensors, metadata):
    infos, data = b"", b""
    for name, value in tensors.items():
        data += b"\0" * (-len(data) % 32)
        infos += gguf_string(name) + struct.pack("<I", value.ndim) + struct.pack(f"<{value.ndim}Q", *value.shape[::-1]) + struct.pack("<IQ", 0, len(data))
        data += value.astype("<f4").tobytes()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(gguf_string(key) + gguf_value(value) for key, value in metadata.items()) + infos
    return head + b"\0" * (-len(head) % 32) + data


def gguf_tensors(tensors):
    """The same weights by GGUF's names; rows of q and k with rotated pairs as neighbours."""
    out = {}
    for name, value in tensors.items():
        stem, kind = name.rsplit(".", 1)
        front = ""
        if stem.startswith("model.layers."):
            _, _, layer, stem = stem.split(".", 3)
            front = f"blk.{layer}."
        if NAMES[stem] in ("attn_q", "attn_k"):
            value = value.reshape(-1, 2, DIM // 2, HIDDEN).swapaxes(1, 2).reshape(value.shape)
        out[f"{front}{NAMES[stem]}.{kind}"] = value
    return out


def metadata(keys=None, arch="llama", **more):
    """keys: changes to KEYS, None leaves one out."""
    chosen = {f"{arch}.{key}": value for key, value in {**KEYS, **(keys or {})}.items() if value is not None}
    tokens = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": TOKENS,
              "tokenizer.ggml.token_type": [1] * (len(TOKENS) - 2) + [3, 3], "tokenizer.ggml.merges": ["t h", "h e"]}
    return {"general.architecture": arch, **chosen, **tokens, **more}


def write_gguf(path, tensors=None, keys=None, arch="llama", **more):
    path.write_bytes(gguf_bytes(gguf_tensors(tensors or weights()), metadata(keys, arch, **more)))
    return path


def first_queries(tensors, ids, inv_freq, factor=1.0):
    """Queries of the first layer [heads, tokens, dim] after rotation, in float64."""
    w = {name: value.astype(np.float64) for name, value in tensors.items()}
    x = w["model.embed_tokens.weight"][ids]
    x = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * w["model.layers.0.input_layernorm.weight"]
    q = (x @ w["model.layers.0.self_attn.q_proj.weight"].T).reshape(len(ids), HEADS, DIM).transpose(1, 0, 2)
    angle = np.arange(len(ids))[:, None] * inv_freq
    cos, sin, half = np.cos(angle) * factor, np.sin(angle) * factor, DIM // 2
    return np.concatenate([q[..., :half] * cos - q[..., half:] * sin, q[..., half:] * cos + q[..., :half] * sin], -1)
