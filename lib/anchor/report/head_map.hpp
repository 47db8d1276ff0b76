#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace anchor {

/// Where one head's attention lies and what a plan keeps of it: query tiles x key blocks.
struct HeadMap {
  std::string title;
  std::int64_t q_len = 0, kv_len = 0, q_start = 0;
  std::int64_t tile_rows = 128, block_keys = 128;
  std::vector<float> mass;  ///< [tiles, blocks] attention mass: every query row holds 1 in all
  std::vector<float> kept;  ///< [tiles, blocks] share of the cell's causal pairs that the plan keeps, 0 to 1
  /// Single key columns that the plan keeps for query rows [begin, end), as fine lines.
  struct Stripe {
    std::int64_t begin, end, key;
  };
  std::vector<Stripe> stripes;

  std::int64_t tiles() const { return (q_len + tile_rows - 1) / tile_rows; }
  std::int64_t blocks() const { return (kv_len + block_keys - 1) / block_keys; }
};

/// A tile size for which a map of that many tokens has at most 160 cells a side: a power of two from 8
/// upward.
std::int64_t head_map_tile(std::int64_t tokens);

/// The map as an SVG document: mean attention mass per row in log colour; what the plan drops is veiled in
/// white in proportion, kept stripes are drawn as red lines.
std::string svg_head_map(const HeadMap& map);

}  // namespace anchor
