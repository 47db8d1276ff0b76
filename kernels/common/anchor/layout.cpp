#include "common/anchor/layout.hpp"

#include <algorithm>

#include "anchor/kernels/launch.hpp"
#include "common/schedule/schedule.hpp"

namespace anchor::kernels {

PlanParams plan_over(const ListPlannerParams& params) {
  PlanParams plan;
  plan.q_tile = plan.kv_tile = params.block;
  plan.tiles_per_row = params.step;
  plan.groups = plan_groups(params);
  plan.block_offsets = params.block_offsets;
  plan.blocks = params.blocks;
  plan.column_offsets = params.column_offsets;
  plan.columns = params.columns;
  plan.dup_offsets = params.dup_offsets;
  plan.dup = params.dup;
  return plan;
}

PlanParams region_plan(const ListPlannerParams& params) {
  PlanParams plan = plan_over(params);
  plan.column_offsets = plan.dup_offsets = nullptr;
  plan.columns = plan.dup = nullptr;
  return plan;
}

PlanParams columns_plan(const ListPlannerParams& params) {
  PlanParams plan = plan_over(params);
  plan.block_offsets = nullptr;
  plan.blocks = nullptr;
  return plan;
}

RowStatsParams region_stats(const ListPlannerParams& params, const AnchorGroups& groups,
                            const AnchorLayout& layout) {
  RowStatsParams rows{params};
  rows.anchor_group = groups.rows;
  rows.anchor_init = groups.v4 ? groups.rows : groups.initial;
  rows.anchor_local = groups.v4 ? 0 : groups.local;
  if (groups.dense_tail) rows.anchor_dense_from = groups.q_end - groups.rows + 1;
  (groups.stripes ? rows.anchor_lse : rows.anchor_max) = layout.row_anchors;
  return rows;
}

namespace {
constexpr std::size_t bytes_at_once = 64 << 20;  // of bitmaps, and of cells
}

void* AnchorLayout::take(std::size_t size) {
  std::byte* place = base_ + bytes;
  bytes += (size + 255) / 256 * 256;
  return place;
}

AnchorLayout::AnchorLayout(const AnchorParams& params, void* workspace)
    : AnchorLayout(params, AnchorGroups(params), params.critical == nullptr, workspace) {}

AnchorLayout::AnchorLayout(const StripesParams& params, void* workspace)
    : AnchorLayout(params, AnchorGroups(params), true, workspace) {
  const Shape& shape = params.shape;
  stripes = true;
  for (int n = 0; n < HeadSet::most / 64; ++n)
    unpooled.words[n] = params.row_scored.words[n] | params.antidiagonal.words[n];
  sinks = static_cast<std::int32_t*>(take(most_sinks * sizeof(std::int32_t)));
  if (params.mean_correction) {
    means.block = params.block;
    means.count = (shape.kv_len / means.block + 127) / 128 * 128;
    const auto count = static_cast<std::size_t>(means.count);
    const std::size_t matrix = static_cast<std::size_t>(shape.kv_heads * shape.head_dim) * count * 2;
    means.k = take(matrix);
    means.v = take(matrix);
    means.unlisted = static_cast<std::uint8_t*>(
        take(static_cast<std::size_t>(plan_groups(params) * shape.q_heads) * count));
  }
  if (const int heads = count(params.antidiagonal, 0, shape.q_heads)) {
    cells = XAttentionCells(shape, params.block, antidiagonal_stride, params.antidiagonal);
    cell_heads = static_cast<int>(
        std::clamp<std::size_t>(bytes_at_once / cells.lse_bytes(), 1, static_cast<std::size_t>(heads)));
    cells.lse = static_cast<float*>(take(static_cast<std::size_t>(cell_heads) * cells.lse_bytes()));
  }
}

/// `lists`: bitmaps are made, not critical values.
AnchorLayout::AnchorLayout(const ListPlannerParams& params, const AnchorGroups& groups, bool lists,
                           void* workspace)
    : base_(static_cast<std::byte*>(workspace)) {
  const Shape& shape = params.shape;
  while (slots < params.step) slots *= 2;
  units_per_tile = 64 / slots;
  heads_per_kv = shape.q_heads / shape.kv_heads;
  units = groups.count * heads_per_kv;
  tiles = (units + units_per_tile - 1) / units_per_tile;
  tiles += tiles % 2;
  words = (shape.kv_len + 127) / 128 * 4;
  const std::size_t bitmap_bytes = static_cast<std::size_t>(units * words) * 4;  // of one KV head
  kv_heads_at_once = static_cast<int>(
      std::clamp<std::size_t>(bytes_at_once / bitmap_bytes, 1, static_cast<std::size_t>(shape.kv_heads)));

  // Work items are 128 pooled rows against a segment of the keys: six for each of 128 multiprocessors, so
  // that the last one does not wait, of at most 32 steps, where fetching the pooled queries no longer
  // matters.
  const std::int64_t key_steps = (shape.kv_len + 127) / 128;
  const std::int64_t steps = kv_heads_at_once * (tiles / 2) * key_steps / 2;
  std::int64_t segment_steps = std::clamp<std::int64_t>(steps / (6 * 128), 2, 32);
  segment_steps = std::max(segment_steps, key_steps / (max_segments - 1) + 1);
  segment_keys = static_cast<int>(segment_steps * 128);
  segments = static_cast<int>((key_steps + segment_steps - 1) / segment_steps);

  const auto pooled = static_cast<std::size_t>(shape.kv_heads * tiles) * 64;
  const auto rows = static_cast<std::size_t>(groups.count * shape.q_heads);
  schedule = take(schedule_bytes(shape, region_plan(params)));
  row_anchors = static_cast<float*>(take(static_cast<std::size_t>(shape.q_heads * shape.q_len) * 4));
  high = take(pooled * static_cast<std::size_t>(shape.head_dim) * 2);
  low = take(pooled * static_cast<std::size_t>(shape.head_dim) * 2);
  mean_anchor = static_cast<float*>(take(pooled * anchor_parts * sizeof(float)));
  counts = static_cast<std::int32_t*>(take(rows * 8));
  if (!lists) return;
  bitmap = static_cast<std::uint32_t*>(take(bitmap_bytes * static_cast<std::size_t>(kv_heads_at_once)));
  segment_counts = static_cast<std::int32_t*>(
      take(static_cast<std::size_t>(kv_heads_at_once * units * segments) * 2 * sizeof(std::int32_t)));
}

}  // namespace anchor::kernels
