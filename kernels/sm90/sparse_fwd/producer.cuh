#pragma once

#include "device/ptx.cuh"
#include "sm90/sparse_fwd/config.cuh"

namespace anchor::kernels::sm90 {

/// The warpgroup that takes tiles, turns their lists into key offsets and gathers query, key and value rows
/// into shared memory with 16-byte copies.
///
/// Warp w copies tile rows with r % 8 in {2w, 2w+1}: the swizzle of a thread's rows is then one constant and
/// its row steps are immediates. List position n of a step goes to the row r with (r % 8) * 16 + r / 8 = n,
/// so a warp copies the keys that its own lanes have read, a lane's offsets lie side by side, and warps need
/// not wait for each other.
///
/// Offset slot j % index_slots is rewritten for step j + index_slots. The writer has by then waited for the
/// key stage of step j + index_slots - 1, so the consumers have released step j's keys, which they do after
/// masking.
template <Element element, int head_dim, Mode mode>
class Producer {
  using C = Config<head_dim, mode>;
  using S = Shared<head_dim, mode>;
  using Record = typename C::Record;
  static constexpr bool joined = mode == Mode::joined, corrected = mode == Mode::corrected;
  static constexpr int chunks = head_dim / 8;                 // of 16 bytes, in a row
  static constexpr int copies = kKeys * chunks / kProducers;  // per thread and tile

 public:
  __device__ Producer(const SparseFwdParams& params, const Schedule& schedule, S& shared)
      : p(params), schedule(schedule), s(shared) {
    thread = threadIdx.x;
    const int lane = thread % 32, warp = thread / 32;
    const int chunk = lane % chunks, sub = lane / chunks;
    const int row = 2 * warp + (sub & 1);  // r % 8 of every row this thread copies
    first_row = (sub / 2) * (kKeys / 2) + row;
    first_index = row * (kKeys / 8) + first_row / 8;
    source_offset = chunk * 16;
    target_offset = (chunk / 8) * (kKeys * 128) + first_row * 128 + ((chunk % 8) ^ row) * 16;
    key_stride = static_cast<unsigned>(p.stride_kv_token * 2);
    tiles = schedule.ticket[1];
  }

  __device__ void run() {
    unsigned ticket = blockIdx.x, next_ticket = 0;
    int word = load_tile_word(ticket);
    take(next_ticket);
    for (unsigned turn = 0;; ++turn) {
      Record& tile = s.tile[turn % kTileSlots];
      if (thread < kTileWords) reinterpret_cast<int*>(&tile)[thread] = word;
      named_barrier<1, kProducers>();
      if (turn > 0) barrier_wait(shared_address(&s.query_empty), (turn - 1) & 1);
      if (tile.rows == 0) {
        if (thread == 0) barrier_arrive(shared_address(&s.query_full));
        barrier_arrive(shared_address(&s.query_full));
        return;
      }
      word = load_tile_word(ticket_of(next_ticket));
      take(next_ticket);
      run_tile(tile);
    }
  }

 private:
  static constexpr int kTileWords = sizeof(Record) / 4;

  __device__ __forceinline__ void take(unsigned& ticket) {
    if (thread == 0) ticket = gridDim.x + atomicAdd(schedule.ticket, 1u);
  }
  __device__ __forceinline__ unsigned ticket_of(unsigned ticket) {
    return thread < 32 ? __shfl_sync(~0u, ticket, 0) : 0;
  }
  __device__ __forceinline__ int load_tile_word(unsigned ticket) {
    if (thread >= kTileWords) return 0;
    return reinterpret_cast<const int*>(reinterpret_cast<const Record*>(schedule.tile) +
                                        min(ticket, tiles))[thread];
  }

