#pragma once

#include "device/fragments.cuh"
#include "sm80/primitives.cuh"

// Pieces that all portable kernels share: a warp keeps 16 or 32 rows of one operand in registers and
// multiplies them with tiles of `rows` x `head_dim` that pass through shared memory.
namespace anchor::kernels::sm80 {

/// How a CTA of 128 resident rows is cut into warps.
template <int head_dim>
struct Warps {
  // 32 rows a warp halve the shared-memory reads per product; at 256 dimensions only 16 fit the registers.
  static constexpr int rows = head_dim <= 128 ? 32 : 16;
  static constexpr int count = 128 / rows;
  static constexpr int threads = count * 32;
  static constexpr int m_tiles = rows / 16;
};

/// Shared-memory layout of a tile: rows of head_dim 16-bit elements, 16-byte columns XORed with the row
/// modulo 8, so that neither copies nor ldmatrix meet bank conflicts. Tiles are aligned to 1024 bytes.
template <int head_dim, int threads>
struct TileCopy {
  static constexpr int row_bytes = head_dim * 2;
  static constexpr int columns = row_bytes / 16,
                       step = threads / columns;  ///< a thread owns one column of every step-th row

  int row = threadIdx.x / columns, column = threadIdx.x % columns;
  /// Where the thread's row + i goes, in bytes from the tile's start.
  __device__ __forceinline__ unsigned offset(int i = 0) const {
    const int at = step % 8 == 0 ? row : row + i;  // the swizzle repeats every 8 rows
    return (row + i) * row_bytes + ((column ^ (at & 7)) << 4);
  }
};

/// Where a lane's ldmatrix reads start in a tile that is the B operand of a x tile^T.
template <int head_dim>
__device__ unsigned lane_offset() {
  const int lane = threadIdx.x % 32;
  return ((lane & 7) + (lane >> 4) * 8) * head_dim * 2 + ((((lane >> 3) & 1) ^ (lane & 7)) << 4);
}

/// The rows that a warp keeps: in registers, but for the last `parked` steps of 16 dimensions, which wait in
/// shared memory where a kernel needs the registers more. Every thread parks and reads its own words only.
template <int m_tiles, int k_steps, int parked = 0>
struct Operand {
  static constexpr int held = k_steps - parked;
  unsigned registers[m_tiles][k_steps][4];  ///< the parked steps are dead after park()
  uint4* park_at = nullptr;                 ///< [m_tiles * parked][threads], at this thread

  __device__ __forceinline__ void park(uint4* shared) {
    park_at = shared + threadIdx.x;
#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
      for (int k = held; k < k_steps; ++k) {
        const auto& from = registers[m][k];
        park_at[(m * parked + k - held) * blockDim.x] = make_uint4(from[0], from[1], from[2], from[3]);
      }
  }
  __device__ __forceinline__ void fragment(unsigned (&a)[4], int m, int k) const {
    if (k < held) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = registers[m][k][i];
    } else {
      const uint4 from = park_at[(m * parked + k - held) * blockDim.x];
      a[0] = from.x, a[1] = from.y, a[2] = from.z, a[3] = from.w;
    }
  }
};

/// c = a x tile^T, or c += with `add`. Element e of c[m][n] belongs to row 16 m + lane / 4 + 8 (e / 2), tile
/// row 8 n + 2 (lane % 4) + e % 2.
template <Element element, bool add = false, int m_tiles, int n_tiles, int k_steps, int parked>
__device__ __forceinline__ void multiply_tile(float (&c)[m_tiles][n_tiles][4],
                                              const Operand<m_tiles, k_steps, parked>& a, unsigned tile_lane,
                                              unsigned stage) {
#pragma unroll
  for (int k = 0; k < k_steps; ++k) {
    const unsigned from = (tile_lane ^ (k * 32)) + stage;  // swizzle and k step meet in one XOR
    unsigned rows[m_tiles][4];
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) a.fragment(rows[m], m, k);
#pragma unroll
    for (int n = 0; n < n_tiles; n += 2) {
      unsigned b[4];
      load_matrices(b, from + n * 8 * (k_steps * 32));
#pragma unroll
      for (int m = 0; m < m_tiles; ++m) {
        if (k == 0 && !add) {
          multiply_fresh<element>(c[m][n], rows[m], b[0], b[1]);
          multiply_fresh<element>(c[m][n + 1], rows[m], b[2], b[3]);
        } else {
          multiply<element>(c[m][n], rows[m], b[0], b[1]);
          multiply<element>(c[m][n + 1], rows[m], b[2], b[3]);
        }
      }
    }
  }
}

}  // namespace anchor::kernels::sm80
