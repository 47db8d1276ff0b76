#include "common/schedule/schedule.hpp"

namespace anchor::kernels {

Schedule::Schedule(const Shape& shape, const PlanParams& plan, void* workspace, std::size_t tile_bytes) {
  const std::int64_t group_rows = std::int64_t{plan.q_tile} * plan.tiles_per_row;
  const std::int64_t last_rows = shape.q_len - (plan.groups - 1) * group_rows;
  tiles_per_group = static_cast<std::int32_t>((group_rows + kTileRows - 1) / kTileRows);
  tiles_per_head = static_cast<std::int32_t>((plan.groups - 1) * tiles_per_group +
                                             (last_rows + kTileRows - 1) / kTileRows);
  tiles = std::int64_t{tiles_per_head} * shape.q_heads;
  rows = plan.groups * shape.q_heads;
  // Half of the smallest cache of a data-centre card: beyond it, heads that run side by side evict each
  // other's keys.
  constexpr std::int64_t cached_bytes = 32 << 20;
  const std::int64_t kv_bytes = std::int64_t{4} * shape.kv_heads * shape.kv_len * shape.head_dim;
  segments = kv_bytes <= cached_bytes ? 1 : shape.kv_heads;

  kv_tile_reciprocal =
      ((1u << 31) + static_cast<unsigned>(plan.kv_tile) - 1) / static_cast<unsigned>(plan.kv_tile);

  auto* base = static_cast<std::byte*>(workspace);
  ticket = reinterpret_cast<unsigned*>(base);
  tile = reinterpret_cast<Tile*>(base + 16);
  const std::size_t place_at = 16 + tile_bytes * (static_cast<std::size_t>(tiles) + 1);
  place = reinterpret_cast<std::int32_t*>(base + place_at);
  bytes = place_at + sizeof(std::int32_t) * static_cast<std::size_t>(rows);
}

std::size_t schedule_bytes(const Shape& shape, const PlanParams& plan) {
  return Schedule(shape, plan, nullptr).bytes;
}

}  // namespace anchor::kernels
