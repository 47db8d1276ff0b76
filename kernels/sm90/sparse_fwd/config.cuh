#pragma once

#include <type_traits>

#include "anchor/kernels/params.hpp"
#include "common/schedule/join.hpp"
#include "device/element.cuh"

// Shapes and shared memory of the Hopper forward kernels. kernels/NOTES.md says what was tried.
namespace anchor::kernels::sm90 {

constexpr int kKeys = 128;       ///< keys of one pipeline step
constexpr int kConsumers = 2;    ///< warpgroups of 64 query rows
constexpr int kProducers = 128;  ///< threads that gather
constexpr int kThreads = kProducers + 128 * kConsumers;
constexpr int kConsumerWarps = 4 * kConsumers;

// Registers per thread after the roles part: 384 * 168 at entry cover 128 * kProducerRegisters + 256 * the
// other.
constexpr int kProducerRegisters = 56;
constexpr int kConsumerRegisters = 224;

/// What the kernel computes.
enum class Mode {
  attention,
  joined,    ///< attention of plan rows shorter than a tile
  row_max,   ///< only each row's largest score
  region,    ///< attention; also pools queries and row maxima, or lse, for the planner
  stripes,   ///< goes on from the output and lse of an earlier pass over other keys
  corrected  ///< stripes, then means of blocks, which lse does not see
};

/// The producer may open the tile after the next one while a tile's output has yet to leave.
constexpr unsigned kTileSlots = 4;

template <int head_dim, Mode mode>
struct Config {
  using Record = std::conditional_t<mode == Mode::joined, JoinedTile, Tile>;
  static constexpr bool values = mode != Mode::row_max;
  static constexpr bool goes_on = mode == Mode::stripes || mode == Mode::corrected;
  static constexpr int stages = values ? (head_dim == 128 ? 3 : 5) : (head_dim == 128 ? 5 : 7);
  /// stages + 1 would do (a slot is written again one step after its key stage was waited for); one more lets
  /// racecheck see it.
  static constexpr unsigned index_slots = stages + 2;
  static __device__ __forceinline__ unsigned next_slot(unsigned slot) {
    return slot == index_slots - 1 ? 0 : slot + 1;
  }
  static __device__ __forceinline__ unsigned previous_slot(unsigned slot) {
    return slot == 0 ? index_slots - 1 : slot - 1;
  }
  static constexpr int stage_bytes = kKeys * head_dim * 2;
  static constexpr int query_bytes = kTileRows * head_dim * 2;
};

/// Everything that the two roles share. K, V and Q tiles are [head_dim / 64][rows][64] with the 128-byte
/// swizzle.
template <int head_dim, Mode mode>
struct alignas(1024) Shared {
  using C = Config<head_dim, mode>;
  unsigned char keys[C::stages][C::stage_bytes];
  unsigned char values[C::values ? C::stages : 1][C::values ? C::stage_bytes : 1024];
  unsigned char queries[C::query_bytes];
  /// The key in tile row r is index[slot][(r % 8) * 16 + r / 8], so that a thread's keys lie side by side. It
  /// is kept as its distance in bytes from key 0 of the head, which saves the producers a multiplication a
  /// copy.
  alignas(16) unsigned index[C::index_slots][kKeys];
  alignas(4) unsigned char masked[C::index_slots][4];  ///< per producer warp: some row may not see some key
  typename C::Record tile[kTileSlots];
  alignas(8) std::uint64_t key_full[C::stages], key_empty[C::stages];
  alignas(8) std::uint64_t value_full[C::stages], value_empty[C::stages];
  alignas(8) std::uint64_t query_full, query_empty;
};
static_assert(sizeof(Shared<128, Mode::attention>) <= 232448 && sizeof(Shared<128, Mode::joined>) <= 232448,
              "exceeds the 227 KiB of a multiprocessor");

struct Nothing {};

constexpr unsigned char kMeans = 2;         ///< in place of `masked`: the step's keys are means
constexpr int kNoKey = INT32_MAX;           ///< a padding row: later than every query
constexpr unsigned kNoOffset = UINT32_MAX;  ///< its offset

/// A position in a ring of `stages` buffers.
template <int stages>
struct Ring {
  unsigned stage = 0, parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  __device__ __forceinline__ void advance(unsigned steps) {
    parity ^= (stage + steps) / stages & 1;
    stage = (stage + steps) % stages;
  }
};

__host__ __device__ constexpr int steps_of(int keys) { return (keys + kKeys - 1) / kKeys; }
__device__ __forceinline__ int steps_of(const TileKeys& keys) {
  return steps_of(keys.block_keys + keys.columns);
}
/// Steps over the visible set; an empty set takes one fully masked step.
__device__ __forceinline__ int set_steps(const TileKeys& keys) { return max(steps_of(keys), 1); }

}  // namespace anchor::kernels::sm90
