#pragma once

#include <cstdint>

struct CUevent_st;

// What every launch takes: plain structs of device pointers and shapes. No CUDA header is needed to include
// this.
namespace anchor::kernels {

enum class Element : std::uint8_t { f16, bf16, f32 };

/// One layer (or KV group) of attention.
struct Shape {
  Element element = Element::bf16;
  int q_heads = 1, kv_heads = 1;  ///< kv_head = q_head / (q_heads / kv_heads); K and V are never repeated
  int head_dim = 128;
  std::int64_t q_len = 0, kv_len = 0;
  std::int64_t q_start = 0;  ///< position of query row 0 among the keys
  float softmax_scale = 1;   ///< natural-log units: score = softmax_scale * q.k
  /// The layer's window: a row sees keys less than so many positions before it; 0 = no window. sparse_fwd,
  /// row_stats, attention_mass and count_pairs know it, planners do not.
  std::int64_t sliding_window = 0;
};

/// Queries, keys and values of a layer, or of some of its heads. Strides are in elements; head_dim is
/// contiguous; rows are 16-byte aligned.
struct Tensors {
  Shape shape;
  const void* q = nullptr;  ///< [q_heads, q_len, head_dim]
  const void* k = nullptr;  ///< [kv_heads, kv_len, head_dim]
  const void* v = nullptr;  ///< [kv_heads, kv_len, head_dim]; nullptr where a launch reads no values
  std::int64_t stride_q_head = 0, stride_q_token = 0;
  std::int64_t stride_kv_head = 0, stride_kv_token = 0;  ///< of both k and v
};

/// A plan on the device (semantics: lib/anchor/plan/sparse_plan.hpp). Plan row = head * groups + group.
struct PlanParams {
  int q_tile = 128, kv_tile = 128, tiles_per_row = 1;
  std::int64_t groups = 0;                       ///< plan rows per head
  const std::int64_t* block_offsets = nullptr;   ///< [q_heads * groups + 1]
  const std::int32_t* blocks = nullptr;          ///< start tokens, sorted, disjoint
  const std::int64_t* column_offsets = nullptr;  ///< [q_heads * groups + 1]
  const std::int32_t* columns = nullptr;         ///< sorted, outside the row's blocks
  /// How many entries the two arrays have room for. Where both are known, sparse_fwd may take scratch of that
  /// size and compute plan rows of 64 query rows in pairs.
  std::int64_t block_capacity = -1, column_capacity = -1;
  int packed_heads = 1;  ///< so many consecutive query heads of a KV head have equal lists
  const std::int64_t* dup_offsets = nullptr;  ///< nullptr = nothing doubled
  const std::int32_t* dup = nullptr;
  /// Window: key j >= sink also needs position - j < local[q_head], unless position >= dense_from. nullptr =
  /// none.
  const std::int32_t* local = nullptr;  ///< [q_heads]
  std::int32_t sink = 0, dense_from = 0;
  std::int32_t mask_from = 0;  ///< sparse_fwd sets it: keys before are hidden by causality alone
  /// Keys that a tile does not list count in `out` through the means of their blocks (SparsePlan's
  /// mean_correction). Only aligned blocks of kv_tile keys that end before the tile's first query have means,
  /// and begin within the layer's window of its last.
  bool mean_correction = false;
};

struct SparseFwdParams : Tensors {
  PlanParams plan;
  void* out = nullptr;   ///< [q_heads, q_len, head_dim], the input type, or float if out_f32
  float* lse = nullptr;  ///< [q_heads, q_len], natural log; -inf for a row without keys; may be nullptr
  bool out_f32 = false;  ///< write the unrounded output
  std::int64_t stride_out_head = 0, stride_out_token = 0;
};

/// Query heads.
struct HeadSet {
  static constexpr int most = 256;
  std::uint64_t words[most / 64] = {};

  void add(int head) { words[head / 64] |= std::uint64_t{1} << head % 64; }
};

/// What planners that select single keys by a threshold take and fill: those of AnchorAttention and of
/// stripes. Plan row = head * groups + group; the plan has q_tile = kv_tile = block and tiles_per_row = step.
struct ListPlannerParams : Tensors {
  int block = 128, step = 1;     ///< rows per pooled query; pooled queries that share one list
  const float* theta = nullptr;  ///< [q_heads] on the device, natural-log units; may hold infinities

  std::int64_t* block_offsets = nullptr;   ///< [q_heads * groups + 1]
  std::int32_t* blocks = nullptr;          ///< [block_count()]
  std::int64_t* column_offsets = nullptr;  ///< [q_heads * groups + 1]
  std::int32_t* columns = nullptr;         ///< [column_capacity]; lists beyond it are cut off
  std::int64_t column_capacity = 0;
  std::int64_t* dup_offsets = nullptr;  ///< [q_heads * groups + 1], AnchorParams::v4 only
  std::int32_t* dup = nullptr;          ///< [dup_capacity]
  std::int64_t dup_capacity = 0;

  float* row_anchors = nullptr;  ///< optional: [q_heads, q_len], what each row's scores are compared with
  CUevent_st* anchors_done = nullptr;  ///< optional: recorded once the row anchors are made
  CUevent_st* columns_done = nullptr;  ///< optional, forward launches only: recorded once the lists are made
};

/// AnchorAttention (arXiv 2505.23520; rule: lib/anchor/method/anchor.cpp). A row's anchor is its largest
/// score outside its candidates. shape.q_start must be a multiple of block * step.
struct AnchorParams : ListPlannerParams {
  bool v4 = false;          ///< windows of the released code: they count in groups, [block, S) weighs twice
  bool dense_tail = false;  ///< rows of a partial last group see every key
  /// If set, no lists are made: [q_heads, groups, kv_len], the smallest theta that selects each candidate
  /// key. Other entries are left alone. theta may then be nullptr.
  float* critical = nullptr;
};

/// Stripes (rule: lib/anchor/method/stripes.cpp): a list for every tile of 128 rows, so block is 128, step 1,
/// and q_start a multiple of 128. A tile's region is the tile itself and the first `sink` keys, which lead
/// its columns; a row's anchor is the log-sum-exp over that region.
struct StripesParams : ListPlannerParams {
  int sink = 0;          ///< at most 128
  HeadSet row_scored;    ///< heads whose keys are scored against every row, not against the mean query
  HeadSet antidiagonal;  ///< heads that keep blocks of keys by XAttention's score; whole prefills only
  /// [q_heads] on the device, so many keys before its tile every query keeps; nullptr = none.
  const std::int32_t* windows = nullptr;
  bool mean_correction = false;  ///< stripes_forward only: as in PlanParams
};

}  // namespace anchor::kernels
