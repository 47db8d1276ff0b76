#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace anchor {

/// How positions turned the queries and keys of a layer (RoPE): at position p, pair (i, i + r / 2) of a head
/// turned by p * inv_freq[i], where r is twice the number of frequencies; dimensions from r on did not turn.
struct Rotation {
  std::vector<float> inv_freq;  ///< [r / 2]
  double attention_factor = 1;  ///< what queries and keys were multiplied by besides (YaRN)
  std::string unknown = {};     ///< why the frequencies are not known; empty if they are

  /// A data error that says why, unless the frequencies are known and fit the head's dimension.
  void require_known(int head_dim) const;
};

/// Turns `count` rows of `dim` floats, row n at position `first` + n, in place. A null rotation does nothing.
void rotate_rows(const Rotation* rotation, float* rows, std::int64_t count, int dim, std::int64_t first);
/// Takes the turn of rotate_rows() back.
void unrotate_rows(const Rotation* rotation, float* rows, std::int64_t count, int dim, std::int64_t first);
/// Turns every row as if it stood at the same position.
void rotate_rows_to(const Rotation* rotation, float* rows, std::int64_t count, int dim,
                    std::int64_t position);

}  // namespace anchor
