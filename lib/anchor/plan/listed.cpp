#include "anchor/plan/listed.hpp"

#include <algorithm>

namespace anchor {

bool in_blocks(const SparsePlan& plan, std::span<const std::int32_t> blocks, std::int64_t key) {
  const auto after = std::upper_bound(blocks.begin(), blocks.end(), key);
  return after != blocks.begin() && key < std::int64_t{*(after - 1)} + plan.kv_tile;
}

bool lists_key(const SparsePlan& plan, std::int64_t row, std::int64_t key) {
  const auto columns = plan.columns[row];
  return in_blocks(plan, plan.blocks[row], key) || std::binary_search(columns.begin(), columns.end(), key);
}

}  // namespace anchor
