"""What the tests of data/hf_dump.py share: tiny models of random weights, the interpreters to run under, and the dumps'
attention recomputed in float64."""
import importlib.util
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def run_under_all_pythons(script):
    """Runs the script under every interpreter of ANCHOR_HF_PYTHONS (paths, colons between; ANCHOR_HF_PYTHON for one) instead
    of this one, and ends. Without torch and transformers it says so and ends: with an error if the interpreter was named."""
    pythons = os.environ.pop("ANCHOR_HF_PYTHONS", "") or os.environ.pop("ANCHOR_HF_PYTHON", "")
    if pythons:
        codes = []
        for python in pythons.split(":"):
            print(f"== {python}", flush=True)
            codes.append(subprocess.run([python, script, *sys.argv[1:]], env={**os.environ, "ANCHOR_HF_NAMED": "1"}).returncode)
        sys.exit(max(map(abs, codes)))
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("ANCHOR_HF_NAMED"):
        sys.exit(f"{sys.executable} has no {' and no '.join(missing)}")
    if missing:
        print("skipped: no", " and no ".join(missing))
        sys.exit(0)
    sys.path.insert(0, str(ROOT / "data"))
    os.environ["HF_HUB_OFFLINE"] = "1"


def has(package):
    """Whether a package that only some tests need is there. A named interpreter must have it: there nothing is skipped."""
    return bool(os.environ.get("ANCHOR_HF_NAMED")) or importlib.util.find_spec(package) is not None


SIZES = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2)
MHA = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
GEMMA = dict(SIZES, head_dim=16, query_pre_attn_scalar=24, sliding_window=9)
MOE = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, decoder_sparse_step=1, norm_topk_prob=True)
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 128}
GPT2 = dict(vocab_size=97, n_embd=32, n_layer=3, n_head=4, n_positions=512, bos_token_id=1, eos_token_id=2)
MLA = dict(SIZES, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, n_group=2,
           topk_group=1, n_shared_experts=1, first_k_dense_replace=1, kv_lora_rank=16, q_lora_rank=24, qk_rope_head_dim=8,
           qk_nope_head_dim=16, v_head_dim=12)
HYBRID = dict(SIZES, **MOE, num_hidden_layers=4, head_dim=16, linear_num_value_heads=4, linear_num_key_heads=2,
              linear_key_head_dim=8, linear_value_head_dim=8, shared_expert_intermediate_size=16)

# name: (configuration class, its arguments, options of hf_dump.py)
MODELS = {
    "Llama": ("LlamaConfig", dict(SIZES, head_dim=8), []),
    "Llama with YaRN": ("LlamaConfig", dict(SIZES, rope_scaling=YARN), []),
    "Mistral": ("MistralConfig", dict(SIZES, sliding_window=7), []),
    "Qwen2": ("Qwen2Config", SIZES, []),
    "Qwen3": ("Qwen3Config", dict(SIZES, head_dim=16), []),
    "Qwen3-MoE": ("Qwen3MoeConfig", dict(SIZES, **MOE, head_dim=16), []),
    "Gemma2": ("Gemma2Config", dict(GEMMA, attn_logit_softcapping=5.0, final_logit_softcapping=30.0), []),
    "Gemma3": ("Gemma3TextConfig", dict(GEMMA, num_hidden_layers=6), []),
    "Phi3": ("Phi3Config", dict(SIZES, sliding_window=None), []),
    "Phi3 with window": ("Phi3Config", dict(SIZES, sliding_window=11), []),
    "GPT-NeoX": ("GPTNeoXConfig", dict(MHA, rotary_pct=0.5), []),
    "GPT-2": ("GPT2Config", GPT2, []),
    "GPT-2 by inverse layer": ("GPT2Config", dict(GPT2, scale_attn_by_inverse_layer_idx=True), []),
    "GPT-2 unscaled": ("GPT2Config", dict(GPT2, scale_attn_weights=False, reorder_and_upcast_attn=True), []),
    "OLMo2": ("Olmo2Config", SIZES, []),
    "OLMo3": ("Olmo3Config", dict(SIZES, num_hidden_layers=4, sliding_window=9), []),
    "Granite": ("GraniteConfig", dict(SIZES, attention_multiplier=0.2, logits_scaling=3.0), []),
    "Cohere2": ("Cohere2Config", dict(SIZES, num_hidden_layers=4, sliding_window=9), []),
    "Falcon": ("FalconConfig", dict(vocab_size=97, hidden_size=32, num_hidden_layers=3, num_attention_heads=4), []),
    "Falcon, new decoder": ("FalconConfig", dict(vocab_size=97, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
                                                 num_kv_heads=2, new_decoder_architecture=True), []),
    "StableLM": ("StableLmConfig", SIZES, []),
    "Qwen3-Next": ("Qwen3NextConfig", HYBRID, ["--layers", "3"]),
    "gpt-oss": ("GptOssConfig", dict(SIZES, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=9), []),
    "DeepSeek-V3": ("DeepseekV3Config", MLA, ["--pad-values"]),
    "SmolLM3": ("SmolLM3Config", dict(SIZES, num_hidden_layers=4), []),
    "Qwen2-MoE": ("Qwen2MoeConfig", dict(SIZES, **MOE, shared_expert_intermediate_size=16), []),
    "GPT-BigCode": ("GPTBigCodeConfig", GPT2, []),
    "GLM4": ("Glm4Config", dict(SIZES, head_dim=8), []),
}

