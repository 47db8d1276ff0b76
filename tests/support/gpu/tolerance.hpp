#pragma once

#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor::test {

/// The same attention with weights rounded to the element type, as any kernel that feeds tensor cores must:
/// its distance from the reference is the scale of an acceptable error.
std::vector<float> rounded_weights_attention(const AttentionInputs& inputs, const SparsePlan& plan,
                                             DType dtype);

/// Distances of elements that should be equal; infinite where one is NaN.
struct Errors {
  double worst = 0, rms = 0;
};
Errors errors(const std::vector<float>& actual, const std::vector<float>& expected);

}  // namespace anchor::test
