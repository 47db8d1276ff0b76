#include "anchor/plan/plan_stats.hpp"

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

/// Visible pairs of the run [start, start + width) with the rows [first, last] (positions).
std::int64_t run_pairs(const SparsePlan& plan, int head, std::int64_t first, std::int64_t last,
                       std::int64_t start, std::int64_t width) {
  if (!plan.geometry.causal) return (last - first + 1) * width;
  if (!plan.window) return causal_run_pairs(first, last, start, width);
  // With a window: keys of the sink as above; the others lose the rows that are further than `local` away and
  // not yet dense. Key j keeps rows [j, j + local - 1] and rows >= dense_from.
  const SparsePlan::Window& window = *plan.window;
  const std::int64_t local = window.local[static_cast<std::size_t>(head)];
  const std::int64_t sink_end = std::clamp(window.sink, start, start + width);
  std::int64_t pairs = sink_end > start ? causal_run_pairs(first, last, start, sink_end - start) : 0;
  for (std::int64_t j = sink_end; j < start + width; ++j) {
    const std::int64_t from = std::max(first, j);
    const std::int64_t near_end = local > last - j ? last : j + local - 1;
    pairs += std::max<std::int64_t>(0, near_end - from + 1);
    pairs += std::max<std::int64_t>(0, last - std::max({from, near_end + 1, window.dense_from}) + 1);
  }
  return pairs;
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
        geometry.visible(t + tile_rows - 1);  // keys from here on are hidden from the tile
    std::int64_t keys = std::lower_bound(columns.begin(), columns.end(), reach) - columns.begin();
    const std::int64_t seen_blocks = std::lower_bound(blocks.begin(), blocks.end(), reach) - blocks.begin();
    keys += seen_blocks * plan.kv_tile;
    if (seen_blocks > 0)
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