# What must be recorded besides queries, keys and values. windows: of every layer. rope: of every layer, (theta, rotated
# dimensions), None where no rotation of halves is done.
RECORDED = {
    "Llama": dict(windows=[0] * 3, rope=[(1e4, 8)] * 3),
    "Mistral": dict(windows=[7] * 3, rope=[(1e4, 8)] * 3),
    "Gemma2": dict(windows=[9, 0, 9], rope=[(1e4, 16)] * 3, softcap=5.0),
    "Gemma3": dict(windows=[9] * 5 + [0], rope=[(1e4, 16)] * 5 + [(1e6, 16)]),
    "GPT-NeoX": dict(windows=[0] * 3, rope=[(1e4, 4)] * 3),
    "GPT-2": dict(windows=[0] * 3, rope=[None] * 3),
    "OLMo3": dict(windows=[9, 9, 9, 0]),
    "Cohere2": dict(windows=[9, 9, 9, 0], rope=[None] * 4),  # pairs of neighbours turn, and the last layer has none
    "Falcon": dict(windows=[0] * 3, rope=[(1e4, 8)] * 3, kv_heads=1),
    "Falcon, new decoder": dict(windows=[0] * 3, kv_heads=2),
    "StableLM": dict(windows=[0] * 3, rope=[(1e4, 2)] * 3, kv_heads=2),
    "Qwen3-Next": dict(rope=[(1e4, 4)], gate=(4, 16)),
    "gpt-oss": dict(windows=[9, 0, 9], sinks=True),
    "DeepSeek-V3": dict(windows=[0] * 3, rope=[None] * 3),
    "SmolLM3": dict(rope=[(2e6, 8)] * 3 + [None]),
    "GPT-BigCode": dict(kv_heads=1),
}


def make_model(transformers, torch, config, std=0.3):
    """A model of random weights with eager attention."""
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model


def attention_outputs(model, torch, ids):
    """{layer: [tokens, heads * dim]} that the model's own attention hands to its output projections."""
    outputs, hooks = {}, []
    for module in model.modules():
        layer = getattr(module, "layer_idx", None)
        if isinstance(layer, int) and "attention" in type(module).__name__.lower():
            for name in ("o_proj", "dense", "c_proj"):
                if hasattr(module, name):
                    keep = lambda child, given, layer=layer: outputs.__setitem__(layer, given[0][0].double().numpy())
                    hooks.append(getattr(module, name).register_forward_pre_hook(keep))
    with torch.no_grad():
        loss = model(torch.tensor([ids]), labels=torch.tensor([ids]), use_cache=False).loss
    for hook in hooks:
        hook.remove()
    return outputs, loss.exp().item()


def recomputed(np, dump, layer):
    """[tokens, heads * dim]: the attention of a dumped layer by its attributes, in float64, times its gate."""
    group = dump.layer(layer)
    q, k, v = (group[part][:].astype(np.float64) for part in "qkv")
    scores = group.attrs["softmax_scale"] * q @ np.repeat(k, len(q) // len(k), 0).transpose(0, 2, 1)
    if softcap := group.attrs.get("softcap", 0):
        scores = softcap * np.tanh(scores / softcap)
    distance = np.arange(q.shape[1])[:, None] - np.arange(q.shape[1])
    window = group.attrs.get("sliding_window", 0)
    scores[:, (distance < 0) | (window > 0) & (distance >= window)] = -np.inf
    if "sink_logits" in group:
        sinks = group["sink_logits"][:].astype(np.float64)[:, None, None]
        scores = np.concatenate([scores, np.broadcast_to(sinks, (*scores.shape[:2], 1))], 2)
    weights = np.exp(scores - scores.max(2, keepdims=True))
    weights /= weights.sum(2, keepdims=True)
    out = weights[:, :, : q.shape[1]] @ np.repeat(v, len(q) // len(k), 0)
    if "gate" in group:
        gate = group["gate"][:].astype(np.float64)
        out *= gate if gate.ndim == 3 else gate[..., None]
    return out.transpose(1, 0, 2)
