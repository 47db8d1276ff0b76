#include "anchor/data/hdf5/object_header.hpp"

#include <cstring>
#include <span>
#include <vector>

#include "anchor/base/error.hpp"
#include "anchor/data/hdf5/file.hpp"

namespace anchor::h5 {
namespace {

constexpr std::uint16_t attribute_message = 0x0c, continuation_message = 0x10;
constexpr std::uint64_t most_block_bytes = 1 << 24;

struct Block {
  std::uint64_t offset, bytes;
};

template <class T>
T number(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::size_t padded(std::size_t bytes) { return (bytes + 7) / 8 * 8; }

// The place of the value inside an attribute message, or nothing if it is another attribute.
std::optional<std::size_t> value_in(std::span<const std::byte> message, const std::string& attribute,
                                    std::uint64_t bytes) {
  if (message.size() < 8) return std::nullopt;
  const auto version = number<std::uint8_t>(message, 0);
  if (version < 1 || version > 3) return std::nullopt;
  const bool pads = version == 1;
  const std::size_t name_bytes = number<std::uint16_t>(message, 2),
                    type_bytes = number<std::uint16_t>(message, 4),
                    space_bytes = number<std::uint16_t>(message, 6), name_at = version == 3 ? 9 : 8;
  const auto advance = [&](std::size_t size) { return pads ? padded(size) : size; };
  const std::size_t at = name_at + advance(name_bytes) + advance(type_bytes) + advance(space_bytes);
  if (at + bytes > message.size() || name_bytes != attribute.size() + 1) return std::nullopt;
  if (std::memcmp(message.data() + name_at, attribute.c_str(), name_bytes) != 0) return std::nullopt;
  return at;
}

}  // namespace

std::optional<std::int64_t> find_value(int descriptor, std::uint64_t address, const std::string& attribute,
                                       std::uint64_t bytes, const std::string& where) {
  std::vector<std::byte> prefix(16);
  read_range(descriptor, static_cast<std::int64_t>(address), prefix, where);
  if (number<std::uint8_t>(prefix, 0) != 1) return std::nullopt;
  std::vector<Block> blocks{{address + 16, number<std::uint32_t>(prefix, 8)}};
  for (std::size_t i = 0; i < blocks.size() && blocks.size() < 256; ++i) {
    const Block block = blocks[i];
    if (block.bytes > most_block_bytes) return std::nullopt;
    std::vector<std::byte> held(block.bytes);
    read_range(descriptor, static_cast<std::int64_t>(block.offset), held, where);
    for (std::size_t at = 0; at + 8 <= held.size();) {
      const auto type = number<std::uint16_t>(held, at);
      const std::size_t size = number<std::uint16_t>(held, at + 2);
      if (size > held.size() - at - 8) return std::nullopt;
      const auto message = std::span<const std::byte>(held).subspan(at + 8, size);
      if (type == continuation_message && size >= 16) {
        blocks.push_back({number<std::uint64_t>(message, 0), number<std::uint64_t>(message, 8)});
      }
      if (type == attribute_message) {
        if (const auto found = value_in(message, attribute, bytes))
          return static_cast<std::int64_t>(block.offset + at + 8 + *found);
      }
      at += 8 + size;
    }
  }
  return std::nullopt;
}

}  // namespace anchor::h5
