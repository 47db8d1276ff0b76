#pragma once

#include <cstddef>

#include "anchor/model/language_model.hpp"

namespace anchor {

/// A layer's weights as a device reads them, in one piece of memory: matrices in bf16, norms and biases in
/// float32. This says where each part lies; what the model does not have has no bytes.
struct PackedLayer {
  struct Part {
    std::size_t begin = 0, bytes = 0;  ///< begin is a multiple of 256
  };
  Part attention_norm, ffn_norm, q_norm, k_norm, post_attention_norm, post_ffn_norm;
  Part qkv_bias, output_bias, gate_up_bias, down_bias;
  Part qkv, output;    ///< rows as in LanguageModel::Layer
  Part router;         ///< then gate_up and down hold those of all experts, one after the other
  Part gate_up, down;  ///< [2 ffn, hidden], [hidden, ffn]
  std::size_t bytes = 0;
};

PackedLayer packed_layer(const LanguageModel& model, int layer);

/// Writes a layer's weights to `into` (packed_layer().bytes) on all threads, each value rounded to bf16 once.
/// A data error names a weight that is NaN or infinite.
void pack_layer(const LanguageModel& model, int layer, const PackedLayer& parts, std::byte* into);
/// Rows [first, first + count) of the matrix that makes logits, in bf16 [count, hidden].
void pack_output(const LanguageModel& model, std::int64_t first, std::int64_t count, std::byte* into);

}  // namespace anchor
