#pragma once

#include <cstdint>
#include <vector>

#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// How many (row, key) pairs of one head a plan keeps in every cell of a grid of query tiles x key blocks.
struct KeptMap {
  KeptMap(const Geometry& head, std::int64_t tile_rows, std::int64_t block_keys);

  /// Adds query rows [first_row, first_row + plan rows) of that head of the plan.
  void add(const SparsePlan& plan, int head, std::int64_t first_row);
  /// Share of each cell's visible pairs that is kept, [tiles, blocks]; 0 where a cell has none.
  std::vector<float> share() const;

 private:
  Geometry geometry_;
  std::int64_t tile_rows_, block_keys_, blocks_;
  std::vector<std::int64_t> pairs_;
};

}  // namespace anchor
