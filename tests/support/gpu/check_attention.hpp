#pragma once

#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/kernels/launch.hpp"
#include "anchor/plan/sparse_plan.hpp"
#include "support/random.hpp"

namespace anchor::test {

constexpr DType kTypes[] = {DType::bf16, DType::f16};
constexpr int kDims[] = {64, 128, 256};

/// Random inputs that host and device agree on.
RandomInputs rounded_inputs(const Geometry& geometry, DType dtype, unsigned seed);

/// Both outputs and lse of sparse_fwd, on every path, against the float64 reference.
void check_plan(const AttentionInputs& inputs, const SparsePlan& plan, DType dtype);
/// The same for random blocks and columns.
void check_random_plan(const Geometry& geometry, int q_tile, int kv_tile, int tiles_per_row, DType dtype,
                       unsigned seed);

}  // namespace anchor::test
