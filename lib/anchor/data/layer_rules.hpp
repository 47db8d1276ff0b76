#pragma once

#include <string>
#include <vector>

#include "anchor/data/qkv_dump.hpp"

// What holds for every layer of a dump, wherever it comes from: the reader, the importer and the writer share
// these rules, so that no tool writes what another refuses.
namespace anchor {

/// Bounds far beyond any model, so that products of sizes fit 64 bits and a wrong order of the axes shows.
inline constexpr std::int64_t most_heads = 4096;        // the largest models have 128
inline constexpr std::int64_t most_head_dim = 8192;     // they have 576
inline constexpr std::int64_t most_tokens = 1LL << 27;  // plans number tokens with 32 bits
inline constexpr double most_softmax_scale = 1e6;       // they have 1 / sqrt(head_dim)

/// A tensor as a file gives it.
struct TensorForm {
  std::string name;  ///< starts the message of an error
  std::vector<std::int64_t> shape;
  DType dtype = DType::f32;
};

/// Sets the head counts, lengths, dimension and type of a layer from its tensors, which must fit together.
/// The queries are taken for the last ones.
void set_shape(LayerInfo& info, const TensorForm& q, const TensorForm& k, const TensorForm& v);

/// Fails, with `where` in front, unless every field of the layer is possible.
void require_valid(const LayerInfo& info, const std::string& where);

}  // namespace anchor
