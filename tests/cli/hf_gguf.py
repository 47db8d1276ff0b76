"""Writes a model of transformers as a GGUF file, with the keys and the names and layouts of tensors that the converter of
github.com/ggml-org/llama.cpp gives them. For tiny models of the tests; nothing is quantised."""
import math

import gguf
import numpy as np

# architectures whose rows of W_q and W_k are stored with rotated pairs as neighbours
INTERLEAVED = ("llama", "granite", "smollm3")


def interleave(weight, heads):
    """Row i + s d/2 of a head becomes row 2 i + s."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def rope_of(config):
    """The rotary parameters of the layers without a window, as transformers 5 names them, from any version's config."""
    rope = dict(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {})
    rope = dict(rope.get("full_attention", rope))
    rope.setdefault("rope_theta", getattr(config, "rope_theta", None) or 1e4)
    rope.setdefault("rope_type", rope.get("type", "default"))
    return rope


def llama3_divisors(rope, dims):
    frequencies = rope["rope_theta"] ** (-np.arange(0, dims, 2) / dims)
    low, high, divisors = rope["low_freq_factor"], rope["high_freq_factor"], []
    for wave in 2 * math.pi / frequencies:
        turns = rope["original_max_position_embeddings"] / wave
        smooth = min(max((turns - low) / (high - low), 0), 1)
        divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(divisors, np.float32)


def add_keys(writer, arch, config, vocabulary):
    heads = config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(dim)
    writer.add_value_length(dim)
    writer.add_vocab_size(vocabulary)
    rope = rope_of(config)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(dim * rope.get("partial_rotary_factor", 1)))
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(rope, dim))
    if rope["rope_type"] == "longrope":
        original = config.original_max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(config.max_position_embeddings / original) / math.log(original)))
        for kind in ("long", "short"):
            writer.add_tensor(f"rope_factors_{kind}.weight", np.array(rope[f"{kind}_factor"], np.float32))
    if arch in ("gemma3", "phi3", "llama") and getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    if arch == "granite":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    if arch == "qwen3moe":
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)


def add_tokenizer(writer, tokenizer, vocabulary):
    """A byte-level tokenizer of the tokenizers library whose pre-tokenizer is GPT-2's."""
    import json

    model = json.loads(tokenizer.to_str())["model"]
    tokens = [f"[PAD{i}]" for i in range(vocabulary)]
    kinds = [gguf.TokenType.UNUSED] * vocabulary
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    for text, index in tokenizer.get_vocab().items():
        tokens[index] = text
        kinds[index] = gguf.TokenType.CONTROL if text in special else gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
    writer.add_add_bos_token(False)


def add_weights(writer, arch, config, weights):
    names = gguf.get_tensor_name_map(next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == arch), config.num_hidden_layers)
    experts = {}
    for name, tensor in weights.items():
        value = tensor.float().numpy()
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if ".mlp.experts." in name:
            front, rest = name.split(".mlp.experts.")
            if rest.split(".")[0] in ("gate_up_proj", "down_proj"):  # transformers 5 keeps stacks
                parts = {"gate_proj": value[:, : value.shape[1] // 2], "up_proj": value[:, value.shape[1] // 2 :]}
                for part, stack in (parts if rest.startswith("gate_up") else {"down_proj": value}).items():
                    experts[f"{front}.mlp.experts.{part}.weight"] = stack
                continue
            index, part = rest.split(".")[:2]
            experts.setdefault(f"{front}.mlp.experts.{part}.weight", {})[int(index)] = value
            continue
        if arch == "gemma3" and name.endswith("norm.weight"):
            value = value + 1
        if arch in INTERLEAVED and ".q_proj." in name:
            value = interleave(value, config.num_attention_heads)
        if arch in INTERLEAVED and ".k_proj." in name:
            value = interleave(value, config.num_key_value_heads)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(value))
    for name, stack in experts.items():
        if isinstance(stack, dict):
            stack = np.stack([stack[i] for i in range(len(stack))])
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(stack))


def write(path, arch, model, tokenizer, split_max_tensors=0):
    """Returns the path of the file, or of the first of several."""
    writer = gguf.GGUFWriter(path, arch, split_max_tensors=split_max_tensors)
    vocabulary = model.config.vocab_size
    add_keys(writer, arch, model.config, vocabulary)
    add_tokenizer(writer, tokenizer, vocabulary)
    add_weights(writer, arch, model.config, model.state_dict())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
