#pragma once

#include "anchor/method/params.hpp"
#include "anchor/method/probe.hpp"

namespace anchor {

/// The pieces of FlexPrefill (arXiv 2502.20766) that SharePrefill uses too.
struct FlexRule {
  std::int64_t block = 128;
  double gamma = 0.95, tau = 0.1;
  std::int64_t least_blocks = 1, most_blocks = 1;  ///< budgets of columns and of distances
  std::int64_t divisor = 128;                      ///< tokens per block when counts become budgets
  bool official = false;                           ///< round where released code does
};

/// The rules of the two methods over so many keys; gamma is their knob. A usage error if budgets exclude each
/// other.
FlexRule flex_rule(const Params& params, std::int64_t kv_len);
FlexRule share_rule(const Params& params, std::int64_t kv_len);

/// What the probe says about one head.
struct FlexHead {
  std::vector<float> columns, diagonals;  ///< profiles summed over blocks
  std::int64_t vertical = 0, slash = 0;   ///< budgets, before a query-aware head gives them up
  bool query_aware = false;
};

/// A window hides old blocks of keys, and far distances, from all rows of the probe: the first of each that
/// it does not hide. Distributions are compared from there on.
struct ProbeSpan {
  explicit ProbeSpan(const BlockShape& shape);
  std::int64_t column = 0, diagonal = 0;  ///< indices into FlexHead::columns and FlexHead::diagonals
};

FlexHead flex_probe(const AttentionInputs& head, const BlockShape& shape, const FlexRule& rule);

/// The blocks that mean queries and keys point to: the longest prefix of the head's pooled attention, sorted,
/// that stays within gamma of the whole.
BlockRows query_aware_blocks(const AttentionInputs& head, const BlockShape& shape, const FlexRule& rule);

/// a united with b, row by row.
BlockRows unite(const BlockRows& a, const BlockRows& b);

}  // namespace anchor
