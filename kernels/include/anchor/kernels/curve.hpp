#pragma once

#include <vector>

#include "anchor/kernels/launch.hpp"

// Exact curves on the device: plan entries sorted by critical value, and the pairs and the attention mass of
// everything up to each (semantics: lib/anchor/mass/curve.hpp). Masses are added as integers, so that sums do
// not depend on the order of addition.
namespace anchor::kernels {

/// Attention mass in units of 2^-40 of a row's: sums over four million rows fit in 63 bits.
constexpr int mass_bits = 40;

/// Plan entries of one head: entry n is selected at knob[n] (CriticalItems in lib/anchor/mass/critical.hpp).
struct CurveItems {
  std::int64_t count = 0;               ///< below 2^31
  bool descending = false;              ///< entries enter from the largest knob to the smallest
  const float* knob = nullptr;          ///< [count]
  const std::int32_t* pairs = nullptr;  ///< [count]
  const float* mass = nullptr;          ///< [count]
};

/// The entries in the order in which they enter, with inclusive sums. Entries with equal keys enter together:
/// only the sums at the last of them are points of the curve.
struct CurveSums {
  std::uint32_t* key = nullptr;   ///< [count] ascending; knob_of_key() says which knob
  std::int64_t* pairs = nullptr;  ///< [count]
  std::int64_t* mass = nullptr;   ///< [count]
};

std::size_t sort_workspace_bytes(std::int64_t count);
/// Sorts and adds up.
void sort_curve(const CurveItems& items, const CurveSums& sums, void* workspace, const Stream& stream);

/// What all of a head's points share.
struct CurveScale {
  std::int64_t count = 0;
  double forced_pairs = 0, causal_pairs = 1;  ///< density = (forced_pairs + pairs) / causal_pairs
  double forced_mass = 0, query_rows = 1;     ///< recall = (forced_mass + mass * 2^-mass_bits) / query_rows
};

/// Where a point of the curve is looked up: the first one whose recall reaches `recall`, or, where that is
/// NaN, the last one with a key of at most `key`. `found` is the last entry of the point; -1 = the point
/// before all entries; `count` = no point reaches the recall.
struct CurveLookup {
  double recall = 0;
  std::uint32_t key = 0;
  std::int64_t found = -1;
};
/// `lookups` are in device memory.
void look_up(const CurveSums& sums, const CurveScale& scale, CurveLookup* lookups, int count,
             const Stream& stream);

/// Which points are wanted.
enum class CurvePick : std::uint8_t {
  all,
  bins,  ///< the last point of each bin of keys that agree in all but `dropped_bits` bits
  cells  ///< the first point of each cell of `tolerance` in density and recall, and the last point of all
};
struct CurveChoice {
  CurvePick pick = CurvePick::all;
  int dropped_bits = 0;
  double tolerance = 0;
};
std::size_t choose_workspace_bytes(std::int64_t count);
/// Writes the last entries of the wanted points, ascending, to `chosen` [count] and how many they are to
/// `chosen_count`, both in device memory.
void choose_points(const CurveSums& sums, const CurveScale& scale, const CurveChoice& choice,
                   std::int32_t* chosen, std::int32_t* chosen_count, void* workspace, const Stream& stream);
/// Copies the sums at the chosen entries to `picked`.
void gather_points(const CurveSums& sums, const std::int32_t* chosen, std::int32_t count,
                   const CurveSums& picked, const Stream& stream);

/// The candidates of AnchorAttention as plan entries: for each group, the keys that are neither in its blocks
/// nor beyond what it may select.
struct AnchorItemsParams {
  AnchorParams anchor;                    ///< shape of one head, block, step, v4, dense_tail
  const float* critical = nullptr;        ///< [groups, kv_len]
  const float* column_mass = nullptr;     ///< [groups, kv_len]
  const std::int64_t* offsets = nullptr;  ///< [groups + 1] in device memory: anchor_item_offsets()
  float* knob = nullptr;                  ///< [offsets[groups]]
  std::int32_t* pairs = nullptr;
  float* mass = nullptr;
  unsigned long long* hole_mass = nullptr;  ///< [1]: mass outside the blocks, in units of 2^-mass_bits
};
/// Entries before each group, on the host; and the pairs outside all blocks.
struct AnchorItemCounts {
  std::vector<std::int64_t> offsets;
  std::int64_t hole_pairs = 0;
};
AnchorItemCounts anchor_item_counts(const AnchorParams& anchor);
void anchor_items(const AnchorItemsParams& params, const Stream& stream);

}  // namespace anchor::kernels