  /// Walks this thread's positions of a tile's key list, 128 at a time: [blocks, columns], or [dups].
  struct Walk {
    const std::int32_t *block, *columns;  // the block at `position`; columns[position] once past the blocks
    int position, block_keys, end;
    int in_block;
  };
  __device__ __forceinline__ Walk walk_from_start(const TileKeys& keys) {
    Walk walk{p.plan.blocks + keys.block_end - 1,
              p.plan.columns + keys.column_begin - keys.block_keys,
              thread,
              keys.block_keys,
              keys.block_keys + keys.columns,
              thread};
    step_blocks(walk);
    return walk;
  }
  /// A key under way: the sum is taken a step later, so that nothing waits for the load.
  struct Key {
    int loaded, offset;
  };
  __device__ __forceinline__ Key load_key(const Walk& walk) {
    const bool in_block = walk.position < walk.block_keys;
    const std::int32_t* source = in_block ? walk.block : walk.columns + walk.position;
    Key key{kNoKey, in_block ? walk.in_block : 0};
    if (walk.position < walk.end) key.loaded = *source;
    return key;
  }
  __device__ __forceinline__ void step_blocks(Walk& walk) {
    const int blocks = __umulhi(2 * walk.in_block, schedule.kv_tile_reciprocal);  // in_block / kv_tile
    walk.in_block -= blocks * p.plan.kv_tile;
    walk.block -= blocks;
  }

  /// Publishes the next step: this thread's key offset and whether its warp's keys need masks.
  __device__ __forceinline__ void store_key(Key under_way) {
    int key;
    asm volatile("add.s32 %0, %1, %2;" : "=r"(key) : "r"(under_way.loaded), "r"(under_way.offset));
    if (key >= key_end) key = kNoKey;
    bool masked = key > first_position;
    masked |= key >= p.plan.mask_from && key <= window_edge;
    padded_before = padded_now;
    padded_now = __any_sync(~0u, key == kNoKey);
    masked = __any_sync(~0u, masked);
    s.index[index_slot][thread] = key == kNoKey ? kNoOffset : static_cast<unsigned>(key) * key_stride;
    if (thread % 32 == 0) s.masked[index_slot][thread / 32] = masked;
    warp_barrier();
  }

  /// How many keys this thread's mean stands for, in that step of means.
  __device__ __forceinline__ Key load_mean(const Tile& tile, int step) const {
    const int mean = step * kKeys + thread;
    const std::uint8_t* unlisted = schedule.means.unlisted + tile.means_row * schedule.means.count;
    return {mean < tile.trailing ? unlisted[mean] : 0, 0};
  }
  /// Publishes the next step of means: what their scores gain, in units of a product.
  __device__ __forceinline__ void store_mean(int unlisted) {
    const float gain = __log2f(static_cast<float>(unlisted)) / (p.shape.softmax_scale * 1.44269504f);
    padded_before = padded_now;
    padded_now = false;
    s.index[index_slot][thread] = __float_as_uint(gain);
    if (thread % 32 == 0) s.masked[index_slot][thread / 32] = kMeans;
    warp_barrier();
  }
  /// Rows that lie side by side in memory in the order of list positions.
  __device__ __forceinline__ void gather_means(unsigned target, const char* source, int step) {
    constexpr unsigned row_bytes = 2 * head_dim;
    source += (step * kKeys + first_index) * row_bytes;
    target += target_offset;
#pragma unroll
    for (int i = 0; i < copies; i += 8)
      copy16_eight<1024>(target + i * 1024, source + i * row_bytes,
                         make_uint4(0, row_bytes, 2 * row_bytes, 3 * row_bytes),
                         make_uint4(4 * row_bytes, 5 * row_bytes, 6 * row_bytes, 7 * row_bytes));
  }

  /// __syncwarp, in a form from which the compiler sees that the warp runs together: it then keeps stages and
  /// barriers in uniform registers.
  __device__ __forceinline__ void warp_barrier() const {
    asm volatile("bar.sync %0, 32;" ::"r"(2 + thread / 32) : "memory");
  }

  __device__ __forceinline__ void gather(unsigned target, const char* source, unsigned slot, bool padded) {
    target += target_offset;
    const uint4* index = reinterpret_cast<const uint4*>(&s.index[slot][first_index]);
    if (!padded) {
      uint4 offset[copies / 4];
#pragma unroll
      for (int i = 0; i < copies / 4; ++i) offset[i] = index[i];
#pragma unroll
      for (int i = 0; i < copies; i += 8)
        copy16_eight<1024>(target + i * 1024, source, offset[i / 4], offset[i / 4 + 1]);
    } else {
      // Padding rows are zero: their weight is 0, and 0 * garbage may be NaN.
#pragma unroll 2
      for (int i = 0; i < copies; i += 4) {
        const uint4 offset = index[i / 4];
        copy_or_zero(target + i * 1024, source, offset.x);
        copy_or_zero(target + (i + 1) * 1024, source, offset.y);
        copy_or_zero(target + (i + 2) * 1024, source, offset.z);
        copy_or_zero(target + (i + 3) * 1024, source, offset.w);
      }
    }
  }
  static __device__ __forceinline__ void copy_or_zero(unsigned target, const char* source, unsigned offset) {
    const bool valid = offset != kNoOffset;
    copy16(target, source + (valid ? offset : 0), valid);
  }

