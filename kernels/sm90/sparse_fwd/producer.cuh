#pragma once

#include "device/ptx.cuh"
#include "sm90/sparse_fwd/config.cuh"

namespace anchor::kernels::sm90 {

/// The warpgroup that takes tiles, turns their lists into key indices and gathers query, key and value rows
/// into shared memory with 16-byte copies.
///
/// Warp w copies tile rows with r % 8 in {2w, 2w+1}: the swizzle of a thread's rows is then one constant, its
/// row steps are immediates, and the indices it needs lie side by side.
///
/// Index slot j % index_slots is rewritten for step j + index_slots. The writer has by then waited for the
/// key stage of step j + index_slots - 1, so the consumers have released step j's keys, which they do after
/// masking.
template <Element element, int head_dim, Mode mode>
class Producer {
  using C = Config<head_dim, mode>;
  using S = Shared<head_dim, mode>;
  static constexpr int chunks = head_dim / 8;                 // of 16 bytes, in a row
  static constexpr int copies = kKeys * chunks / kProducers;  // per thread and tile

 public:
  __device__ Producer(const SparseFwdParams& params, const Schedule& schedule, S& shared)
      : p(params), schedule(schedule), s(shared) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int chunk = lane % chunks, sub = lane / chunks;
    const int row = 2 * warp + (sub & 1);  // r % 8 of every row this thread copies
    first_row = (sub / 2) * (kKeys / 2) + row;
    first_index = row * (kKeys / 8) + first_row / 8;
    source_offset = chunk * 16;
    target_offset = (chunk / 8) * (kKeys * 128) + first_row * 128 + ((chunk % 8) ^ row) * 16;
    key_stride = static_cast<unsigned>(p.stride_kv_token * 2);
  }

