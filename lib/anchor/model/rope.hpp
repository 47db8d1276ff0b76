#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/model/gguf.hpp"
#include "anchor/model/llama_config.hpp"

namespace anchor {

/// A way to run a rotary model beyond its context: linear (position interpolation, arXiv 2306.15595), dynamic
/// (NTK base change by the text's length) or yarn (arXiv 2309.00071).
struct RopeScaling {
  enum class Kind { linear, dynamic, yarn };
  Kind kind = Kind::linear;
  double factor = 1;
  std::int64_t original_context = 0;  ///< yarn: tokens of the pretraining; 0 = the model's context length
};

/// Parses "linear:F", "dynamic:F" or "yarn:F" with F >= 1. Throws a usage error that lists these.
RopeScaling parse_rope_scaling(std::string_view text);
/// The scaling that a GGUF file asks for itself (llama.rope.scaling.*), if any.
std::optional<RopeScaling> read_rope_scaling(const GgufFile& file);

/// Rotation frequencies of one run. Pair (i, i + head_dim / 2) of a head turns by position * inv_freq[i].
struct Rope {
  std::vector<float> inv_freq;  ///< [head_dim / 2]
  double attention_factor = 1;  ///< multiplies cos and sin (yarn's temperature)
  std::string json;             ///< {"rope_type", "rope_theta", "factor", …} as in a Hugging Face config

  /// cos and sin for positions [0, tokens): [tokens, head_dim / 2] each.
  void tables(std::int64_t tokens, std::vector<float>& cos, std::vector<float>& sin) const;
};

/// Frequencies for a text of `tokens` tokens, as transformers' modeling_rope_utils computes them.
/// `divisors` ([head_dim / 2], may be empty) divide the frequencies: the tensor rope_freqs.weight of
/// Llama 3.1 files. Throws a data error that names the limit when the text is longer than the context allows:
/// context_length, times F with linear and yarn; dynamic has no limit.
Rope make_rope(const LlamaConfig& config, const std::optional<RopeScaling>& scaling, std::int64_t tokens,
               const std::vector<float>& divisors = {});

}  // namespace anchor
