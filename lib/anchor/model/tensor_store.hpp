#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "anchor/model/ggml_type.hpp"

namespace anchor {

/// A tensor as a model file stores it. Dimensions are in ggml's order: shape[0] is contiguous (the input
/// width of a matrix), shape[1] the number of rows; unused ones are 1. Neither name nor data is owned.
struct WeightTensor {
  std::string_view name;
  GgmlType type = GgmlType::f32;
  std::array<std::int64_t, 4> shape{1, 1, 1, 1};
  const std::byte* data = nullptr;

  std::int64_t row_bytes() const {
    const BlockSize block = block_size(type);
    return shape[0] / block.elements * block.bytes;
  }
  /// Rows of length shape[0] in all: those of every matrix of a stack.
  std::int64_t rows() const { return shape[1] * shape[2] * shape[3]; }
  /// Row r of all rows() as floats.
  void row(std::int64_t r, float* out) const { dequantize(type, data + r * row_bytes(), shape[0], out); }
};

/// The tensors of a model by name: a GGUF file, a split one, or a folder of safetensors.
class TensorStore {
 public:
  virtual ~TensorStore() = default;
  TensorStore(const TensorStore&) = delete;
  TensorStore& operator=(const TensorStore&) = delete;

  const std::string& path() const { return path_; }
  const std::vector<WeightTensor>& tensors() const { return tensors_; }
  const WeightTensor* find_tensor(std::string_view name) const;
  /// The tensor with this name and shape [rows, columns] (rows = 1: a vector). A data error names what is
  /// missing, or the shape that was found.
  const WeightTensor& tensor(std::string_view name, std::int64_t rows, std::int64_t columns) const;
  /// The same for a stack of matrices [count, rows, columns].
  const WeightTensor& stack(std::string_view name, std::int64_t count, std::int64_t rows,
                            std::int64_t columns) const;

 protected:
  explicit TensorStore(std::string path) : path_(std::move(path)) {}
  /// A data error if there is one of that name already.
  void add_tensor(const WeightTensor& tensor);

 private:
  std::string path_;
  std::vector<WeightTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> index_;
};

}  // namespace anchor
