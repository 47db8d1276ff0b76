#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace anchor {

/// XXH3-64 of a byte stream that arrives in pieces.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;
  void add(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// XXH3-64 of a file's size and of up to 1024 pages spread evenly over it: tells two model files apart
/// without reading all of either. A file that cannot be read is an error.
std::uint64_t sample_hash(const std::string& path);

}  // namespace anchor
