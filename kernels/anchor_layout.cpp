#include "anchor_layout.hpp"

#include <algorithm>

#include "schedule.hpp"

namespace anchor::kernels {

PlanParams anchor_region(const AnchorParams& params) {
  PlanParams plan;
  plan.q_tile = plan.kv_tile = params.block;
  plan.tiles_per_row = params.step;
  plan.groups = AnchorGroups(params).count;
  plan.block_offsets = params.block_offsets;
  plan.blocks = params.blocks;
  return plan;
}

AnchorLayout::AnchorLayout(const AnchorParams& params, void* workspace) {
  const Shape& shape = params.shape;
  const AnchorGroups groups(params);
  while (slots < params.step) slots *= 2;
  units_per_tile = 64 / slots;
  heads_per_kv = shape.q_heads / shape.kv_heads;
  units = groups.count * heads_per_kv;
  tiles = (units + units_per_tile - 1) / units_per_tile;
  tiles += tiles % 2;
  words = (shape.kv_len + 127) / 128 * 4;
  const std::size_t bitmap_bytes = static_cast<std::size_t>(units * words) * 4;  // of one KV head
  constexpr std::size_t at_once = 64 << 20;
  kv_heads_at_once = static_cast<int>(
      std::clamp<std::size_t>(at_once / bitmap_bytes, 1, static_cast<std::size_t>(shape.kv_heads)));

  auto* base = static_cast<std::byte*>(workspace);
  const auto take = [&](std::size_t size) {
    std::byte* place = base + bytes;
    bytes += (size + 255) / 256 * 256;
    return static_cast<void*>(place);
  };
  const auto pooled = static_cast<std::size_t>(shape.kv_heads * tiles) * 64;
  const auto rows = static_cast<std::size_t>(groups.count * shape.q_heads);
  schedule = take(schedule_bytes(shape, anchor_region(params)));
  row_anchors = static_cast<float*>(take(static_cast<std::size_t>(shape.q_heads * shape.q_len) * 4));
  high = take(pooled * static_cast<std::size_t>(shape.head_dim) * 2);
  low = take(pooled * static_cast<std::size_t>(shape.head_dim) * 2);
  mean_anchor = static_cast<float*>(take(pooled * 4));
  bitmap = static_cast<std::uint32_t*>(
      take(params.critical ? 0 : bitmap_bytes * static_cast<std::size_t>(kv_heads_at_once)));
  counts = static_cast<std::int32_t*>(take(rows * 8));
  ticket = static_cast<unsigned*>(take(4));
}

}  // namespace anchor::kernels
