#pragma once

#include "common/schedule/schedule.hpp"

namespace anchor::kernels {

constexpr int kScheduleThreads = 1024;
constexpr int kScheduleBuckets = 1024;  // one per thread

/// Longer work gets a lower bucket; 32 buckets per factor of two.
__device__ inline int bucket_of(std::int64_t keys) {
  const int log32 = (__float_as_int(static_cast<float>(keys + 1)) >> 18) - (127 << 5);
  return kScheduleBuckets - 1 - min(log32, kScheduleBuckets - 1);
}

/// Number of entries of the sorted list[0, count) below `end`. Most lists end before their tile does.
__device__ inline int count_below(const std::int32_t* list, std::int64_t count, std::int64_t end) {
  if (count == 0 || list[count - 1] < end) return static_cast<int>(count);
  std::int64_t low = 0, high = count - 1;  // list[high] >= end
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (list[middle] < end)
      low = middle + 1;
    else
      high = middle;
  }
  return static_cast<int>(low);
}

/// Counting sort by length, by one block of kScheduleThreads: place[r] becomes the first tile of row r among
/// those of `rows` rows. Returns, in the last thread, the number of tiles.
template <class Keys, class Tiles>
__device__ inline int place_rows(int rows, const Keys& keys_of_row, const Tiles& tiles_of_row,
                                 std::int32_t* place) {
  __shared__ int start[kScheduleBuckets];
  __shared__ int warp_sum[kScheduleThreads / 32];
  const int thread = threadIdx.x;
  const auto bucket_of_row = [&](int r) { return bucket_of(keys_of_row(r)); };
  start[thread] = 0;
  __syncthreads();
  for (int r = thread; r < rows; r += kScheduleThreads) atomicAdd(&start[bucket_of_row(r)], tiles_of_row(r));
  __syncthreads();

  // Exclusive scan of the buckets.
  const int own = start[thread];
  int sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(~0u, sum, step);
    if (thread % 32 >= step) sum += other;
  }
  if (thread % 32 == 31) warp_sum[thread / 32] = sum;
  __syncthreads();
  for (int w = 0; w < thread / 32; ++w) sum += warp_sum[w];
  start[thread] = sum - own;
  __syncthreads();

  for (int r = thread; r < rows; r += kScheduleThreads)
    place[r] = atomicAdd(&start[bucket_of_row(r)], tiles_of_row(r));
  return sum;  // the end of the thread's bucket
}

/// What one block of kScheduleThreads does, one for each segment: its plan rows in the order of their length,
/// then one thread per tile. See run_schedule.
__device__ inline void fill_schedule(const Shape& shape, const PlanParams& plan, const Schedule& schedule,
                                     bool skip_empty, int segment) {
  const int thread = threadIdx.x;
  const int heads = shape.q_heads / schedule.segments;
  const int groups = static_cast<int>(plan.groups);
  const std::int64_t first_row = std::int64_t{segment} * heads * groups;
  const int rows = heads * groups;
  const int last_group_tiles = schedule.tiles_per_head - (groups - 1) * schedule.tiles_per_group;

  const auto means_of_row = [&](int r) {  // before its first tile
    const std::int64_t g = (r % groups + groups) % groups;
    const std::int64_t first = shape.q_start + g * plan.q_tile * plan.tiles_per_row;
    return static_cast<int>(min(first, shape.kv_len) / schedule.means.block);
  };
  const auto keys_of_row = [&](int r) {
    const std::int64_t row = first_row + r;
    std::int64_t keys = 0;
    if (plan.block_offsets) keys += (plan.block_offsets[row + 1] - plan.block_offsets[row]) * plan.kv_tile;
    if (plan.column_offsets)
      keys +=
          max(plan.column_offsets[row + 1] - plan.column_offsets[row] - schedule.leading, std::int64_t{0});
    if (plan.dup_offsets) keys += plan.dup_offsets[row + 1] - plan.dup_offsets[row];
    if (schedule.means.block) keys += means_of_row(r);
    return keys;
  };
  const auto tiles_of_row = [&](int r) {  // r < 0: a row of an earlier segment
    if (skip_empty && keys_of_row(r) == 0) return 0;
    return (r % groups + groups) % groups == groups - 1 ? last_group_tiles : schedule.tiles_per_group;
  };

  // Tiles of the segments before.
  __shared__ int before;
  if (thread == 0) before = 0;
  __syncthreads();
  if (skip_empty) {
    int sum = 0;
    for (int r = -1 - thread; r >= -first_row; r -= kScheduleThreads) sum += tiles_of_row(r);
    sum = __reduce_add_sync(~0u, sum);
    if (thread % 32 == 0) atomicAdd(&before, sum);
    __syncthreads();
  }
  const std::int64_t first_tile =
      skip_empty ? before : std::int64_t{segment} * heads * schedule.tiles_per_head;

  const int sum = place_rows(rows, keys_of_row, tiles_of_row, schedule.place + first_row);
  if (segment == schedule.segments - 1 && thread == kScheduleThreads - 1) {
    const std::int64_t tiles = first_tile + sum;  // the last bucket's end
    schedule.ticket[0] = 0;
    schedule.ticket[1] = static_cast<unsigned>(tiles);
    schedule.tile[tiles] = Tile{};
  }
  __syncthreads();

  for (int t = thread; t < heads * schedule.tiles_per_head; t += kScheduleThreads) {
    const int head = t / schedule.tiles_per_head, in_head = t % schedule.tiles_per_head;
    const int group = in_head / schedule.tiles_per_group, in_group = in_head % schedule.tiles_per_group;
    const int r = head * groups + group;
    if (skip_empty && keys_of_row(r) == 0) continue;
    const std::int64_t row = first_row + r;
    const std::int64_t group_rows = static_cast<std::int64_t>(plan.q_tile) * plan.tiles_per_row;
    const std::int64_t begin = group * group_rows + static_cast<std::int64_t>(in_group) * kTileRows;
    const std::int64_t end = min(min(begin + kTileRows, (group + 1) * group_rows), shape.q_len);
    const std::int64_t visible = shape.q_start + end;  // keys before this may be seen

    Tile tile;
    tile.head = segment * heads + head;
    tile.row = static_cast<int>(begin);
    tile.rows = static_cast<int>(end - begin);
    if (plan.block_offsets) {
      const std::int64_t first = plan.block_offsets[row];
      const int blocks = count_below(plan.blocks + first, plan.block_offsets[row + 1] - first, visible);
      tile.block_end = first + blocks;
      tile.block_keys = blocks * plan.kv_tile;
    }
    if (plan.column_offsets) {
      tile.column_begin = min(plan.column_offsets[row] + schedule.leading, plan.column_offsets[row + 1]);
      tile.columns = count_below(plan.columns + tile.column_begin,
                                 plan.column_offsets[row + 1] - tile.column_begin, visible);
    }
    if (plan.dup_offsets) {
      tile.dup_begin = plan.dup_offsets[row];
      tile.trailing =
          count_below(plan.dup + tile.dup_begin, plan.dup_offsets[row + 1] - tile.dup_begin, visible);
    }
    if (schedule.means.block) {
      tile.means_row = row;
      tile.trailing = means_of_row(r);
    }
    // The last tile of a group is its longest: it comes first.
    schedule.tile[first_tile + schedule.place[row] + tiles_of_row(r) - 1 - in_group] = tile;
  }
}

}  // namespace anchor::kernels
