#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "anchor/model/ggml_type.hpp"

namespace anchor {

/// A file mapped read-only into memory.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A stored tensor. Dimensions are in ggml's order: shape[0] is contiguous (the input width of a matrix),
/// shape[1] the number of rows; unused ones are 1.
struct GgufTensor {
  std::string_view name;
  GgmlType type = GgmlType::f32;
  std::array<std::int64_t, 4> shape{1, 1, 1, 1};
  const std::byte* data = nullptr;

  std::int64_t row_bytes() const {
    const BlockSize block = block_size(type);
    return shape[0] / block.elements * block.bytes;
  }
  /// Row r of the matrix [shape[1], shape[0]] as floats.
  void row(std::int64_t r, float* out) const { dequantize(type, data + r * row_bytes(), shape[0], out); }
};

/// A GGUF file (versions 2 and 3, little-endian; format: github.com/ggml-org/ggml/blob/master/docs/gguf.md).
/// Every count, length and offset is checked against the file's size on opening, so that tensors and strings
/// can be read without further checks. Throws data errors that name the file and the field.
class GgufFile {
 public:
  using Strings = std::vector<std::string_view>;
  using Integers = std::vector<std::int64_t>;
  using Floats = std::vector<double>;
  using Value = std::variant<bool, std::int64_t, double, std::string_view, Strings, Integers, Floats>;

  explicit GgufFile(const std::string& path);

  const std::string& path() const { return path_; }
  bool has(std::string_view key) const { return metadata_.contains(key); }

  /// A metadata value of this type. Throws a data error when the key is missing or holds another type.
  template <class T>
  const T& get(std::string_view key) const;
  template <class T>
  T get_or(std::string_view key, T fallback) const {
    return has(key) ? get<T>(key) : fallback;
  }
  /// An integer in [low, high].
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;
  /// The tensor with this name and shape [rows, columns] (rows = 1: a vector).
  const GgufTensor& tensor(std::string_view name, std::int64_t rows, std::int64_t columns) const;

 private:
  std::string path_;
  MappedFile file_;
  std::unordered_map<std::string_view, Value> metadata_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> tensor_index_;
};

}  // namespace anchor
