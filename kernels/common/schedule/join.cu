#include "common/schedule/join.hpp"
#include "common/schedule/schedule.cuh"
#include "device/launch.cuh"

namespace anchor::kernels {
namespace {

/// The plan rows [first, first + count) that make one tile.
struct PlanRows {
  std::int64_t first;
  int count;
  __device__ PlanRows(const PlanParams& plan, const Join& join, std::int64_t tile) {
    const std::int64_t head = tile / join.plan.groups * join.heads,
                       group = tile % join.plan.groups * join.rows;
    first = head * plan.groups + group;
    count = static_cast<int>(min(static_cast<std::int64_t>(join.rows), plan.groups - group));
  }
};

__global__ void __launch_bounds__(kScheduleThreads) place_kernel(PlanParams plan, Join join) {
  begin_kernel();
  const Schedule& schedule = join.schedule;
  const int rows = static_cast<int>(schedule.tiles / schedule.segments);
  const std::int64_t first_tile = std::int64_t{blockIdx.x} * rows;
  const auto keys = [&](int r) {
    const PlanRows of(plan, join, first_tile + r);
    return (plan.block_offsets[of.first + of.count] - plan.block_offsets[of.first]) * plan.kv_tile +
           plan.column_offsets[of.first + of.count] - plan.column_offsets[of.first];
  };
  place_rows(
      rows, keys, [](int) { return 1; }, schedule.place + first_tile);
  if (blockIdx.x > 0 || threadIdx.x > 0) return;
  schedule.ticket[0] = 0;
  schedule.ticket[1] = static_cast<unsigned>(schedule.tiles);
  reinterpret_cast<JoinedTile*>(schedule.tile)[schedule.tiles] = JoinedTile{};
}

/// One warp takes an ascending list apart: entries that the other list has too go to the front of `common` if
/// that is given, the rest to `alone`, up from its begin or down from its end. Returns the number of the
/// rest.
template <bool downwards>
__device__ int take_apart(const std::int32_t* list, int count, const std::int32_t* other, int other_count,
                          std::int32_t* common, std::int32_t* alone) {
  constexpr int each = 4;  // entries of a lane at a time: their searches overlap
  const int lane = threadIdx.x % 32;
  const unsigned before = (1u << lane) - 1;
  int shared = 0, rest = 0;
  for (int first = 0; first < count; first += 32 * each) {
    std::int32_t item[each];
    int place[each] = {};  // entries of the other list below the item
#pragma unroll
    for (int n = 0; n < each; ++n) item[n] = list[min(first + 32 * n + lane, count - 1)];
    for (int step = other_count > 0 ? 1 << (31 - __clz(other_count)) : 0; step > 0; step /= 2)
#pragma unroll
      for (int n = 0; n < each; ++n)
        if (place[n] + step <= other_count && other[place[n] + step - 1] < item[n]) place[n] += step;
#pragma unroll
    for (int n = 0; n < each; ++n) {
      const bool valid = first + 32 * n + lane < count;
      const bool found = valid && place[n] < other_count && other[place[n]] == item[n];
      const unsigned all_found = __ballot_sync(~0u, found), all_rest = __ballot_sync(~0u, valid && !found);
      if (found && common) common[shared + __popc(all_found & before)] = item[n];
      const int at = rest + __popc(all_rest & before);
      if (valid && !found) alone[downwards ? -1 - at : at] = item[n];
      shared += __popc(all_found);
      rest += __popc(all_rest);
    }
  }
  return rest;
}

/// Block x makes a tile. Its warps: blocks of the first and of the second plan row, columns of them. What the
/// first row lists makes way for [common, its own], what the second lists for [its own].
__global__ void __launch_bounds__(128) join_kernel(PlanParams plan, Join join, std::int64_t q_len) {
  begin_kernel();
  const Schedule& schedule = join.schedule;
  const std::int64_t per_segment = schedule.tiles / schedule.segments;
  const PlanRows of(plan, join, blockIdx.x);
  const int warp = threadIdx.x / 32, side = warp % 2;
  const bool columns = warp >= 2;
  const std::int64_t* offsets = (columns ? plan.column_offsets : plan.block_offsets) + of.first;
  const std::int64_t begin = offsets[0], middle = offsets[1], end = offsets[of.count];
  const int count[2] = {static_cast<int>(middle - begin), static_cast<int>(end - middle)};
  __shared__ int own[4];
  if (of.count == 2) {
    const std::int32_t* list = (columns ? plan.columns : plan.blocks) + begin;
    std::int32_t* to = (columns ? join.columns : join.blocks) + begin;
    const int rest =
        side == 0 ? take_apart<true>(list, count[0], list + count[0], count[1], to, to + count[0])
                  : take_apart<false>(list + count[0], count[1], list, count[0], nullptr, to + count[0]);
    if (threadIdx.x % 32 == 0) own[warp] = rest;
  } else if (join.rows == 2 && side == 0) {  // a last row without a partner
    for (std::int64_t n = begin + threadIdx.x % 32; n < end; n += 32)
      (columns ? join.columns : join.blocks)[n] = (columns ? plan.columns : plan.blocks)[n];
  }
  if (of.count == 1 && threadIdx.x % 32 == 0) own[warp] = 0;
  __syncthreads();
  if (threadIdx.x > 0) return;

  const std::int64_t first_block = begin, first_column = plan.column_offsets[of.first];
  const int blocks = count[0] - own[0];
  const int all_columns = static_cast<int>(plan.column_offsets[of.first + 1] - first_column);
  const auto keys = [&](std::int64_t block_end, int block_count, std::int64_t column, int column_count) {
    TileKeys made;
    made.block_end = block_end;
    made.block_keys = block_count * plan.kv_tile;
    made.column_begin = column;
    made.columns = column_count;
    return made;
  };
  JoinedTile tile;
  static_cast<TileKeys&>(tile) = keys(first_block + blocks, blocks, first_column, all_columns - own[2]);
  tile.own[0] = keys(middle, own[0], first_column + all_columns - own[2], own[2]);
  tile.own[1] = keys(middle + own[1], own[1], first_column + all_columns, own[3]);
  tile.head = static_cast<int>(blockIdx.x / join.plan.groups) * join.heads;
  tile.row = static_cast<int>(blockIdx.x % join.plan.groups) * join.plan.q_tile;
  tile.rows = static_cast<int>(min(static_cast<std::int64_t>(join.plan.q_tile), q_len - tile.row));
  const std::int64_t first_tile = blockIdx.x / per_segment * per_segment;
  reinterpret_cast<JoinedTile*>(schedule.tile)[first_tile + schedule.place[blockIdx.x]] = tile;
}

}  // namespace

void run_join(const PlanParams& plan, const Join& join, CUstream_st* stream) {
  launch("place_kernel", place_kernel, static_cast<unsigned>(join.schedule.segments), kScheduleThreads, 0,
         stream, plan, join);
  launch("join_kernel", join_kernel, static_cast<unsigned>(join.schedule.tiles), 128, 0, stream, plan, join,
         join.shape.q_len);
}

}  // namespace anchor::kernels
