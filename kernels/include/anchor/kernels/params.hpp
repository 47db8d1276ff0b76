#pragma once

#include <cstdint>

// What every launch takes: plain structs of device pointers and shapes. No CUDA header is needed to include
// this.
namespace anchor::kernels {

enum class Element : std::uint8_t { f16, bf16, f32 };

/// One layer (or KV group) of attention. Strides are in elements; head_dim is contiguous; rows are 16-byte
/// aligned.
struct Shape {
  Element element = Element::bf16;
  int q_heads = 1, kv_heads = 1;  ///< kv_head = q_head / (q_heads / kv_heads); K and V are never repeated
  int head_dim = 128;
  std::int64_t q_len = 0, kv_len = 0;
  std::int64_t q_start = 0;  ///< position of query row 0 among the keys
  float softmax_scale = 1;   ///< natural-log units: score = softmax_scale * q.k
};

/// A plan on the device (semantics: lib/anchor/plan/sparse_plan.hpp). Plan row = head * groups + group.
struct PlanParams {
  int q_tile = 128, kv_tile = 128, tiles_per_row = 1;
  std::int64_t groups = 0;                       ///< plan rows per head
  const std::int64_t* block_offsets = nullptr;   ///< [q_heads * groups + 1]
  const std::int32_t* blocks = nullptr;          ///< start tokens, sorted, disjoint
  const std::int64_t* column_offsets = nullptr;  ///< [q_heads * groups + 1]
  const std::int32_t* columns = nullptr;         ///< sorted, outside the row's blocks
  const std::int64_t* dup_offsets = nullptr;     ///< nullptr = nothing doubled
  const std::int32_t* dup = nullptr;
  /// Window: key j >= sink also needs position - j < local[q_head], unless position >= dense_from. nullptr =
  /// none.
  const std::int32_t* local = nullptr;  ///< [q_heads]
  std::int32_t sink = 0, dense_from = 0;
};

struct SparseFwdParams {
  Shape shape;
  PlanParams plan;
  const void* q = nullptr;  ///< [q_heads, q_len, head_dim]
  const void* k = nullptr;  ///< [kv_heads, kv_len, head_dim]
  const void* v = nullptr;  ///< [kv_heads, kv_len, head_dim]
  void* out = nullptr;      ///< [q_heads, q_len, head_dim], the input type, or float if out_f32
  float* lse = nullptr;     ///< [q_heads, q_len], natural log; -inf for a row without keys; may be nullptr
  bool out_f32 = false;     ///< write the unrounded output
  std::int64_t stride_q_head = 0, stride_q_token = 0;
  std::int64_t stride_kv_head = 0, stride_kv_token = 0;  ///< of both k and v
  std::int64_t stride_out_head = 0, stride_out_token = 0;
};

}  // namespace anchor::kernels
