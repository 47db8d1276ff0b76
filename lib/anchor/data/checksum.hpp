#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

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

}  // namespace anchor
