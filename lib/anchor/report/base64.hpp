#pragma once

#include <span>
#include <string>

namespace anchor {

/// Bytes in base64 (RFC 4648, with padding).
std::string base64(std::span<const unsigned char> bytes);

/// Base64 of an array's bytes, little-endian.
template <class T>
std::string base64_of(std::span<const T> values) {
  return base64({reinterpret_cast<const unsigned char*>(values.data()), values.size_bytes()});
}

}  // namespace anchor
