#include "anchor/engine/cuda/planners/table.hpp"

#include "anchor/method/tail.hpp"

namespace anchor {

extern const CudaMethod a_shape_on_cuda, anchor_on_cuda, block_oracle_on_cuda, block_sparse_on_cuda,
    flashprefill_on_cuda, flexprefill_on_cuda, sale_on_cuda, shareprefill_on_cuda, spargeattn_on_cuda,
    streaming_on_cuda, stripes_on_cuda, tri_shape_on_cuda, vertical_slash_on_cuda,
    vertical_slash_blocks_on_cuda, xattention_on_cuda;

std::span<const CudaMethod* const> cuda_methods() {
  static constexpr const CudaMethod* table[] = {&a_shape_on_cuda,        &anchor_on_cuda,
                                                &block_oracle_on_cuda,   &block_sparse_on_cuda,
                                                &flashprefill_on_cuda,   &flexprefill_on_cuda,
                                                &sale_on_cuda,           &shareprefill_on_cuda,
                                                &spargeattn_on_cuda,     &streaming_on_cuda,
                                                &stripes_on_cuda,        &tri_shape_on_cuda,
                                                &vertical_slash_on_cuda, &vertical_slash_blocks_on_cuda,
                                                &xattention_on_cuda};
  return table;
}

namespace {
const CudaMethod* find(const Method& method) {
  for (const CudaMethod* row : cuda_methods())
    if (method.name == row->name) return row;
  return nullptr;
}
}  // namespace

std::unique_ptr<CudaPlanner> make_cuda_planner(const PlanTask& task) {
  if (task.inputs.geometry().windowed()) return nullptr;
  if (tail_rows(task.request.params) > 0) return nullptr;  // the CPU adds a tail's keys
  const CudaMethod* row = find(task.method);
  return row ? row->plan(task) : nullptr;
}

bool cuda_curves(const Method& method, const Params& params, const CudaInputs& inputs,
                 std::span<const int> heads, DeviceArena& arena, const UseCurve& use) {
  if (inputs.geometry().windowed()) return false;
  if (tail_rows(params) > 0) return false;
  const CudaMethod* row = find(method);
  return row && row->curves && row->curves(params, inputs, heads, arena, use);
}

}  // namespace anchor
