#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

constexpr int most_probe_rows = 128, tile = 64;

/// MInference's vertical-slash head (rule: method/vertical_slash.cpp).
std::unique_ptr<CudaPlanner> make_planner(const PlanTask& task) {
  const kernels::Tensors in = whole_prefill(task);
  const Params& given = task.request.params;
  if (official_rounding(given) || !planners_support(in) || given.integer("last") > most_probe_rows)
    return nullptr;
  kernels::DeviceBuffer knobs = device_knobs(task);
  kernels::VerticalSlashParams params;
  params.last = static_cast<int>(given.integer("last"));
  params.slash = given.integer("slash");
  params.vertical = knobs.data<double>();
  ListSelection selection{
      .plan = {.q_tile = tile, .kv_tile = tile, .groups = (in.shape.q_len + tile - 1) / tile},
      .q_heads = in.shape.q_heads,
      .columns_a_row = 256,
      .workspace_bytes = kernels::workspace_bytes(in, params)};
  selection.kept.push_back(std::move(knobs));
  selection.write = [in, params](const auto& blocks, const auto& columns, void* workspace,
                                 const kernels::Stream& stream) {
    kernels::VerticalSlashParams launch = params;
    launch.blocks = blocks;
    launch.columns = columns;
    kernels::vertical_slash(in, launch, workspace, stream);
  };
  return make_list_planner(task.inputs, std::move(selection));
}

}  // namespace

extern const CudaMethod vertical_slash_on_cuda{"vertical-slash", make_planner};

}  // namespace anchor
