#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "anchor/base/part_file.hpp"

// The safetensors container (https://github.com/huggingface/safetensors): 8 bytes with the header's length, a
// JSON header that gives every tensor's type, shape and byte range, then the bytes.
namespace anchor {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  ///< as the format writes it: BF16, F16, F32, I32, …
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< bytes, from the end of the header
};

using SafetensorsMetadata = std::map<std::string, std::string>;

/// Opens a file and checks its whole header: whatever it says about sizes and places holds for the file.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(std::string path);
  ~SafetensorsReader();
  const std::string& path() const { return path_; }
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const SafetensorsMetadata& metadata() const { return metadata_; }
  /// Reads bytes of a tensor from `offset` on.
  void read(const SafetensorsEntry& entry, std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  void parse(const std::string& header, std::uint64_t data_bytes);

  std::string path_;
  int descriptor_ = -1;
  std::uint64_t data_start_ = 0;
  std::map<std::string, SafetensorsEntry> entries_;
  SafetensorsMetadata metadata_;
};

/// Writes PATH.part and gives it its name in finish(); without that it is removed. A device or pipe is
/// written to as it stands.
class SafetensorsWriter {
 public:
  /// The tensors in the order their bytes will come; byte ranges are filled in here. `inputs` are files that
  /// are read meanwhile.
  SafetensorsWriter(const std::string& path, std::vector<SafetensorsEntry> entries,
                    const SafetensorsMetadata& metadata, const std::vector<std::string>& inputs = {});
  ~SafetensorsWriter();
  void write(std::span<const std::byte> bytes);
  void finish();

 private:
  void write_all(std::span<const std::byte> bytes);

  PartFile file_;
  std::uint64_t missing_ = 0;
};

}  // namespace anchor
