#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

constexpr int most_probe_rows = 128;

/// MInference's vertical-slash head (rule: method/vertical_slash.cpp).
class VerticalSlashPlanner final : public CudaPlanner {
 public:
  VerticalSlashPlanner(const CudaInputs& inputs, const kernels::PlannerInputs& in,
                       kernels::DeviceBuffer knobs, kernels::VerticalSlashParams params)
      : stream_(inputs.stream()),
        in_(in),
        params_(params),
        knobs_(std::move(knobs)),
        rows_(in.shape.q_heads * ((in.shape.q_len + tile - 1) / tile)),
        blocks_(rows_, rows_ * 64),
        columns_(rows_, rows_ * 256) {
    params_.vertical = knobs_.data<double>();
    workspace_ = kernels::DeviceBuffer(kernels::workspace_bytes(in_, params_));
    run(nullptr);
    const bool blocks_grew = blocks_.grow(stream_), columns_grew = columns_.grow(stream_);
    if (blocks_grew || columns_grew) run(nullptr);
    plan_ = plan_of(blocks_, columns_, tile, tile, rows_ / in.shape.q_heads);
  }

  void run(StageEvents* stages) override {
    params_.blocks = blocks_.params();
    params_.columns = columns_.params();
    kernels::vertical_slash(in_, params_, workspace_.data(), stream_);
    if (stages) stages->add("plan").record(stream_);
  }
  const kernels::PlanParams& plan() const override { return plan_; }
  double rounding() const override { return 0; }

 private:
  static constexpr int tile = 64;
  const kernels::Stream& stream_;
  kernels::PlannerInputs in_;
  kernels::VerticalSlashParams params_;
  kernels::DeviceBuffer knobs_, workspace_;
  std::int64_t rows_;
  DeviceLists blocks_, columns_;
  kernels::PlanParams plan_;
};

}  // namespace

std::unique_ptr<CudaPlanner> make_vertical_slash_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                         std::int64_t begin, std::int64_t end) {
  const kernels::PlannerInputs in = planner_inputs("vertical-slash", inputs, begin, end);
  kernels::VerticalSlashParams params;
  params.slash = request.params.integer("slash");
  if (official_rounding(request.params) || !planners_support(in) ||
      request.params.integer("last") > most_probe_rows)
    return nullptr;
  params.last = static_cast<int>(request.params.integer("last"));
  return std::make_unique<VerticalSlashPlanner>(inputs, in, device_knobs(request, "vertical", inputs),
                                                params);
}

}  // namespace anchor
