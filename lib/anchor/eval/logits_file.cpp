#include "anchor/eval/logits_file.hpp"

#include <fmt/format.h>

namespace anchor {

std::string npy_bytes(const Logits& logits) {
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}",
                                   logits.positions(), logits.vocab_size);
  constexpr std::size_t begin = 10, unit = 64;  // magic, version and length; what the data are aligned to
  header.append(unit - 1 - (begin + header.size()) % unit, ' ');
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(logits.values.data()), logits.values.size() * sizeof(float));
  return bytes;
}

}  // namespace anchor
