#pragma once

#include <optional>

#include "anchor/engine/cuda/inputs.hpp"
#include "anchor/engine/cuda/planners/table.hpp"

namespace anchor {

/// The lists of a plan made on the host, in device memory.
struct CudaLists {
  CudaLists(const SparsePlan& plan, const kernels::Stream& stream);

  kernels::PlanParams params;

 private:
  template <class T>
  const T* keep(const std::vector<T>& values, const kernels::Stream& stream);
  std::vector<kernels::DeviceBuffer> buffers_;
};

/// A data error for what the kernels do not compute: skipping of what is not negligible.
void check_pv_skip(std::optional<double> pv_skip);

/// The plan whose lists are on the device, read back.
SparsePlan download_plan(const kernels::PlanParams& params, const Geometry& geometry,
                         const kernels::Stream& stream);

/// What that plan keeps and costs, head by head, counted on the device.
std::vector<PlanStats> cuda_plan_stats(const kernels::PlanParams& params, const Geometry& geometry,
                                       const kernels::Stream& stream);

/// Attention of query rows [begin, begin + q_len of the plan's geometry) under a plan.
kernels::SparseFwdParams forward_params(const CudaInputs& inputs, std::int64_t begin, std::int64_t end,
                                        const kernels::PlanParams& plan, void* out, float* lse, bool out_f32);

/// Throws a data error if no kernel takes this launch.
void check_supported(const kernels::SparseFwdParams& params);

}  // namespace anchor
