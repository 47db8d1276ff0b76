#pragma once

#include <cstdint>
#include <span>

namespace anchor {

/// How far one head's sparse output is from its dense output. Added up piece by piece, so that row ranges of
/// a head can be compared as they are computed.
class OutputDifference {
 public:
  /// Sums over compared elements, d = |sparse - dense| in float.
  struct Sums {
    std::int64_t count = 0, within_001 = 0, within_0005 = 0;
    double abs = 0, max_abs = 0, squares = 0, dense_squares = 0;
  };

  /// Compares the next elements of both outputs (float32, unrounded, same order). A data error if one is not
  /// finite.
  void add(std::span<const float> sparse, std::span<const float> dense);
  /// Adds elements that were compared elsewhere. A data error if their sums are not finite.
  void add(const Sums& sums);
  void add(const OutputDifference& other) { add(other.sums_); }

  /// Share of elements with |sparse - dense| < tolerance, strictly: AnchorAttention's "recall".
  double recall_001() const { return share(sums_.within_001); }    ///< tolerance 0.01
  double recall_0005() const { return share(sums_.within_0005); }  ///< tolerance 0.005
  /// Relative L2 error: norm of the difference over norm of the dense output. 0 if the outputs are equal.
  double relative_l2() const;
  double max_abs() const { return sums_.max_abs; }
  double mean_abs() const { return sums_.count == 0 ? 0 : sums_.abs / static_cast<double>(sums_.count); }

 private:
  double share(std::int64_t within) const {
    return sums_.count == 0 ? 0 : static_cast<double>(within) / static_cast<double>(sums_.count);
  }

  Sums sums_;
};

}  // namespace anchor
