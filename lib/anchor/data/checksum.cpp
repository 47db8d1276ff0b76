#include "anchor/data/checksum.hpp"

#define XXH_STATIC_LINKING_ONLY  // the state's definition
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "anchor/base/error.hpp"

namespace anchor {

struct Checksum::State {
  XXH3_state_t xxh3;
};

Checksum::Checksum() : state_(new State) { XXH3_64bits_reset(&state_->xxh3); }
Checksum::~Checksum() = default;
Checksum::Checksum(Checksum&&) noexcept = default;
Checksum& Checksum::operator=(Checksum&&) noexcept = default;
void Checksum::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
}
std::uint64_t Checksum::value() const { return XXH3_64bits_digest(&state_->xxh3); }

std::uint64_t sample_hash(const std::string& path) {
  constexpr std::uint64_t pages = 1024, page = 4096;
  std::error_code none;
  const std::uint64_t size = std::filesystem::file_size(path, none);
  std::ifstream file(path, std::ios::binary);
  if (none || !file) fail("{} cannot be read", path);
  Checksum checksum;
  checksum.add(std::as_bytes(std::span(&size, 1)));
  std::array<char, page> bytes{};
  const std::uint64_t step = std::max(page, size / pages);
  for (std::uint64_t at = 0; at < size; at += step) {
    file.clear();
    file.seekg(static_cast<std::streamoff>(at));
    file.read(bytes.data(), bytes.size());
    checksum.add(std::as_bytes(std::span(bytes).first(static_cast<std::size_t>(file.gcount()))));
  }
  return checksum.value();
}

}  // namespace anchor
