#pragma once

#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/method/block_plan.hpp"

namespace anchor {

/// Where released code rounds the scores of probe rows to bfloat16.
enum class ProbeRounding {
  none,
  scores,   ///< the dot product, then its scaled value (MInference)
  queries,  ///< the scaled query, then the dot product (FlexPrefill)
};

/// What the last query rows of a head attend to, per key and per distance: both are means over the probe rows
/// of softmax mass and sum to 1.
struct Profile {
  std::vector<float> columns;    ///< [N] mass of key j
  std::vector<float> diagonals;  ///< [N] entry t: mass at distance i - j = N - 1 - t
};

/// Profiles of the last `rows` query rows (at most N) of one head of a square problem.
Profile probe(const AttentionInputs& head, std::int64_t rows, ProbeRounding rounding);

/// Sums over consecutive blocks of `block` entries; the last may be short.
std::vector<float> block_sums(const std::vector<float>& x, std::int64_t block);

/// The block grid of a vertical-slash head: block (r, c) is on if c is one of the `vertical` best columns of
/// blocks (block 0 is always the first of them) or r - c one of the `slash` best distances (0 always first).
/// `columns` and `diagonals` are profiles summed over blocks.
BlockRows vertical_slash_blocks(const BlockShape& shape, std::vector<float> columns,
                                std::vector<float> diagonals, std::int64_t vertical, std::int64_t slash);

}  // namespace anchor