  /// Copies tile rows that lie side by side in memory; rows past the tile's end become zeros.
  __device__ __forceinline__ void copy_rows(unsigned target, const void* matrix, const Tile& tile,
                                            std::int64_t stride_head, std::int64_t stride_token) {
    const char* source = static_cast<const char*>(matrix) + source_offset +
                         2 * (tile.head * stride_head + (tile.row + first_row) * stride_token);
    target += target_offset;
    const unsigned stride = static_cast<unsigned>(16 * stride_token);  // of 8 rows, in bytes
    if (tile.rows == kTileRows) {
#pragma unroll
      for (int i = 0; i < copies; i += 8)
        copy16_eight<1024>(
            target + i * 1024, source,
            make_uint4(i * stride, (i + 1) * stride, (i + 2) * stride, (i + 3) * stride),
            make_uint4((i + 4) * stride, (i + 5) * stride, (i + 6) * stride, (i + 7) * stride));
    } else {
#pragma unroll 2
      for (int i = 0; i < copies; ++i)
        copy_or_zero(target + i * 1024, source, first_row + 8 * i < tile.rows ? i * stride : kNoOffset);
    }
  }

  /// The rows of the heads that share a tile, above each other.
  __device__ __forceinline__ void copy_joined_queries(const JoinedTile& tile) {
    const unsigned target = shared_address(s.queries) + target_offset;
#pragma unroll 2
    for (int i = 0; i < copies; ++i) {
      const int head = (first_row + 8 * i) / p.plan.q_tile, row = (first_row + 8 * i) % p.plan.q_tile;
      const bool valid = row < tile.rows;
      const std::int64_t from =
          valid ? (tile.head + head) * p.stride_q_head + (tile.row + row) * p.stride_q_token : 0;
      copy16(target + i * 1024, static_cast<const char*>(p.q) + source_offset + 2 * from, valid);
    }
  }

  __device__ __forceinline__ void copy_queries(const Record& tile) {
    if constexpr (joined)
      copy_joined_queries(tile);
    else
      copy_rows(shared_address(s.queries), p.q, tile, p.stride_q_head, p.stride_q_token);
    barrier_arrive_after_copies(shared_address(&s.query_full));
    if (thread == 0) barrier_arrive(shared_address(&s.query_full));  // releases the tile's record
  }

