#pragma once

#include <vector>

#include "anchor/attention/attention.hpp"

namespace anchor {

/// How finely attention mass is added up.
struct MassGranularity {
  std::int64_t group_rows = 2048;  ///< query rows per group of the column sums; 0 = no column sums
  std::int64_t tile_rows = 0;      ///< query rows per tile of the block sums; 0 = no block sums
  std::int64_t block_keys = 0;     ///< keys per block of the block sums
};

/// Exact attention mass of one head, added up where plans live. With p_ij = exp(s_ij - lse_i) of dense
/// attention (causal, within the layer's window), the mass recall of any plan at this granularity is a sum
/// over the map. It knows no method.
struct MassMap {
  Geometry geometry;  ///< one head
  MassGranularity granularity;
  std::vector<double> lse;         ///< [q_len] dense log-sum-exp, natural log
  std::vector<float> column_mass;  ///< [groups, kv_len]: sum of p_ij over the group's rows that see the key
  std::vector<float> block_mass;   ///< [tiles, blocks]: sum of p_ij over tile and block

  std::int64_t groups() const { return div_up(geometry.q_len, granularity.group_rows); }
  std::int64_t tiles() const { return div_up(geometry.q_len, granularity.tile_rows); }
  std::int64_t blocks() const { return div_up(geometry.kv_len, granularity.block_keys); }
  const float* column_row(std::int64_t group) const { return column_mass.data() + group * geometry.kv_len; }

 private:
  static std::int64_t div_up(std::int64_t a, std::int64_t b) { return b == 0 ? 0 : (a + b - 1) / b; }
};

/// Two QK passes over one head on all cores: lse per row, then the sums. No array of q_len x kv_len.
MassMap cpu_mass_map(const AttentionInputs& head, const MassGranularity& granularity);

/// The same map from the definition: float64, one row at a time.
MassMap reference_mass_map(const AttentionInputs& head, const MassGranularity& granularity);

/// A map of that shape with all masses 0 and no lse. A usage error if the granularity makes no sense.
MassMap empty_mass_map(const Geometry& head, const MassGranularity& granularity);

/// Dense log-sum-exp of every row of one head (the first of the two passes).
std::vector<double> cpu_lse(const AttentionInputs& head);

}  // namespace anchor
