#include "common/schedule/join.hpp"

namespace anchor::kernels {
namespace {

constexpr std::int64_t half_tile = kTileRows / 2;

std::int64_t rows_of(const PlanParams& plan) { return std::int64_t{plan.q_tile} * plan.tiles_per_row; }

bool packs(const Shape& shape, const PlanParams& plan) {
  constexpr int fragment = 16;  // a thread's two rows lie in one
  return plan.packed_heads > 1 && shape.q_heads / shape.kv_heads % plan.packed_heads == 0 &&
         rows_of(plan) * plan.packed_heads == kTileRows && rows_of(plan) % fragment == 0;
}

Shape packed_shape(Shape shape, int heads) {
  shape.q_heads /= heads;
  return shape;
}

PlanParams joined_plan(const Shape& shape, PlanParams plan, int rows) {
  plan.q_tile = static_cast<int>(rows_of(plan)) * rows;
  plan.tiles_per_row = 1;
  plan.groups = (shape.q_len + plan.q_tile - 1) / plan.q_tile;
  return plan;
}

}  // namespace

bool can_join(const Shape& shape, const PlanParams& plan) {
  if (plan.dup_offsets || plan.local || shape.sliding_window > 0 || !plan.block_offsets ||
      !plan.column_offsets)
    return false;
  return packs(shape, plan) ||
         (rows_of(plan) == half_tile && plan.block_capacity >= 0 && plan.column_capacity >= 0);
}

Join::Join(const Shape& shape_, const PlanParams& plan_, void* workspace)
    : rows(packs(shape_, plan_) ? 1 : 2),
      heads(rows == 1 ? plan_.packed_heads : 1),
      shape(packed_shape(shape_, heads)),
      plan(joined_plan(shape_, plan_, rows)),
      schedule(shape, plan, workspace, sizeof(JoinedTile)),
      bytes(schedule.bytes) {
  if (rows == 1) return;
  auto* const base = static_cast<std::byte*>(workspace);
  blocks = reinterpret_cast<std::int32_t*>(base + bytes);
  bytes += sizeof(std::int32_t) * static_cast<std::size_t>(plan.block_capacity);
  columns = reinterpret_cast<std::int32_t*>(base + bytes);
  bytes += sizeof(std::int32_t) * static_cast<std::size_t>(plan.column_capacity);
  plan.blocks = blocks;
  plan.columns = columns;
}

}  // namespace anchor::kernels
