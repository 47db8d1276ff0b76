#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace anchor {

/// Builds GGUF bytes field by field, so that tests can get any of them wrong.
class GgufBytes {
 public:
  template <class T>
  GgufBytes& put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  GgufBytes& put_string(const std::string& text) {
    put<std::uint64_t>(text.size());
    bytes += text;
    return *this;
  }
  GgufBytes& header(std::uint64_t tensors, std::uint64_t metadata, std::uint32_t version = 3) {
    bytes += "GGUF";
    return put(version).put(tensors).put(metadata);
  }
  GgufBytes& string_entry(const std::string& key, const std::string& value) {
    return put_string(key).put<std::uint32_t>(8).put_string(value);
  }
  GgufBytes& u32_entry(const std::string& key, std::uint32_t value) {
    return put_string(key).put<std::uint32_t>(4).put(value);
  }
  GgufBytes& tensor_entry(const std::string& name, const std::vector<std::uint64_t>& shape,
                          std::uint32_t type, std::uint64_t offset) {
    put_string(name).put(static_cast<std::uint32_t>(shape.size()));
    for (const std::uint64_t side : shape) put(side);
    return put(type).put(offset);
  }
  GgufBytes& pad(std::size_t alignment = 32) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
    return *this;
  }

  std::string bytes;
};

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace anchor
