#pragma once

#include "anchor/kernels/launch.hpp"
#include "anchor/kernels/params.hpp"

// Exact attention mass in two QK passes without V (semantics: lib/anchor/mass/mass_map.hpp). Row i of a head
// sits at position shape.q_start + i and sees keys up to there. All sums are float32 in an order fixed by the
// shapes.
namespace anchor::kernels {

/// Pass 1: the dense normaliser of every row, and the same over its anchor region alone, from one walk over
/// the keys.
struct RowStatsParams : Tensors {
  float* lse = nullptr;  ///< [q_heads, q_len], natural log; may be nullptr
  float* max = nullptr;  ///< [q_heads, q_len], highest scaled score; may be nullptr. Without both, only the
                         ///< anchor region is walked

  /// Anchor region of a row in group g = position / anchor_group: the keys [0, anchor_init) and those from
  /// g * anchor_group - anchor_local on. 0 = not wanted. q_start must be a multiple of it.
  std::int64_t anchor_group = 0;
  std::int64_t anchor_init = 0, anchor_local = 0;
  std::int64_t anchor_dense_from = INT64_MAX;  ///< groups that begin here or later take every key
  float* anchor_lse = nullptr;                 ///< [q_heads, q_len]; may be nullptr
  float* anchor_max = nullptr;                 ///< [q_heads, q_len]; may be nullptr
};

/// Pass 2: p = exp(score - lse) added up per (group of query rows, key) and per (tile of query rows, block of
/// keys).
struct MassParams : Tensors {
  const float* lse = nullptr;  ///< [q_heads, q_len] of pass 1

  std::int64_t group_rows = 0;   ///< query rows per group
  float* column_mass = nullptr;  ///< [q_heads, ceil(q_len / group_rows), kv_len]; nullptr = not wanted

  std::int64_t tile_rows = 0;   ///< a multiple of 64; group_rows must be one too then
  std::int64_t block_keys = 0;  ///< a multiple of 16
  float* block_mass =
      nullptr;  ///< [q_heads, ceil(q_len / tile_rows), ceil(kv_len / block_keys)]; nullptr = not wanted
};

const char* unsupported(const RowStatsParams& params, const DeviceInfo& device, Path path = Path::automatic);
const char* unsupported(const MassParams& params, const DeviceInfo& device, Path path = Path::automatic);

/// Scratch of attention_mass: the sums of 64 x 16 cells that block sums are made of; 0 without block sums.
std::size_t workspace_bytes(const MassParams& params);

void row_stats(const RowStatsParams& params, const Stream& stream, Path path = Path::automatic);
void attention_mass(const MassParams& params, void* workspace, const Stream& stream,
                    Path path = Path::automatic);

}  // namespace anchor::kernels
