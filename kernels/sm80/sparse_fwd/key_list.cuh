#pragma once

#include <cstdint>

#include "anchor/kernels/params.hpp"

namespace anchor::kernels::sm80 {

/// Which listed keys a row may see: causality, the layer's window and the plan's, all from positions.
struct Visibility {
  const PlanParams& plan;
  int local;    ///< of this head; unused without a window of the plan
  int sliding;  ///< the layer's window, 0 = none

  /// True if some (all) rows at positions [first, last] see the key; an absent key is negative and seen by
  /// none.
  __device__ bool to_some(int key, int first, int last) const {
    if (key < 0 || key > last) return false;
    if (sliding > 0 && max(first, key) - key >= sliding) return false;
    return !plan.local || key < plan.sink || max(first, key) - key < local || last >= plan.dense_from;
  }
  __device__ bool to_all(int key, int first, int last) const {
    if (key < 0 || key > first) return false;
    if (sliding > 0 && last - key >= sliding) return false;
    return !plan.local || key < plan.sink || min(last, plan.dense_from - 1) - key < local;
  }
};

/// Number of entries of the sorted list that are <= value; the whole warp calls it.
__device__ inline int count_up_to(const std::int32_t* list, int size, int value) {
  const int lane = threadIdx.x % 32;
  int begin = 0;
  while (size > 0) {  // entries before `begin` are <= value, entries from begin + size on are above
    const int step = (size + 31) / 32;
    const int probe = min((lane + 1) * step, size) - 1;
    const int passed = __popc(__ballot_sync(~0u, list[begin + probe] <= value));
    if (passed == 32) return begin + size;
    begin += passed * step;
    size = min(step - 1, size - passed * step - 1);
  }
  return begin;
}

/// The keys of one plan row in the order in which tiles of `keys` take them: blocks, columns, and from a
/// fresh tile on the doubled columns. Lives in shared memory: it is read seldom, and registers are scarce.
struct KeyList {
  const std::int32_t *blocks, *columns, *dup;
  int block_keys;  ///< blocks times their width
  int column_count, dup_count;
  int main_tiles, tiles;  ///< main = without the doubled columns

  /// One warp fills it: lists end at the last entry that a row up to position `last` may see.
  __device__ void fill(const PlanParams& plan, std::int64_t row, int last, int keys) {
    const auto trim = [&](const std::int32_t* items, const std::int64_t* offsets, const std::int32_t*& list) {
      list = items + offsets[row];
      return count_up_to(list, static_cast<int>(offsets[row + 1] - offsets[row]), last);
    };
    KeyList filled{};
    filled.block_keys = trim(plan.blocks, plan.block_offsets, filled.blocks) * plan.kv_tile;
    filled.column_count = trim(plan.columns, plan.column_offsets, filled.columns);
    if (plan.dup_offsets) filled.dup_count = trim(plan.dup, plan.dup_offsets, filled.dup);
    filled.main_tiles = (filled.block_keys + filled.column_count + keys - 1) / keys;
    filled.tiles = filled.main_tiles + (filled.dup_count + keys - 1) / keys;
    if (threadIdx.x % 32 == 0) *this = filled;
  }

  /// Entry n is list item + offset(n, width): the item is what has to be read from global memory.
  __device__ int item(int n, int keys, int width) const {
    const int after = n - main_tiles * keys;
    if (after >= 0) return after < dup_count ? dup[after] : absent;
    if (n < block_keys) return blocks[n / width];
    return n - block_keys < column_count ? columns[n - block_keys] : absent;
  }
  __device__ int offset(int n, int width) const { return n < block_keys ? n % width : 0; }

  static constexpr int absent = 0x3fffffff;
};

}  // namespace anchor::kernels::sm80
