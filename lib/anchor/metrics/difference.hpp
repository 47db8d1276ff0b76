#pragma once

#include <cstdint>
#include <span>

namespace anchor {

/// How far one head's sparse output is from its dense output. Added up piece by piece, so that row ranges of
/// a head can be compared as they are computed.
class OutputDifference {
 public:
  /// Compares the next elements of both outputs (float32, unrounded, same order).
  void add(std::span<const float> sparse, std::span<const float> dense);

  /// Share of elements with |sparse - dense| < tolerance, strictly: AnchorAttention's "recall".
  double recall_001() const { return share(within_001_); }    ///< tolerance 0.01
  double recall_0005() const { return share(within_0005_); }  ///< tolerance 0.005
  /// Relative L2 error: norm of the difference over norm of the dense output. 0 if the outputs are equal.
  double relative_l2() const;
  double max_abs() const { return max_abs_; }
  double mean_abs() const { return count_ == 0 ? 0 : sum_abs_ / static_cast<double>(count_); }

 private:
  double share(std::int64_t within) const {
    return count_ == 0 ? 0 : static_cast<double>(within) / static_cast<double>(count_);
  }

  std::int64_t count_ = 0, within_001_ = 0, within_0005_ = 0;
  double sum_abs_ = 0, max_abs_ = 0, sum_squares_ = 0, dense_squares_ = 0;
};

}  // namespace anchor
