#pragma once

#include <climits>

#include "sm80/sparse_fwd/config.cuh"
#include "sm80/sparse_fwd/key_list.cuh"

// How a CTA's listed keys come into the ring: positions of its list are read a window ahead, published in
// shared memory, and copied row by row.
namespace anchor::kernels::sm80 {

/// Two windows of published list positions. Within a tile the entry of row r lies at r % step * rows_a_thread
/// + r / step, so that a thread finds the rows that it copies side by side.
template <int head_dim>
struct PublishedKeys {
  using Config = SparseFwdConfig<head_dim>;
  using Copy = TileCopy<head_dim, Config::threads>;
  static constexpr int size = 2 * Config::window;
  static constexpr int rows_a_thread = Config::keys / Copy::step, ranges_a_tile = Config::keys / 32;
  static constexpr unsigned absent = ~0u;
  static_assert(rows_a_thread % 4 == 0, "offsets are read four at a time");

  alignas(16) int indices[size];       ///< -1 = no key
  alignas(16) unsigned offsets[size];  ///< of the keys, in bytes; absent = no key
  alignas(16) int2 ranges[size / 32];  ///< least and greatest key of 32 entries

  /// Where list position n lies.
  static __device__ __forceinline__ int place(int n) {
    const int row = n % Config::keys;
    return n % size - row + row % Copy::step * rows_a_thread + row / Copy::step;
  }
  __device__ __forceinline__ const int* indices_of(int tile) const {
    return indices + tile * Config::keys % size;
  }
  __device__ __forceinline__ int2 range_of(int tile, int n) const {
    return ranges[(tile * ranges_a_tile + n) % (size / 32)];
  }
};

/// The list positions of one window that a thread publishes: every Config::threads-th from its own on.
template <int head_dim>
struct WindowEntries {
  using Config = SparseFwdConfig<head_dim>;
  static constexpr int count = (Config::window + Config::threads - 1) / Config::threads;
  int item[count];  ///< KeyList::item

  /// Do all threads have some?
  static __device__ __forceinline__ bool any() {
    return Config::window >= Config::threads || threadIdx.x < Config::window;
  }
};

/// Fetches the window that begins `first` positions after the list's begin, from the thread's own on.
template <int head_dim>
__device__ __forceinline__ void read_window(WindowEntries<head_dim>& entries, const KeyList& list, int first,
                                            int kv_tile) {
  using Config = SparseFwdConfig<head_dim>;
#pragma unroll
  for (int i = 0; i < WindowEntries<head_dim>::count; ++i)
    if (entries.any()) entries.item[i] = list.item(first + i * Config::threads, Config::keys, kv_tile);
}

/// Publishes what read_window fetched. Keys after `last`, which no row sees, are none.
template <int head_dim>
__device__ __forceinline__ void publish_window(PublishedKeys<head_dim>& keys,
                                               const WindowEntries<head_dim>& entries, const KeyList& list,
                                               int first, int kv_tile, int last, unsigned token_bytes) {
  using Config = SparseFwdConfig<head_dim>;
  using Keys = PublishedKeys<head_dim>;
#pragma unroll
  for (int i = 0; i < WindowEntries<head_dim>::count; ++i) {
    if (!entries.any()) continue;
    const int n = first + i * Config::threads, key = entries.item[i] + list.offset(n, kv_tile);
    const bool listed = key <= last;
    keys.indices[Keys::place(n)] = listed ? key : -1;
    keys.offsets[Keys::place(n)] = listed ? key * token_bytes : Keys::absent;
    const int least = __reduce_min_sync(~0u, listed ? key : INT_MAX);
    const int greatest = __reduce_max_sync(~0u, listed ? key : INT_MAX);
    if (threadIdx.x % 32 == 0) keys.ranges[n % Keys::size / 32] = {least, greatest};
  }
}

/// Copies published keys and their values into stages of the ring.
template <int head_dim>
class KeyCopier {
  using Config = SparseFwdConfig<head_dim>;
  using Keys = PublishedKeys<head_dim>;

 public:
  __device__ __forceinline__ KeyCopier(const SparseFwdParams& p, int kv_head, const Keys& keys, unsigned ring)
      : keys_(keys),
        copy_to_(ring + copy_.offset()),
        k_(static_cast<const char*>(p.k) + kv_head * p.stride_kv_head * 2),
        v_(static_cast<const char*>(p.v) + kv_head * p.stride_kv_head * 2) {}

  __device__ __forceinline__ void copy(int tile, unsigned stage) const {
    const unsigned* const mine =
        keys_.offsets + tile * Config::keys % Keys::size + copy_.row * Keys::rows_a_thread;
#pragma unroll
    for (int i = 0; i < Keys::rows_a_thread; i += 4) {
      const uint4 four = *reinterpret_cast<const uint4*>(mine + i);
      const unsigned of_row[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const unsigned from = of_row[r] + copy_.column * 16;
        const unsigned to = copy_to_ + stage + (i + r) * copy_.step * Config::row_bytes;
        copy16_unless(of_row[r] == Keys::absent, to, k_ + from);
        copy16_unless(of_row[r] == Keys::absent, to + Config::tile_bytes, v_ + from);
      }
    }
  }

 private:
  TileCopy<head_dim, Config::threads> copy_;
  const Keys& keys_;
  unsigned copy_to_;
  const char *k_, *v_;
};

}  // namespace anchor::kernels::sm80
