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
      append_run(plan, plan.group_begin(g) / tile * tile, plan.group_end(g), plan.group_end(g));
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  return plan;
}

namespace {

/// Drops from every plan row the items that end at or before the first key that the row may see.
void drop_before_window(RowLists& lists, const SparsePlan& plan, std::int64_t width) {
  RowLists kept;
  kept.items.reserve(lists.items.size());
  for (std::int64_t row = 0; row < lists.rows(); ++row) {
    const std::int64_t begin = plan.group_begin(row % plan.groups());
    for (const std::int32_t item : lists[row]) {
      if (item + width > begin) kept.items.push_back(item);
    }
    kept.end_row();
  }
  lists = std::move(kept);
}

}  // namespace

SparsePlan within_window(SparsePlan plan) {
  if (!plan.geometry.windowed()) return plan;
  drop_before_window(plan.blocks, plan, plan.kv_tile);
  drop_before_window(plan.columns, plan, 1);
  drop_before_window(plan.dup, plan, 1);
  return plan;
}

}  // namespace anchor
