#include "anchor/plan/sparse_plan.hpp"

#include <algorithm>

namespace anchor {

void append_run(SparsePlan& plan, std::int64_t begin, std::int64_t end, std::int64_t hidden_from) {
  const std::int64_t width = plan.kv_tile;
  for (; begin < end; begin += width) {
    const std::int64_t stop = std::min(begin + width, plan.geometry.kv_len);
    if (stop <= end || end >= hidden_from) {
      plan.blocks.items.push_back(static_cast<std::int32_t>(begin));
    } else {
      for (std::int64_t j = begin; j < end; ++j) plan.columns.items.push_back(static_cast<std::int32_t>(j));
    }
  }
}

std::int64_t SparsePlan::unlisted(std::int64_t row, std::int64_t start) const {
  const auto listed = blocks[row];
  if (std::binary_search(listed.begin(), listed.end(), start)) return 0;
  const auto single = columns[row];
  const auto first = std::lower_bound(single.begin(), single.end(), start);
  return kv_tile - (std::lower_bound(first, single.end(), start + kv_tile) - first);
}

SparsePlan dense_plan(const Geometry& geometry, int tile) {
  SparsePlan plan{.geometry = geometry, .q_tile = tile, .kv_tile = tile};
  for (int head = 0; head < geometry.q_heads; ++head) {
    for (std::int64_t g = 0; g < plan.groups(); ++g) {
      append_run(plan, 0, plan.group_end(g), plan.group_end(g));
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  return plan;
}

}  // namespace anchor
