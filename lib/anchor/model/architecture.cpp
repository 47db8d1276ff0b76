#include "anchor/model/architecture.hpp"

#include <algorithm>

namespace anchor {
namespace {

using Names = std::string_view;

constexpr Names llama_types[] = {"llama", "mistral"}, qwen2_types[] = {"qwen2"}, qwen3_types[] = {"qwen3"},
                qwen3moe_types[] = {"qwen3_moe"}, gemma3_types[] = {"gemma3_text", "gemma3"},
                phi3_types[] = {"phi3"}, granite_types[] = {"granite"}, smollm3_types[] = {"smollm3"};

constexpr Names window_key[] = {"attention.sliding_window"};
constexpr Names expert_keys[] = {"expert_count", "expert_used_count", "expert_feed_forward_length",
                                 "expert_weights_norm"};
constexpr Names gemma_keys[] = {"attention.sliding_window", "attention.sliding_window_pattern",
                                "rope.freq_base_swa"};
constexpr Names granite_keys[] = {"embedding_scale", "residual_scale", "logit_scale", "attention.scale"};

constexpr Names window_config[] = {"sliding_window"};
constexpr Names qwen_config[] = {"use_sliding_window", "sliding_window", "max_window_layers", "layer_types"};
constexpr Names moe_config[] = {"use_sliding_window",  "sliding_window",        "max_window_layers",
                                "layer_types",         "num_experts",           "num_local_experts",
                                "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob",
                                "mlp_only_layers",     "decoder_sparse_step"};
constexpr Names gemma_config[] = {"sliding_window",
                                  "layer_types",
                                  "sliding_window_pattern",
                                  "_sliding_window_pattern",
                                  "query_pre_attn_scalar",
                                  "rope_local_base_freq",
                                  "attn_logit_softcapping",
                                  "final_logit_softcapping",
                                  "use_bidirectional_attention"};
constexpr Names phi_config[] = {"sliding_window", "original_max_position_embeddings"};
constexpr Names granite_config[] = {"embedding_multiplier", "residual_multiplier", "attention_multiplier",
                                    "logits_scaling"};
constexpr Names smollm3_config[] = {"use_sliding_window", "sliding_window", "max_window_layers",
                                    "layer_types",        "no_rope_layers", "no_rope_layer_interval"};

const Architecture table[] = {
    {.name = "llama",
     .model_types = llama_types,
     .pairs_are_neighbours = true,
     .windows = WindowedLayers::all,
     .gguf_keys = window_key,
     .config_keys = window_config},
    {.name = "qwen2",
     .model_types = qwen2_types,
     .qkv_bias = true,
     .windows = WindowedLayers::after_max_window_layers,
     .config_keys = qwen_config},
    {.name = "qwen3",
     .model_types = qwen3_types,
     .qk_norm = true,
     .windows = WindowedLayers::after_max_window_layers,
     .default_head_dim = 128,
     .config_keys = qwen_config},
    {.name = "qwen3moe",
     .model_types = qwen3moe_types,
     .qk_norm = true,
     .experts = true,
     .windows = WindowedLayers::if_used,
     .gguf_keys = expert_keys,
     .config_keys = moe_config},
    {.name = "gemma3",
     .model_types = gemma3_types,
     .qk_norm = true,
     .post_norms = true,
     .norms_plus_one = true,
     .scaled_embedding = true,
     .explicit_scale = true,
     .activation = Activation::gelu_tanh,
     .windows = WindowedLayers::most,
     .period = 6,
     .local_rope_theta = 1e4,
     .default_rope_theta = 1e6,
     .default_head_dim = 256,
     .default_tied = true,
     .gguf_keys = gemma_keys,
     .config_keys = gemma_config},
    {.name = "phi3",
     .model_types = phi3_types,
     .fused_qkv = true,
     .fused_gate_up = true,
     .windows = WindowedLayers::all,
     .gguf_keys = window_key,
     .config_keys = phi_config},
    {.name = "granite",
     .model_types = granite_types,
     .pairs_are_neighbours = true,
     .multipliers = true,
     .gguf_keys = granite_keys,
     .config_keys = granite_config},
    {.name = "smollm3",
     .model_types = smollm3_types,
     .pairs_are_neighbours = true,
     .windows = WindowedLayers::if_used,
     .nope_interval = 4,
     .default_rope_theta = 2e6,
     .default_tied = true,
     .config_keys = smollm3_config},
};

constexpr Names common_gguf[] = {
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.causal",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "expert_count",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_log_multiplier",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
};

// Sizes that the tensors have, too, and what other programs note down.
constexpr Names harmless_gguf[] = {"vocab_size", "tensor_data_layout", "rope.scaling.finetuned"};

constexpr Names common_config[] = {
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "partial_rotary_factor",
    "is_decoder",
    "add_cross_attention",
    "quantization_config",
    "text_config",
};

constexpr Names harmless_config[] = {
    "_name_or_path",
    "architectures",
    "attention_bias",  // the tensors say it
    "mlp_bias",
    "attention_dropout",
    "attn_pdrop",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "max_new_tokens",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "resid_pdrop",
    "return_dict",
    "router_aux_loss_coef",
    "tokenizer_class",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
    "use_return_dict",
    "pruned_heads",
    "tf_legacy_loss",
    "torchscript",
    "use_bfloat16",
    "boi_token_index",
    "eoi_token_index",
    "image_token_index",
    "mm_tokens_per_image",
    "vision_config",
};

}  // namespace

const std::span<const std::string_view> gguf_keys = common_gguf, harmless_gguf_keys = harmless_gguf,
                                        config_keys = common_config, harmless_config_keys = harmless_config;

std::span<const Architecture> architectures() { return table; }

const Architecture* find_architecture(std::string_view gguf_name) {
  const auto row = std::find_if(std::begin(table), std::end(table),
                                [&](const Architecture& known) { return known.name == gguf_name; });
  return row == std::end(table) ? nullptr : row;
}

const Architecture* find_model_type(std::string_view model_type) {
  for (const Architecture& row : table) {
    if (std::ranges::find(row.model_types, model_type) != row.model_types.end()) return &row;
  }
  return nullptr;
}

}  // namespace anchor
