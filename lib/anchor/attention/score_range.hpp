#pragma once

#include <string>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/base/aligned.hpp"

namespace anchor {

/// Bounds of scores by Cauchy and Schwarz: no score of a row, and no partial sum of one, is larger than
/// softmax_scale * |q| * the largest |k| of the head's keys.
class ScoreRange {
 public:
  explicit ScoreRange(const AttentionInputs& inputs);

  double bound(int head, std::int64_t row) const {
    return bounds_[static_cast<std::size_t>(head * q_len_ + row)];
  }
  /// Scores of the row may be so large that float would round them by more than 1e-4 (natural units): they
  /// are computed in double. It depends on the row and its keys alone, not on how rows are cut into tiles.
  bool wide(int head, std::int64_t row) const;

 private:
  std::int64_t q_len_;
  std::vector<double> bounds_;  ///< [q_heads, q_len]
};

/// A data error that names the query if scores of the group may overflow float. One pass over the bytes where
/// they cannot.
void check_scores(const KvGroup& group);

/// Scores of wide rows of one tile as floats that keep their digits: each row's scores are given relative to
/// a base of the row, which follows the largest score seen. A row that is not wide has base 0 and keeps its
/// scores.
class RowBases {
 public:
  RowBases(const AttentionInputs& inputs, const ScoreRange& range, int head, std::int64_t row,
           std::int64_t rows);
  /// Bases that stand still: the rows' dense lse, [rows].
  RowBases(const AttentionInputs& inputs, const ScoreRange& range, int head, std::int64_t row,
           std::int64_t rows, const double* lse);

  bool wide(std::int64_t r) const { return wide_[static_cast<std::size_t>(r)]; }
  bool any() const { return any_; }
  double of(std::int64_t r) const { return base_[static_cast<std::size_t>(r)]; }

  /// Replaces the scores of wide rows in [first_row, rows) by those of keys [0, count) at `keys`, relative to
  /// the rows' bases. What is -infinity stays so. `max` are the running maxima of the rows, which move with
  /// their bases.
  void relate(std::int64_t first_row, const float* keys, std::int64_t count, float* scores, std::int64_t ld,
              float* max);

 private:
  const AttentionInputs& inputs_;
  int head_;
  std::int64_t row_, rows_;
  bool any_ = false;
  std::vector<bool> wide_;
  std::vector<double> base_;
};

}  // namespace anchor