  __device__ void run() {
    const int thread = threadIdx.x;
    unsigned ticket = blockIdx.x, next_ticket = 0;
    int word = load_tile_word(ticket);
    take(next_ticket);
    for (unsigned turn = 0;; ++turn) {
      Tile& tile = s.tile[turn & 1];
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
  static constexpr int kTileWords = sizeof(Tile) / 4;

  __device__ __forceinline__ void take(unsigned& ticket) {
    if (threadIdx.x == 0) ticket = gridDim.x + atomicAdd(schedule.ticket, 1u);
  }
  __device__ __forceinline__ unsigned ticket_of(unsigned ticket) {
    return threadIdx.x < 32 ? __shfl_sync(~0u, ticket, 0) : 0;
  }
  __device__ __forceinline__ int load_tile_word(unsigned ticket) {
    if (threadIdx.x >= kTileWords) return 0;
    const std::int64_t tile = ticket < schedule.tiles ? ticket : schedule.tiles;
    return reinterpret_cast<const int*>(schedule.tile + tile)[threadIdx.x];
  }

  /// Reads position `position` of a tile's virtual key list; the lists are [blocks, columns] or [dups].
  struct List {
    const std::int32_t *blocks_end, *columns;
    int block_keys, columns_count;
  };
  __device__ __forceinline__ int load_key(const List& list, int position) {
    if (position < list.block_keys) {
      const int block = position / p.plan.kv_tile;
      return list.blocks_end[-1 - block] + position - block * p.plan.kv_tile;
    }
    position -= list.block_keys;
    return position < list.columns_count ? list.columns[position] : kNoKey;
  }

  /// Publishes the index of the next step: this thread's key and whether its warp needs masks.
  __device__ __forceinline__ void store_key(int key) {
    if (key >= key_end) key = kNoKey;
    bool masked = key > first_position;
    masked |= key >= p.plan.sink && last_position - key >= local && first_position < p.plan.dense_from;
    masked = __any_sync(~0u, masked);
    s.index[index_slot][threadIdx.x] = key;
    if (threadIdx.x % 32 == 0) s.masked[index_slot][threadIdx.x / 32] = masked;
  }

  __device__ __forceinline__ void gather(unsigned target, const char* source, unsigned slot) {
    target += target_offset;
    const int4* index = reinterpret_cast<const int4*>(&s.index[slot][first_index]);
    if (*reinterpret_cast<const unsigned*>(s.masked[slot]) == 0) {
#pragma unroll
      for (int i = 0; i < copies; i += 4) {
        const int4 key = index[i / 4];
        copy16(target + (i + 0) * 1024,
               source + static_cast<std::uint64_t>(static_cast<unsigned>(key.x)) * key_stride);
        copy16(target + (i + 1) * 1024,
               source + static_cast<std::uint64_t>(static_cast<unsigned>(key.y)) * key_stride);
        copy16(target + (i + 2) * 1024,
               source + static_cast<std::uint64_t>(static_cast<unsigned>(key.z)) * key_stride);
        copy16(target + (i + 3) * 1024,
               source + static_cast<std::uint64_t>(static_cast<unsigned>(key.w)) * key_stride);
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < copies; ++i) {
        const int key = s.index[slot][first_index + i];
        const bool valid =
            key < key_end;  // padding rows are zero: their weight is 0, and 0 * garbage may be NaN
        copy16(target + i * 1024,
               source + (valid ? static_cast<std::uint64_t>(static_cast<unsigned>(key)) * key_stride : 0),
               valid);
      }
    }
  }

  __device__ __forceinline__ void copy_queries(const Tile& tile) {
    const char* source =
        static_cast<const char*>(p.q) + source_offset +
        2 * (tile.head * p.stride_q_head + static_cast<std::int64_t>(tile.row) * p.stride_q_token);
    const unsigned target = shared_address(s.queries) + target_offset;
#pragma unroll 1
    for (int i = 0; i < copies; ++i) {
      const int row = first_row + 8 * i;
      const bool valid = row < tile.rows;
      copy16(target + i * 1024, source + (valid ? 2 * row * p.stride_q_token : 0), valid);
    }
    barrier_arrive_after_copies(shared_address(&s.query_full));
    if (threadIdx.x == 0) barrier_arrive(shared_address(&s.query_full));  // releases the tile's record
  }

  __device__ void run_tile(const Tile& tile) {
    first_position = static_cast<int>(p.shape.q_start) + tile.row;
    last_position = first_position + tile.rows - 1;
    key_end = min(static_cast<int>(p.shape.kv_len), last_position + 1);
    local = p.plan.local ? p.plan.local[tile.head] : INT32_MAX;
    const int set = set_steps(tile), steps = set + steps_of(tile.dups);
    const std::int64_t head =
        static_cast<std::int64_t>(tile.head / (p.shape.q_heads / p.shape.kv_heads)) * p.stride_kv_head;
    const char* keys = static_cast<const char*>(p.k) + 2 * head + source_offset;
    const char* values = static_cast<const char*>(p.v) + 2 * head + source_offset;
    // Opaque to the compiler, which else adds the parameter to every address again: one multiply-add a copy
    // instead of three.
    asm volatile("" : "+l"(keys), "+l"(values));

    List list{p.plan.blocks + tile.block_end, p.plan.columns + tile.column_begin, tile.block_keys,
              tile.columns};
    int position = threadIdx.x, left = set;
    int next = load_key(list, position);
    copy_queries(tile);
    const auto advance = [&] {  // loads the key after `next`
      position += kKeys;
      if (--left == 0) {
        list = {nullptr, p.plan.dup + tile.dup_begin, 0, tile.dups};
        position = threadIdx.x;
      }
      return load_key(list, position);
    };
    store_key(next);
    if (steps > 1) next = advance();
    named_barrier<1, kProducers>();

    for (int step = 0; step < steps; ++step) {
      const unsigned slot = index_slot;
      barrier_wait(shared_address(&s.key_empty[key.stage]), key.parity ^ 1);
      gather(shared_address(s.keys[key.stage]), keys, slot);
      barrier_arrive_after_copies(shared_address(&s.key_full[key.stage]));
      key.advance();
      index_slot = (index_slot + 1) % C::index_slots;
      if (step + 1 < steps) {
        store_key(next);
        if (step + 2 < steps) next = advance();
        named_barrier<1, kProducers>();
      }
      if (C::values && step > 0) gather_values(values, (slot + C::index_slots - 1) % C::index_slots);
    }
    if (C::values) gather_values(values, (index_slot + C::index_slots - 1) % C::index_slots);
  }

  __device__ __forceinline__ void gather_values(const char* values, unsigned slot) {
    barrier_wait(shared_address(&s.value_empty[value.stage]), value.parity ^ 1);
    gather(shared_address(s.values[value.stage]), values, slot);
    barrier_arrive_after_copies(shared_address(&s.value_full[value.stage]));
    value.advance();
  }

  const SparseFwdParams& p;
  const Schedule& schedule;
  S& s;
  int first_row, first_index, source_offset, target_offset;
  unsigned key_stride;
  int first_position = 0, last_position = 0, key_end = 0, local = 0;  // of the current tile
  unsigned index_slot = 0;
  Ring<C::stages> key, value;
};

}  // namespace anchor::kernels::sm90
