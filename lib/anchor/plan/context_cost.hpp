#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "anchor/plan/context_split.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// What the plans of one KV head's query heads cost under context parallelism.
struct ContextCost {
  std::vector<std::int64_t> pairs;  ///< of every rank: (row, key) pairs that its query rows see
  /// Of every rank: pairs computed in tiles. A rank packs its own rows, in order, into tiles of q_tile rows;
  /// a tile computes every key that a row of it lists, up to its last row.
  std::vector<std::int64_t> work;
  /// [reader * ranks + owner]: keys of `owner` that some row of `reader` sees; each travels once for all
  /// query heads.
  std::vector<std::int64_t> keys;
};

/// Sums up plans of one KV head exactly, as they follow from the lists.
class ContextTally {
 public:
  /// `tile_rows`: rows of a rank's tiles.
  ContextTally(const ContextSplit& split, int tile_rows);

  /// Adds a plan of the KV head for some of its query heads. Plans of row ranges may be added one after the
  /// other, in order; a tile that lies in two ranges counts in each. Positions lie below split.tokens().
  void add(const SparsePlan& plan, std::span<const int> heads);

  ContextCost cost() const;

 private:
  void add_pairs(const SparsePlan& plan, int head, std::int64_t group);
  void add_work(const SparsePlan& plan, int head, int rank);

  ContextSplit split_;
  std::int64_t tile_rows_;
  std::vector<std::int64_t> pairs_, work_;
  std::vector<std::vector<bool>> seen_;  ///< [reader][key]
};

/// What context parallelism costs without a plan, for so many query heads of one KV head.
ContextCost dense_context_cost(const Geometry& geometry, const ContextSplit& split, int tile_rows,
                               int query_heads);

/// The largest over the mean: 1 = even. 1 if all are 0.
double imbalance(std::span<const std::int64_t> values);
/// In hop `hop` (1 .. ranks - 1) every rank takes keys from the rank `hop` before it: the most that one
/// takes.
std::int64_t keys_in_hop(const ContextCost& cost, int ranks, int hop);

}  // namespace anchor
