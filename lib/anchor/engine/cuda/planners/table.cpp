#include "anchor/engine/cuda/planners/table.hpp"

namespace anchor {

using MakePlanner = std::unique_ptr<CudaPlanner>(const PlanRequest& request, const CudaInputs& inputs,
                                                 std::int64_t begin, std::int64_t end);
MakePlanner make_streaming_planner, make_tri_shape_planner, make_anchor_planner, make_vertical_slash_planner,
    make_vertical_slash_blocks_planner, make_block_sparse_planner, make_flexprefill_planner,
    make_shareprefill_planner, make_xattention_planner, make_spargeattn_planner, make_sale_planner,
    make_flashprefill_planner, make_block_oracle_planner, make_stripes_planner;

std::unique_ptr<CudaPlanner> make_cuda_planner(const Method& method, const PlanRequest& request,
                                               const CudaInputs& inputs, std::int64_t begin,
                                               std::int64_t end) {
  struct Row {
    const char* method;
    MakePlanner* make;
  };
  constexpr Row planners[] = {{"streaming", make_streaming_planner},
                              {"a-shape", make_streaming_planner},
                              {"tri-shape", make_tri_shape_planner},
                              {"anchor", make_anchor_planner},
                              {"stripes", make_stripes_planner},
                              {"vertical-slash", make_vertical_slash_planner},
                              {"vertical-slash-blocks", make_vertical_slash_blocks_planner},
                              {"block-sparse", make_block_sparse_planner},
                              {"flexprefill", make_flexprefill_planner},
                              {"shareprefill", make_shareprefill_planner},
                              {"xattention", make_xattention_planner},
                              {"spargeattn", make_spargeattn_planner},
                              {"sale", make_sale_planner},
                              {"flashprefill", make_flashprefill_planner},
                              {"block-oracle", make_block_oracle_planner}};
  for (const Row& row : planners)
    if (method.name == row.method) return row.make(request, inputs, begin, end);
  return nullptr;
}

}  // namespace anchor
