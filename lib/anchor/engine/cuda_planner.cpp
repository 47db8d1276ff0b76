#include "anchor/engine/cuda_planner.hpp"

namespace anchor {

using MakePlanner = std::unique_ptr<CudaPlanner>(const PlanRequest& request, const CudaInputs& inputs,
                                                 std::int64_t begin, std::int64_t end);
MakePlanner make_anchor_planner;

std::unique_ptr<CudaPlanner> make_cuda_planner(const Method& method, const PlanRequest& request,
                                               const CudaInputs& inputs, std::int64_t begin,
                                               std::int64_t end) {
  struct Row {
    const char* method;
    MakePlanner* make;
  };
  constexpr Row planners[] = {{"anchor", make_anchor_planner}};
  for (const Row& row : planners)
    if (method.name == row.method) return row.make(request, inputs, begin, end);
  return nullptr;
}

}  // namespace anchor
