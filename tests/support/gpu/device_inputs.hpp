#pragma once

#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/kernels/launch.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor::test {

/// The element type of the kernels for a stored type, and back.
kernels::Element element_of(DType dtype);

/// Rounds to the stored type and back, so that host and device start from the same numbers.
void round_to(DType dtype, std::vector<float>& values);

/// q, k and v of `inputs` on the device in a 16-bit type, every head followed by rows of NaN. Keys that no
/// row of `plan` lists are NaN too (in k and v), if a plan is given.
struct DeviceInputs {
  DeviceInputs(const AttentionInputs& inputs, DType dtype, const kernels::Stream& stream,
               const SparsePlan* plan = nullptr);

  /// What launches take; it points to the memory below.
  kernels::Tensors tensors() const;

  kernels::Shape shape;
  kernels::DeviceBuffer q, k, v;
  std::int64_t stride_q_head, stride_kv_head;
};

/// A plan's lists on the device.
struct DevicePlanLists {
  DevicePlanLists(const SparsePlan& plan, const kernels::Stream& stream);

  kernels::PlanParams params;
  kernels::DeviceBuffer block_offsets, blocks, column_offsets, columns, dup_offsets, dup, local;
};

/// Runs sparse_fwd into poisoned memory. Fails the test if anything outside out and lse was written.
AttentionResult device_attention(const AttentionInputs& inputs, const SparsePlan& plan, DType dtype,
                                 kernels::Path path, bool out_f32 = true);

}  // namespace anchor::test
