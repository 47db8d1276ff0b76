#pragma once

#include <optional>
#include <string>

#include "anchor/base/geometry.hpp"
#include "anchor/plan/row_lists.hpp"

namespace anchor {

/// Which keys every query row may attend to. All methods produce one; all executors run one.
///
/// Query rows are cut into tiles of `q_tile` rows; `tiles_per_row` consecutive tiles of one head form a plan
/// row and share one list of blocks and one list of columns. Key j is visible to query row i exactly when
///     (j lies in a block or is a column of i's plan row)  and  j <= q_start + i  and  the windows allow it:
/// the plan's own (`window`) and the layer's (Geometry::sliding_window).
/// Causality and the layer's window are never stored: they follow from positions. Every visible key has
/// weight 1.
///
///             keys ->   0 ....... 128 ........................ gS-b ........ now
///     plan row g     [ block 0 ]      | |   |  columns  | |   [ blocks ........]
struct SparsePlan {
  Geometry geometry;
  int q_tile = 128;       ///< query rows per tile
  int kv_tile = 128;      ///< keys per block; a block is clipped at kv_len
  int tiles_per_row = 1;  ///< tiles that share one row of the lists

  RowLists blocks;   ///< start tokens, sorted, disjoint (any alignment)
  RowLists columns;  ///< single keys, sorted, outside the row's blocks

  /// Token-exact local window: key j >= sink additionally needs position - j < local[head], unless position
  /// >= dense_from.
  struct Window {
    std::int64_t sink = 0;
    std::vector<std::int64_t> local;  ///< one per head
    std::int64_t dense_from = 0;
    bool operator==(const Window&) const = default;
  };
  std::optional<Window> window;

  /// Visible keys that weigh 2 in the output but 1 in lse: the double count of AnchorAttention's released
  /// code. No rows at all = nothing is doubled.
  RowLists dup;

  /// Keys that a row does not list still count through the means of their blocks (FlashPrefill, stripes): the
  /// unlisted keys of an aligned block of kv_tile keys that lies wholly before the tile's first query act in
  /// `out` like as many copies of the block's mean key and mean value. lse stays that of the listed keys.
  /// Where the layer has a sliding window, the block also lies wholly within that of the tile's last query.
  bool mean_correction = false;

  /// A tile leaves a block out if, for every row, all its scores lie at least this far (in log2 units) below
  /// the largest score of the blocks before it (SpargeAttn). What is left out counts neither in out nor in
  /// lse.
  std::optional<double> pv_skip;

  /// Consecutive query heads of a KV head that have equal lists, for executors that pack them into one tile.
  int packed_heads = 1;

  std::int64_t group_rows() const { return static_cast<std::int64_t>(q_tile) * tiles_per_row; }
  std::int64_t groups() const { return (geometry.q_len + group_rows() - 1) / group_rows(); }  ///< per head
  std::int64_t rows() const { return geometry.q_heads * groups(); }
  /// Plan row of query row i of a head.
  std::int64_t row_of(int head, std::int64_t i) const { return head * groups() + i / group_rows(); }
  /// Position one past the last query of group g: the first key no row of it may see.
  std::int64_t group_end(std::int64_t g) const {
    return geometry.visible(std::min(geometry.q_len, (g + 1) * group_rows()) - 1);
  }
  /// The first key that some row of group g may see.
  std::int64_t group_begin(std::int64_t g) const { return geometry.first_visible(g * group_rows()); }
  /// With mean correction: the aligned blocks [first, last) count through their means in the tile of `rows`
  /// rows from `begin` on.
  struct MeanBlocks {
    std::int64_t first, last;
  };
  MeanBlocks mean_blocks(std::int64_t begin, std::int64_t rows) const {
    const std::int64_t from = geometry.first_visible(begin + rows - 1);
    return {(from + kv_tile - 1) / kv_tile, (geometry.q_start + begin) / kv_tile};
  }
  /// With mean correction: how many keys of the aligned block at key `start` a plan row does not list.
  std::int64_t unlisted(std::int64_t row, std::int64_t start) const;
  /// Length of the block that starts at key `start`.
  std::int64_t block_width(std::int64_t start) const {
    return std::min<std::int64_t>(kv_tile, geometry.kv_len - start);
  }
  /// True if the query of a head at `position` may see key j as far as causality and the windows are
  /// concerned.
  bool allows(int head, std::int64_t position, std::int64_t j) const {
    if (geometry.causal && j > position) return false;
    if (geometry.sliding_window > 0 && position - j >= geometry.sliding_window) return false;
    return !window || j < window->sink || position - j < window->local[static_cast<std::size_t>(head)] ||
           position >= window->dense_from;
  }

  bool operator==(const SparsePlan&) const = default;
};

/// The first broken invariant in words, or an empty string: list offsets and order, disjoint blocks, columns
/// outside blocks, nothing after a row's last query, and at least one visible key for every query. Where the
/// layer has a sliding window, for one query of every plan row: a method may keep old keys alone, which later
/// rows of the tile no longer see (their recall is then 0).
std::string validate(const SparsePlan& plan);

/// The plan that keeps everything: all key tiles of every query tile that one of its rows may see.
SparsePlan dense_plan(const Geometry& geometry, int tile = 128);

/// The plan without the blocks, columns and doubled keys that the layer's sliding window hides from all rows
/// of their plan row: no output changes. Every method's plan goes through it.
SparsePlan within_window(SparsePlan plan);

/// Appends the keys [begin, end) to the plan row under construction as blocks of plan.kv_tile from `begin`
/// on. A last short piece stays a block when its overshoot is hidden (it ends at or after `hidden_from`,
/// where no query of the row can look, or at kv_len); otherwise its keys become columns.
void append_run(SparsePlan& plan, std::int64_t begin, std::int64_t end, std::int64_t hidden_from);

}  // namespace anchor
