#pragma once

#include "device/element.cuh"
#include "device/fragments.cuh"
#include "device/wgmma.cuh"

// A QK pass on Hopper: each of three warpgroups keeps 64 rows of one operand in registers; a fourth one
// streams tiles of 128 rows of the other through shared memory. While one warpgroup works on its scores, the
// others' products run.
namespace anchor::kernels::sm90 {

constexpr int stream_rows = 128;  ///< of a tile
constexpr int stream_groups = 3;  ///< consumer warpgroups
constexpr int resident_rows = 64 * stream_groups;
constexpr int stream_threads = 128 + 128 * stream_groups;
constexpr int stream_stages = 4;

/// Tiles lie as [head_dim / 64][128 rows][64] with the 128-byte swizzle.
template <int head_dim>
struct alignas(1024) StreamShared {
  static constexpr int tile_bytes = stream_rows * head_dim * 2;
  unsigned char tile[stream_stages][tile_bytes];
  alignas(16) float shift[stream_stages][stream_rows];  ///< pass 2: log2 e * lse of the tile's rows
  alignas(8) std::uint64_t full[stream_stages], empty[stream_stages];
};

/// Initialises the barriers, then splits the block into the two roles.
template <int head_dim, class Produce, class Consume>
__device__ __forceinline__ void run_stream(StreamShared<head_dim>& s, int full_arrivals, Produce produce,
                                           Consume consume) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < stream_stages; ++i) {
      barrier_init(shared_address(&s.full[i]), full_arrivals);
      barrier_init(shared_address(&s.empty[i]), 4 * stream_groups);
    }
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    lower_registers<32>();
    produce();
  } else {
    raise_registers<160>();
    consume();
  }
}

/// A position in the ring.
struct StreamSlot {
  int stage = 0;
  unsigned parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == stream_stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/// A producer thread's share of a tile: one 16-byte column of every row_step-th row.
template <int head_dim>
struct StreamCopy {
  static constexpr int columns = head_dim / 8, row_step = 128 / columns;
  const char* base;
  std::int64_t row_bytes;
  unsigned offset;
  int row;

  __device__ StreamCopy(const void* matrix, std::int64_t stride) : row_bytes(stride * 2) {
    const int column = threadIdx.x % columns;
    row = threadIdx.x / columns;
    base = static_cast<const char*>(matrix) + column * 16;
    offset = column / 8 * (stream_rows * 128) + row * 128 + ((column % 8 ^ row % 8) << 4);
  }
  /// Rows [begin, end) of the matrix to the tile's first rows; zeros in the others.
  __device__ __forceinline__ void copy(unsigned tile, int begin, int end) const {
#pragma unroll
    for (int i = 0; i < stream_rows; i += row_step) {
      const int at = begin + row + i;
      copy16(tile + offset + i * 128, base + (at < end ? at : 0) * row_bytes, at < end);
    }
  }
};

/// Walks `tiles` tiles of scores; `use(scores, stage)` gets each in turn. A warpgroup without rows only lets
/// the tiles pass.
template <Element element, int head_dim, class Use>
__device__ __forceinline__ void consume_stream(StreamShared<head_dim>& s,
                                               const unsigned (&rows)[1][head_dim / 16][4], int tiles,
                                               bool has_rows, Use use) {
  StreamSlot slot;
  float score[64];
#pragma unroll 1
  for (; tiles > 0; --tiles) {
    barrier_wait(shared_address(&s.full[slot.stage]), slot.parity);
    if (has_rows) {
      fence_proxy_async();
      wgmma_fence();
      pin(score);
      const WgmmaDescriptor tile(shared_address(s.tile[slot.stage]), 16, 1024);
#pragma unroll
      for (int k = 0; k < head_dim / 16; ++k)
        wgmma<element, 0>(score, rows[0][k], tile.at((k / 4) * (stream_rows * 128) + (k % 4) * 32), k > 0);
      wgmma_commit();
      wgmma_wait<0>();
      pin(score);
      use(score, slot.stage);
    }
    __syncwarp();
    if (threadIdx.x % 32 == 0) barrier_arrive(shared_address(&s.empty[slot.stage]));
    slot.next();
  }
}

}  // namespace anchor::kernels::sm90
