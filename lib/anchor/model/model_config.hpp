#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "anchor/model/architecture.hpp"

namespace anchor {

/// A way to run a rotary model beyond its context: linear (position interpolation, arXiv 2306.15595), dynamic
/// (NTK base change by the text's length), yarn (arXiv 2309.00071), llama3 (slow pairs interpolated,
/// Llama 3.1) or longrope (a divisor per pair, arXiv 2402.13753).
struct RopeScaling {
  enum class Kind : std::uint8_t { linear, dynamic, yarn, llama3, longrope };
  Kind kind = Kind::linear;
  double factor = 1;
  std::int64_t original_context = 0;  ///< tokens of the pretraining; 0 = the model's context length
  bool from_file = false;             ///< the model's own, not asked for
  /// Multiplies cos and sin; 0 = as the kind's paper says.
  double attention_factor = 0;
  double beta_fast = 32, beta_slow = 1;  ///< yarn: turns within the pretraining context, ends of the ramp
  bool truncate = true;                  ///< yarn: the ramp's ends are whole pairs
  double extrapolation = 1;  ///< yarn: share of the unscaled frequencies where the ramp asks for them
  double low_freq_factor = 1, high_freq_factor = 4;  ///< llama3
  std::vector<float> short_factors, long_factors;  ///< longrope: divisors up to original_context, and beyond
};

/// Sizes and constants of a language model.
struct ModelConfig {
  const Architecture* architecture = nullptr;
  std::string name;
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t ffn_size = 0;        ///< of layers without experts
  std::int64_t context_length = 0;  ///< tokens that the model was trained for
  int layers = 0;
  int q_heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  double rms_norm_eps = 0;
  double rope_theta = 0;
  bool tied_embeddings = false;  ///< the output projection is the embedding matrix

  int rope_dims = 0;            ///< leading dimensions of a head that rotate; 0 = all
  double local_rope_theta = 0;  ///< windowed layers have unscaled frequencies of this base; 0 = as the others
  std::optional<RopeScaling> rope_scaling;
  std::vector<float> rope_divisors;   ///< [rope_dims / 2] of all frequencies; may be empty
  std::vector<std::int64_t> windows;  ///< per layer: keys that a query sees, itself included; 0 = all
  std::vector<bool> rotated;          ///< per layer: queries and keys get rotary embedding
  std::vector<bool> sparse;           ///< per layer: feed-forward is a mixture of experts
  double softmax_scale = 0;
  double embedding_scale = 1, residual_scale = 1, logit_scale = 1;
  int experts = 0, experts_used = 0;
  std::int64_t expert_ffn_size = 0;
  bool normalised_experts = true;  ///< the weights of the chosen experts sum to 1
  std::string json;                ///< a Hugging Face config.json with the same numbers

  std::int64_t window(int layer) const { return windows[static_cast<std::size_t>(layer)]; }
  int rotated_dims() const { return rope_dims > 0 ? rope_dims : head_dim; }
};

class GgufFile;
class HfFolder;

/// Reads and checks the metadata of a GGUF file. A data error names what is missing, out of range, an
/// architecture that is not in the table, or a key of the architecture that is not.
ModelConfig read_config(const GgufFile& file);
/// The same for config.json of a Hugging Face folder.
ModelConfig read_config(const HfFolder& folder);

/// What holds for every model: heads that share evenly, dimensions that rotate. A data error begins with
/// `path`.
void check_config(const ModelConfig& config, const std::string& path);

}  // namespace anchor
