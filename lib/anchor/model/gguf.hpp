#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "anchor/model/mapped_file.hpp"
#include "anchor/model/tensor_store.hpp"

namespace anchor {

/// A GGUF file (versions 2 and 3, little-endian; format: github.com/ggml-org/ggml/blob/master/docs/gguf.md).
/// Every count, length and offset is checked against the file's size on opening, so that tensors and strings
/// can be read without further checks. Throws data errors that name the file and the field.
///
/// A model in several files (NAME-00001-of-0000N.gguf, metadata split.*) is opened whole by the name of any
/// of them; its metadata is that of the first.
class GgufFile final : public TensorStore {
 public:
  using Strings = std::vector<std::string_view>;
  using Integers = std::vector<std::int64_t>;
  using Floats = std::vector<double>;
  using Value = std::variant<bool, std::int64_t, double, std::string_view, Strings, Integers, Floats>;

  explicit GgufFile(const std::string& path);

  /// The file, or all files of a split model.
  const std::vector<std::string>& paths() const { return paths_; }

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

  const std::map<std::string_view, Value>& metadata() const { return metadata_; }

 private:
  void open_part(const std::string& path, bool first);

  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<std::string> paths_;  ///< of files_
  std::map<std::string_view, Value> metadata_;
};

}  // namespace anchor
