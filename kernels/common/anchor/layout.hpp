#pragma once

#include <cstddef>
#include <cstdint>

#include "anchor/kernels/mass.hpp"
#include "anchor/kernels/params.hpp"
#include "common/planners/xattention.hpp"
#include "common/schedule/schedule.hpp"
#include "head_set.hpp"

// Where the groups of AnchorAttention and of stripes begin and end, and how the planner lays out its scratch.
namespace anchor::kernels {

/// The windows of every group; g counts the groups of this chunk of queries from 0. The two methods differ in
/// the keys that are no candidates: AnchorAttention's are blocks at both ends, stripes' are single keys at
/// the start and the group's own tile.
struct AnchorGroups {
  explicit AnchorGroups(const AnchorParams& p) : AnchorGroups(p, p.block, p.block) {
    v4 = p.v4;
    dense_tail = p.dense_tail;
  }
  explicit AnchorGroups(const StripesParams& p) : AnchorGroups(p, p.sink, 0) { stripes = true; }

  std::int64_t block, step, rows;  ///< rows = S = block * step
  std::int64_t first;              ///< position of the chunk's first group, in groups
  std::int64_t count, q_end, kv_len;
  std::int64_t initial;  ///< keys of every row's region at the start; candidates begin here
  std::int64_t local;    ///< keys of the region right before the group
  bool stripes = false;  ///< the initial keys are no block but lead the columns
  bool v4 = false, dense_tail = false;

  ANCHOR_HOST_DEVICE std::int64_t begin(std::int64_t g) const { return (first + g) * rows; }
  /// One past the last key that any row of the group may see.
  ANCHOR_HOST_DEVICE std::int64_t end(std::int64_t g) const {
    return least(begin(g) + rows, least(q_end, kv_len));
  }
  ANCHOR_HOST_DEVICE bool dense(std::int64_t g) const {
    return begin(g) == 0 || (dense_tail && begin(g) + rows > q_end);
  }
  /// Candidates are the keys [initial, candidate_end); none if that is not after `initial`.
  ANCHOR_HOST_DEVICE std::int64_t candidate_end(std::int64_t g) const {
    return dense(g) ? 0 : least(begin(g) - local, kv_len);
  }
  /// Keys that may be listed as columns lie in [list_begin, candidate_end).
  ANCHOR_HOST_DEVICE std::int64_t list_begin() const { return stripes ? 0 : initial; }
  /// Columns that the region holds.
  ANCHOR_HOST_DEVICE std::int64_t leading(std::int64_t g) const {
    return stripes ? least(initial, candidate_end(g)) : 0;
  }
  /// Candidates before this are in the row's blocks anyway: v4 doubles them.
  ANCHOR_HOST_DEVICE std::int64_t dup_end(std::int64_t g) const {
    return v4 ? least(rows, candidate_end(g)) : 0;
  }

  /// Keys outside the blocks: [hole_begin, hole_end), empty for dense groups.
  ANCHOR_HOST_DEVICE std::int64_t hole_begin() const { return v4 ? rows : stripes ? 0 : block; }
  ANCHOR_HOST_DEVICE std::int64_t hole_end(std::int64_t g) const {
    const std::int64_t hole = v4 ? begin(g) : begin(g) - local;
    return dense(g) || hole <= hole_begin() ? hole_begin() : hole;
  }
  ANCHOR_HOST_DEVICE std::int64_t blocks(std::int64_t g) const {
    const std::int64_t hole = hole_end(g);
    if (hole == hole_begin()) return up(end(g), block);
    return blocks_before_hole() + (end(g) > hole ? up(end(g) - hole, block) : 0);
  }
  /// a / b rounded up; 32 bits are enough for positions, and divide five times as fast.
  static ANCHOR_HOST_DEVICE std::int64_t up(std::int64_t a, std::int64_t b) {
    return static_cast<std::uint32_t>(a + b - 1) / static_cast<std::uint32_t>(b);
  }
  /// Blocks before the hole.
  ANCHOR_HOST_DEVICE std::int64_t blocks_before_hole() const { return v4 ? step : stripes ? 0 : 1; }
  /// Blocks of the groups before g of one head. All groups but the first three and a partial last one have
  /// equally many.
  ANCHOR_HOST_DEVICE std::int64_t blocks_before(std::int64_t g) const {
    std::int64_t sum = 0;
    for (std::int64_t n = 0; n < g && n < 3; ++n) sum += blocks(n);
    if (g > 3) sum += (g - 4) * blocks(3) + blocks(g - 1);
    return sum;
  }

