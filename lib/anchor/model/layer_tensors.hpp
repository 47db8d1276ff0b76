#pragma once

#include <string>
#include <vector>

#include "anchor/model/model_config.hpp"
#include "anchor/model/tensor_store.hpp"

namespace anchor {

/// Consecutive rows of a stored tensor: a whole matrix, a part of a fused one, or one of a stack.
struct TensorRows {
  const WeightTensor* tensor = nullptr;  ///< nullptr: the model has none
  std::int64_t first = 0, count = 0;

  explicit operator bool() const { return tensor != nullptr; }
  std::int64_t width() const { return tensor->shape[0]; }
};

/// Consecutive values of a stored vector.
struct TensorValues {
  const WeightTensor* tensor = nullptr;  ///< nullptr: the model has none
  std::int64_t first = 0, count = 0;

  explicit operator bool() const { return tensor != nullptr; }
};

/// A projection: rows [out, in] and, where the file has one, a bias [out].
struct Projection {
  TensorRows rows;
  TensorValues bias;
};

/// The feed-forward part of a layer, or one expert of it.
struct FeedForward {
  Projection gate, up, down;
};

/// Where the weights of one layer lie. What the architecture does not have is empty.
struct LayerTensors {
  TensorValues attention_norm, ffn_norm;
  TensorValues q_norm, k_norm;  ///< [head_dim]
  TensorValues post_attention_norm, post_ffn_norm;
  Projection q, k, v, output;
  FeedForward dense;
  TensorRows router;  ///< [experts, hidden]
  std::vector<FeedForward> experts;
};

struct ModelTensors {
  const WeightTensor* embedding = nullptr;  ///< [vocab_size, hidden]
  const WeightTensor* output = nullptr;     ///< [vocab_size, hidden]
  TensorValues output_norm;
  std::vector<LayerTensors> layers;
  bool pairs_are_neighbours = false;  ///< rows of q and k, see Architecture
  bool norms_plus_one = false;        ///< stored norm weights lack the one
};

/// How the two kinds of files name a model's tensors.
enum class TensorNames : std::uint8_t { gguf, hugging_face };

/// Finds every tensor of a model and checks its shape. A data error names what is missing or misshapen, and a
/// tensor that the model would have to ignore (it computes something else).
ModelTensors find_tensors(const TensorStore& store, const ModelConfig& config, TensorNames names);

}  // namespace anchor
