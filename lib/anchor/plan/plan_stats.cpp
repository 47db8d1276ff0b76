#include "anchor/plan/plan_stats.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace anchor {
namespace {

/// Sum over the rows with positions [first, last] of min(max(position + 1 - start, 0), width): the causal
/// pairs of a run of `width` keys from `start`.
std::int64_t causal_run_pairs(std::int64_t first, std::int64_t last, std::int64_t start, std::int64_t width) {
  const std::int64_t growing_from = std::max(first, start);              // rows before see nothing
  const std::int64_t full_from = std::max(growing_from, start + width);  // rows from here see the whole run
  std::int64_t pairs = std::max<std::int64_t>(0, last - full_from + 1) * width;
  const std::int64_t growing_to = std::min(last, full_from - 1);
  if (growing_to >= growing_from) {
    const std::int64_t a = growing_from - start + 1, b = growing_to - start + 1;
    pairs += (a + b) * (b - a + 1) / 2;
  }
  return pairs;
}

/// Pairs of the run [start, start + width) with the rows [first, last] (positions) in which the key lies less
/// than `local` before the row: key j keeps rows [j, j + local - 1].
std::int64_t near_run_pairs(std::int64_t first, std::int64_t last, std::int64_t start, std::int64_t width,
                            std::int64_t local) {
  // What the rows see of the run, without what rows `local` later (position - local) see of it.
  return causal_run_pairs(first, last, start, width) -
         causal_run_pairs(first - local, last - local, start, width);
}

/// Visible pairs of the run [start, start + width) with the rows [first, last] (positions).
std::int64_t run_pairs(const SparsePlan& plan, int head, std::int64_t first, std::int64_t last,
                       std::int64_t start, std::int64_t width) {
  if (!plan.geometry.causal) return (last - first + 1) * width;
  const std::int64_t all =
      plan.geometry.sliding_window > 0 ? std::min(plan.geometry.sliding_window, last + 1) : last + 1;
  if (!plan.window) return near_run_pairs(first, last, start, width, all);
  // With a window of the plan: keys of the sink as above, and so all keys in the rows from dense_from on; the
  // others keep the rows that are not further than `local` away.
  const SparsePlan::Window& window = *plan.window;
  const std::int64_t local = std::min(all, window.local[static_cast<std::size_t>(head)]);
  const std::int64_t sink_end = std::clamp(window.sink, start, start + width);
  const std::int64_t sparse_last = std::min(last, std::max(first, window.dense_from) - 1);
  return near_run_pairs(first, sparse_last, start, sink_end - start, all) +
         near_run_pairs(first, sparse_last, sink_end, start + width - sink_end, local) +
         near_run_pairs(sparse_last + 1, last, start, width, all);
}

}  // namespace

PlanStats& PlanStats::operator+=(const PlanStats& other) {
  causal_pairs += other.causal_pairs;
  visible_pairs += other.visible_pairs;
  work_pairs += other.work_pairs;
  stripe_pairs += other.stripe_pairs;
  return *this;
}

PlanStats plan_stats(const SparsePlan& plan, int head, std::int64_t g) {
  const Geometry& geometry = plan.geometry;
  const std::int64_t row = head * plan.groups() + g;
  const auto blocks = plan.blocks[row];
  const auto columns = plan.columns[row];
  const std::int64_t begin = g * plan.group_rows();
  const std::int64_t end = std::min(begin + plan.group_rows(), geometry.q_len);
  const std::int64_t first = geometry.q_start + begin, last = geometry.q_start + end - 1;
  PlanStats stats{.causal_pairs = geometry.rows(begin, end).causal_pairs()};
  for (const std::int32_t start : blocks) {
    stats.visible_pairs += run_pairs(plan, head, first, last, start, plan.block_width(start));
  }
  for (const std::int32_t column : columns)
    stats.stripe_pairs += run_pairs(plan, head, first, last, column, 1);
  stats.visible_pairs += stats.stripe_pairs;

  for (std::int64_t t = begin; t < end; t += plan.q_tile) {
    const std::int64_t tile_rows = std::min<std::int64_t>(plan.q_tile, end - t);
    const std::int64_t reach =
        geometry.visible(t + tile_rows - 1);              // keys from here on are hidden from the tile
    const std::int64_t from = geometry.first_visible(t);  // keys before are hidden, too
    const auto seen = [&](std::span<const std::int32_t> items, std::int64_t width) {
      const auto hidden = std::lower_bound(items.begin(), items.end(), reach);
      return std::pair(hidden - std::upper_bound(items.begin(), hidden, from - width),
                       hidden - items.begin());
    };
    std::int64_t keys = seen(columns, 1).first;
    const auto [listed, seen_blocks] = seen(blocks, plan.kv_tile);
    keys += listed * plan.kv_tile;
    if (listed > 0)
      keys += plan.block_width(blocks[seen_blocks - 1]) - plan.kv_tile;  // only the last is clipped
    stats.work_pairs += tile_rows * keys;
  }
  return stats;
}

PlanStats plan_stats(const SparsePlan& plan, int head) {
  PlanStats stats;
  for (std::int64_t g = 0; g < plan.groups(); ++g) stats += plan_stats(plan, head, g);
  return stats;
}

}  // namespace anchor
