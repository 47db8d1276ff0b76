#include "anchor/engine/cuda/planners/anchor.hpp"

#include "anchor/engine/cuda/planners/table.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

/// The planner of AnchorAttention and of stripes on the device.
class AnchorPlanner final : public CudaPlanner {
 public:
  AnchorPlanner(const CudaInputs& inputs, const std::vector<float>& theta,
                const std::vector<std::int32_t>& windows, const kernels::AnchorParams& params)
      : stream_(inputs.stream()), params_(params) {
    theta_ = kernels::DeviceBuffer(theta.size() * sizeof(float));
    theta_.upload(theta.data(), theta_.bytes(), stream_);
    params_.theta = theta_.data<float>();
    if (!windows.empty()) {
      windows_ = kernels::DeviceBuffer(windows.size() * sizeof(std::int32_t));
      windows_.upload(windows.data(), windows_.bytes(), stream_);
      params_.windows = windows_.data<std::int32_t>();
    }

    rows_ = params.shape.q_heads * kernels::anchor_groups(params_);
    const auto offsets = [&] {
      return kernels::DeviceBuffer(static_cast<std::size_t>(rows_ + 1) * sizeof(std::int64_t));
    };
    block_offsets_ = offsets();
    column_offsets_ = offsets();
    params_.block_offsets = block_offsets_.data<std::int64_t>();
    params_.column_offsets = column_offsets_.data<std::int64_t>();
    blocks_ = kernels::DeviceBuffer(static_cast<std::size_t>(kernels::anchor_block_count(params_)) *
                                    sizeof(std::int32_t));
    params_.blocks = blocks_.data<std::int32_t>();
    if (params_.v4) {
      dup_offsets_ = offsets();
      params_.dup_offsets = dup_offsets_.data<std::int64_t>();
    }
    workspace_ = kernels::DeviceBuffer(kernels::workspace_bytes(params_));
    size_lists();

    plan_ = kernels::anchor_lists(params_);
    plan_.mean_correction = params_.mean_correction;
  }

  void run(StageEvents* stages) override {
    params_.anchors_done = stages ? stages->add("anchor").handle() : nullptr;
    kernels::anchor_plan(params_, workspace_.data(), stream_);
    if (stages) stages->add("identify").record(stream_);
  }

  bool attends(const kernels::SparseFwdParams& attention) const override {
    const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
    return kernels::unsupported_forward(params_, attention, device) == nullptr;
  }

  void attend(const kernels::SparseFwdParams& attention, StageEvents* stages) override {
    params_.anchors_done = stages ? stages->add("anchor").handle() : nullptr;
    params_.columns_done = stages ? stages->add("identify").handle() : nullptr;
    kernels::anchor_forward(params_, attention, workspace_.data(), stream_);
    if (stages) stages->add("stripes").record(stream_);
  }

  const kernels::PlanParams& plan() const override { return plan_; }

  /// Pooled queries are split into two 16-bit parts, 16 bits of mantissa together, and products are summed in
  /// float: 2^-17 of a score's sum of absolute terms, which stays below 100 on real heads.
  double rounding() const override { return 1e-3; }

 private:
  /// How long the lists are is known only once they are made: plans with lists that may be too short, then
  /// takes what was asked for and some room: attend() takes the rows' anchors from other kernels than run(),
  /// and may list candidates at theta itself that run() does not.
  void size_lists() {
    const auto longest = rows_ * params_.shape.kv_len;
    fit(longest / 16, params_.v4 ? longest / 16 : 0);
    run(nullptr);
    const auto with_room = [](std::int64_t items) { return items + items / 8 + 1024; };
    const std::int64_t columns = with_room(last(column_offsets_));
    const std::int64_t dup = params_.v4 ? with_room(last(dup_offsets_)) : 0;
    if (columns > params_.column_capacity || dup > params_.dup_capacity) {
      fit(columns, dup);
      run(nullptr);
    }
  }

  void fit(std::int64_t columns, std::int64_t dup) {
    const auto buffer = [](std::int64_t items) {
      return kernels::DeviceBuffer(static_cast<std::size_t>(items) * sizeof(std::int32_t));
    };
    columns_ = {};  // the old lists go first: both may not fit
    dup_ = {};
    columns_ = buffer(columns);
    dup_ = buffer(dup);
    params_.columns = columns_.data<std::int32_t>();
    params_.column_capacity = columns;
    params_.dup = dup_.data<std::int32_t>();
    params_.dup_capacity = dup;
  }

  std::int64_t last(const kernels::DeviceBuffer& offsets) const {
    std::int64_t value = 0;
    offsets.download(&value, sizeof value, stream_, static_cast<std::size_t>(rows_) * sizeof value);
    return value;
  }

  const kernels::Stream& stream_;
  kernels::AnchorParams params_;
  kernels::PlanParams plan_;
  std::int64_t rows_ = 0;
  kernels::DeviceBuffer theta_, windows_, block_offsets_, blocks_, column_offsets_, columns_, dup_offsets_,
      dup_, workspace_;
};

}  // namespace

kernels::AnchorParams layer_params(const CudaInputs& inputs, std::int64_t begin, std::int64_t end) {
  kernels::AnchorParams params;
  params.shape = inputs.shape(begin, end);
  params.q = inputs.q(0, begin);
  params.k = inputs.k();
  params.stride_q_head = inputs.stride_q_head();
  params.stride_kv_head = inputs.stride_kv_head();
  params.stride_q_token = params.stride_kv_token = inputs.geometry().head_dim;
  return params;
}

std::optional<kernels::AnchorParams> anchor_params(const Params& given, const CudaInputs& inputs,
                                                   std::int64_t begin, std::int64_t end) {
  // The ablations and the released rounding are planned on the CPU.
  if (given.choice("anchor") != "window" || official_rounding(given)) return std::nullopt;
  kernels::AnchorParams params = layer_params(inputs, begin, end);
  params.block = static_cast<int>(given.integer("block"));
  params.step = static_cast<int>(given.integer("step"));
  params.v4 = given.choice("mode") == "v4";
  const std::string& tail = given.choice("tail");
  params.dense_tail = tail == "dense" || (tail == "auto" && params.v4);
  return params;
}

std::unique_ptr<CudaPlanner> make_list_planner(const kernels::AnchorParams& params,
                                               const PlanRequest& request, const CudaInputs& inputs,
                                               const std::vector<std::int32_t>& windows) {
  const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
  if (kernels::unsupported(params, device) != nullptr) return nullptr;
  std::vector<float> theta;
  for (int head = 0; head < params.shape.q_heads; ++head)
    theta.push_back(static_cast<float>(request.knob("theta", head)));
  return std::make_unique<AnchorPlanner>(inputs, theta, windows, params);
}

std::unique_ptr<CudaPlanner> make_anchor_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                 std::int64_t begin, std::int64_t end) {
  const std::optional<kernels::AnchorParams> params = anchor_params(request.params, inputs, begin, end);
  return params ? make_list_planner(*params, request, inputs) : nullptr;
}

}  // namespace anchor