 private:
  AnchorGroups(const ListPlannerParams& p, std::int64_t first_keys, std::int64_t last_keys)
      : block(p.block),
        step(p.step),
        rows(std::int64_t{p.block} * p.step),
        first(p.shape.q_start / rows),
        count((p.shape.q_len + rows - 1) / rows),
        q_end(p.shape.q_start + p.shape.q_len),
        kv_len(p.shape.kv_len),
        initial(first_keys),
        local(last_keys) {}
  static ANCHOR_HOST_DEVICE std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
};

constexpr int max_segments = 1024;
constexpr int most_sinks = 128;
constexpr int antidiagonal_stride = 16;
constexpr int anchor_parts = 8;  ///< of a pooled block's mean row anchor, which is their sum

/// Pooled queries lie as rows of 64-row matrix operands. A unit is the pooled queries of one (head, group),
/// padded to a power of two `slots`; the units of a KV head are numbered group * heads per KV head + head.
struct AnchorLayout {
  AnchorLayout(const AnchorParams& params, void* workspace);
  AnchorLayout(const StripesParams& params, void* workspace);

  int slots = 1, units_per_tile = 64;
  int heads_per_kv = 1;
  bool stripes = false;      ///< row anchors are lse
  HeadSet unpooled;          ///< heads whose keys are not selected by pooled queries
  std::int64_t units = 0;    ///< of one KV head
  std::int64_t tiles = 0;    ///< of 64 rows, of one KV head; even, because two warpgroups work side by side
  std::int64_t words = 0;    ///< of 32 keys, in one bitmap row
  int kv_heads_at_once = 1;  ///< whose bitmaps fit in the scratch
  int segment_keys = 0;      ///< work items and lists are cut there: keys counted from 0, a multiple of 128
  int segments = 0;
  std::size_t bytes = 0;

  void* schedule = nullptr;         ///< for the row maxima
  float* row_anchors = nullptr;     ///< [q_heads, q_len]
  void* high = nullptr;             ///< [kv_heads * tiles * 64, head_dim], in the order of matrix fragments
  void* low = nullptr;              ///< what rounding to `high` lost
  float* mean_anchor = nullptr;     ///< [kv_heads * tiles * 64, anchor_parts], NaN without a pooled query
  std::uint32_t* bitmap = nullptr;  ///< [plan rows of kv_heads_at_once, words]
  std::int32_t* counts = nullptr;   ///< [2][plan rows]: columns, duplicates
  std::int32_t* sinks = nullptr;    ///< [most_sinks]: 0, 1, 2, ...; stripes only
  MeanKeys means;                   ///< block = 0 without mean correction
  std::int32_t* segment_counts = nullptr;  ///< [plan rows of kv_heads_at_once, segments, 2]: as counts
  XAttentionCells cells{};                 ///< of antidiagonal heads
  int cell_heads = 0;                      ///< of them at once

 private:
  AnchorLayout(const ListPlannerParams& params, const AnchorGroups& groups, bool lists, void* workspace);
  void* take(std::size_t size);  ///< the next `size` bytes of the scratch
  std::byte* base_ = nullptr;
};

/// The attention plan over the groups' blocks alone: what the row anchors are taken from.
PlanParams region_plan(const ListPlannerParams& params);
/// The plan over the listed keys alone.
PlanParams columns_plan(const ListPlannerParams& params);
/// What row_stats takes to fill the layout's row anchors.
RowStatsParams region_stats(const ListPlannerParams& params, const AnchorGroups& groups,
                            const AnchorLayout& layout);

}  // namespace anchor::kernels
