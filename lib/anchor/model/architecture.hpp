#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace anchor {

/// What stands between the gate of a gated feed-forward layer and its product with `up`.
enum class Activation : std::uint8_t { silu, gelu_tanh };

/// Which layers see a sliding window, where a model has one and does not list them itself.
enum class WindowedLayers : std::uint8_t {
  all,
  after_max_window_layers,  ///< Qwen: those from max_window_layers on, if use_sliding_window
  if_used,                  ///< all, if use_sliding_window
  most,                     ///< Gemma: all but every n-th, n = Architecture::period
  none
};

/// A decoder-only family of language models, as a row of a table: how it differs from Llama. README.md says
/// how to add one.
struct Architecture {
  std::string_view name;                          ///< general.architecture of a GGUF file
  std::span<const std::string_view> model_types;  ///< model_type of a Hugging Face config.json
  /// GGUF stores the rows of W_q and W_k so that rotated pairs are neighbours, not i and i + d/2.
  bool pairs_are_neighbours = false;
  bool qkv_bias = false;          ///< queries, keys and values must have biases; elsewhere they may
  bool qk_norm = false;           ///< RMS norm of every query and key head before its rotation
  bool post_norms = false;        ///< attention and feed-forward are normed again before they join the stream
  bool norms_plus_one = false;    ///< Hugging Face's norm weights are the file's plus one; GGUF has the sum
  bool scaled_embedding = false;  ///< embeddings times sqrt(hidden size)
  bool fused_qkv = false;         ///< one matrix holds queries, keys and values, in this order
  bool fused_gate_up = false;     ///< one matrix holds gate and up, in this order
  bool experts = false;           ///< feed-forward layers may be mixtures of experts
  bool multipliers = false;       ///< of embedding, residual, attention and logits (Granite)
  bool explicit_scale = false;    ///< query_pre_attn_scalar sets the softmax scale (Gemma)
  Activation activation = Activation::silu;
  WindowedLayers windows = WindowedLayers::none;
  int period = 0;                   ///< every so many layers one has no window (`most`)
  double local_rope_theta = 0;      ///< windowed layers rotate by frequencies of their own; 0 = the same
  int nope_interval = 0;            ///< every so many layers one has no rotary embedding; 0 = all have
  double default_rope_theta = 1e4;  ///< where config.json names none
  int default_head_dim = 0;         ///< where config.json names none; 0 = hidden size / heads
  bool default_tied = false;        ///< where config.json does not say it
  std::span<const std::string_view> gguf_keys;    ///< without "NAME.", beyond those that all may have
  std::span<const std::string_view> config_keys;  ///< of config.json, beyond those that all may have
};

std::span<const Architecture> architectures();
/// The row for a GGUF architecture, or a config.json model_type; nullptr if there is none.
const Architecture* find_architecture(std::string_view gguf_name);
const Architecture* find_model_type(std::string_view model_type);

/// Hyper-parameter keys of GGUF files, without "NAME.": those that every architecture may have and we honour,
/// and those that say nothing about the computation.
extern const std::span<const std::string_view> gguf_keys, harmless_gguf_keys;
/// The same for config.json.
extern const std::span<const std::string_view> config_keys, harmless_config_keys;

}  // namespace anchor
