#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/model/model_config.hpp"

namespace anchor {

/// Parses "linear:F", "dynamic:F" or "yarn:F" with F >= 1. Throws a usage error that lists these.
RopeScaling parse_rope_scaling(std::string_view text);

/// Rotation frequencies of one run. Pair (i, i + dims / 2) of a head turns by position * inv_freq[i], where
/// dims is twice the number of frequencies; what lies beyond dims does not turn.
struct Rope {
  std::vector<float> inv_freq;  ///< [dims / 2]
  double attention_factor = 1;  ///< multiplies cos and sin (yarn's temperature)
  std::string json;             ///< {"rope_type", "rope_theta", "factor", …} as in a Hugging Face config

  /// cos and sin for positions [0, tokens): [tokens, dims / 2] each.
  void tables(std::int64_t tokens, std::vector<float>& cos, std::vector<float>& sin) const;
};

/// Frequencies for a text of `tokens` tokens, as transformers' modeling_rope_utils computes them.
/// `divisors` ([dims / 2], may be empty) divide the frequencies: the tensor rope_freqs.weight of
/// Llama 3.1 files. Throws a data error that names the limit when the text is longer than the context allows:
/// context_length, times F with linear and yarn; dynamic has no limit.
Rope make_rope(const ModelConfig& config, const std::optional<RopeScaling>& scaling, std::int64_t tokens,
               const std::vector<float>& divisors = {});

/// The rotations of all layers of a model.
struct Ropes {
  std::vector<Rope> kinds;    ///< one, or a second one for windowed layers
  std::vector<int> of_layer;  ///< index into kinds; -1 = the layer has none
  std::string json;           ///< that of the one kind, or both under transformers' names of layer types

  /// nullptr where the layer has none.
  const Rope* of(int layer) const {
    const int kind = of_layer[static_cast<std::size_t>(layer)];
    return kind < 0 ? nullptr : &kinds[static_cast<std::size_t>(kind)];
  }
};

/// The rotations of a model over a text; `scaling` replaces the one that its file asks for. Errors as
/// make_rope().
Ropes make_ropes(const ModelConfig& config, const std::optional<RopeScaling>& scaling, std::int64_t tokens);

}  // namespace anchor