  __device__ void run_tile(const Record& tile) {
    first_position = static_cast<int>(p.shape.q_start) + tile.row;
    const int last_position = first_position + tile.rows - 1;
    key_end = min(static_cast<int>(p.shape.kv_len), last_position + 1);
    window_edge = -1;
    if (p.plan.local && first_position < p.plan.dense_from)
      window_edge = last_position - p.plan.local[tile.head];
    if (p.shape.sliding_window > 0)
      window_edge = max(window_edge, last_position - static_cast<int>(p.shape.sliding_window));
    const int set = set_steps(tile);
    int steps = set;
    if constexpr (joined)
      steps += steps_of(tile.own[0]) + steps_of(tile.own[1]);
    else
      steps += steps_of(tile.trailing);
    const int kv_head = tile.head / (p.shape.q_heads / p.shape.kv_heads);
    const std::int64_t head = kv_head * p.stride_kv_head;
    const char* keys = static_cast<const char*>(p.k) + 2 * head + source_offset;
    const char* values = static_cast<const char*>(p.v) + 2 * head + source_offset;
    // Opaque to the compiler, which else adds the parameter to every address again: one multiply-add a copy
    // instead of three.
    asm volatile("" : "+l"(keys), "+l"(values));

    Walk walk = walk_from_start(tile);
    Key next = load_key(walk);
    copy_queries(tile);
    int left = set, rest_left = 0;
    Walk rest{};
    const auto advance = [&](int step) {  // loads the key after `next`, of that step
      walk.position += kKeys;
      walk.in_block += kKeys;
      step_blocks(walk);
      --left;
      if constexpr (joined) {
        if (step == set) {
          walk = walk_from_start(tile.own[1]), left = steps_of(tile.own[1]);
          rest = walk_from_start(tile.own[0]), rest_left = steps_of(tile.own[0]);
        }
        if (rest_left > 0) {  // the warpgroups take turns
          const Walk turn = walk;
          const int turn_left = left;
          walk = rest, left = rest_left;
          rest = turn, rest_left = turn_left;
        }
      } else if constexpr (corrected) {
        if (step >= set) return load_mean(tile, step - set);
      } else {
        if (left == 0) walk = {nullptr, p.plan.dup + tile.dup_begin, thread, 0, tile.trailing, 0};
      }
      return load_key(walk);
    };
    // Steps from `set` on are means, if there are any.
    const char *mean_keys = nullptr, *mean_values = nullptr;
    if constexpr (corrected) {
      const std::int64_t first = 2 * head_dim * schedule.means.count * kv_head + source_offset;
      mean_keys = static_cast<const char*>(schedule.means.k) + first;
      mean_values = static_cast<const char*>(schedule.means.v) + first;
    }
    const auto gather_step = [&](unsigned target, const char* source, const char* means, int step,
                                 unsigned slot, bool padded) {
      if (corrected && step >= set)
        gather_means(target, means, step - set);
      else
        gather(target, source, slot, padded);
    };
    const auto gather_values = [&](int step, unsigned slot, bool padded) {
      const unsigned empty = shared_address(&s.value_empty[value.stage]);
      barrier_wait(empty, value.parity ^ 1);
      stand_in(empty, step >= set);
      gather_step(shared_address(s.values[value.stage]), values, mean_values, step, slot, padded);
      barrier_arrive_after_copies(shared_address(&s.value_full[value.stage]));
      value.advance();
    };
    store_key(next);
    if (steps > 1) next = advance(1);

    for (int step = 0; step < steps; ++step) {
      const unsigned slot = index_slot;
      barrier_wait(shared_address(&s.key_empty[key.stage]), key.parity ^ 1);
      stand_in(shared_address(&s.key_empty[key.stage]), step >= set);
      gather_step(shared_address(s.keys[key.stage]), keys, mean_keys, step, slot, padded_now);
      barrier_arrive_after_copies(shared_address(&s.key_full[key.stage]));
      // That arrival waits for the copies but does not release ordinary stores: this one hands over the
      // warp's offsets.
      if (thread % 32 == 0) barrier_arrive(shared_address(&s.key_full[key.stage]));
      key.advance();
      index_slot = C::next_slot(index_slot);
      const bool padded = padded_before;
      if (step + 1 < steps) {
        if (corrected && step + 1 >= set)
          store_mean(next.loaded);
        else
          store_key(next);
        if (step + 2 < steps) next = advance(step + 2);
      } else {
        padded_before = padded_now;
      }
      if (C::values && step > 0) gather_values(step - 1, C::previous_slot(slot), padded);
    }
    if (C::values) gather_values(steps - 1, C::previous_slot(index_slot), padded_before);
    if constexpr (C::goes_on) {  // the earlier pass's output follows the values
      barrier_wait(shared_address(&s.value_empty[value.stage]), value.parity ^ 1);
      copy_rows(shared_address(s.values[value.stage]), p.out, tile, p.stride_out_head, p.stride_out_token);
      barrier_arrive_after_copies(shared_address(&s.value_full[value.stage]));
      value.advance();
    }
  }

  /// A step of one warpgroup alone: the other one passes by and never frees the stage.
  __device__ __forceinline__ void stand_in(unsigned stage_empty, bool alone) {
    if (joined && thread == 0 && alone) barrier_arrive(stage_empty, kConsumerWarps / 2);
  }

  const SparseFwdParams& p;
  const Schedule& schedule;
  S& s;
  int thread, first_row, first_index, source_offset, target_offset;
  unsigned key_stride, tiles;
  // Of the current tile: keys up to window_edge, those before mask_from aside, may be hidden from its last
  // row.
  int first_position = 0, key_end = 0, window_edge = 0;
  unsigned index_slot = 0;
  bool padded_now = false,
       padded_before = false;  // the last two published steps: has this warp padding rows?
  Ring<C::stages> key, value;
};

}  // namespace anchor::kernels::sm90
