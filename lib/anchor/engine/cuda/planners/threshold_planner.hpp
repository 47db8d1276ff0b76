#pragma once

#include <type_traits>
#include <vector>

#include "anchor/engine/cuda/planners/table.hpp"

namespace anchor {

/// The planner of AnchorAttention (AnchorParams) and of stripes (StripesParams): one theta per query head,
/// the request's knob.
template <class Params>
class ThresholdPlanner final : public CudaPlanner {
  static constexpr bool stripes = std::is_same_v<Params, kernels::StripesParams>;

 public:
  /// `kept`: memory that `params` refers to.
  ThresholdPlanner(const PlanTask& task, const Params& params, kernels::DeviceBuffer kept = {})
      : stream_(task.inputs.stream()), params_(params), kept_(std::move(kept)) {
    if constexpr (!stripes) doubles_ = params.v4;
    std::vector<float> theta;
    for (int head = 0; head < params.shape.q_heads; ++head)
      theta.push_back(static_cast<float>(task.request.knob(task.method.knob, head)));
    theta_ = kernels::DeviceBuffer(theta.size() * sizeof(float));
    theta_.upload(theta.data(), theta_.bytes(), stream_);
    params_.theta = theta_.data<float>();

    rows_ = params.shape.q_heads * kernels::plan_groups(params_);
    block_offsets_ = offsets();
    column_offsets_ = offsets();
    blocks_ = list(kernels::block_count(params_));
    params_.block_offsets = block_offsets_.template data<std::int64_t>();
    params_.column_offsets = column_offsets_.template data<std::int64_t>();
    params_.blocks = blocks_.template data<std::int32_t>();
    if (doubles_) {
      dup_offsets_ = offsets();
      params_.dup_offsets = dup_offsets_.template data<std::int64_t>();
    }
    workspace_ = kernels::DeviceBuffer(kernels::workspace_bytes(params_));
    size_lists();
    plan_ = kernels::plan_over(params_);
    if constexpr (stripes) plan_.mean_correction = params.mean_correction;
  }

  void run(StageEvents* stages) override {
    params_.anchors_done = stages ? stages->add("anchor").handle() : nullptr;
    if constexpr (stripes)
      kernels::stripes_plan(params_, workspace_.data(), stream_);
    else
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
    if constexpr (stripes)
      kernels::stripes_forward(params_, attention, workspace_.data(), stream_);
    else
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
    const std::int64_t longest = rows_ * params_.shape.kv_len;
    fit(longest / 16, doubles_ ? longest / 16 : 0);
    run(nullptr);
    const auto with_room = [](std::int64_t items) { return items + items / 8 + 1024; };
    const std::int64_t columns = with_room(last(column_offsets_));
    const std::int64_t dup = doubles_ ? with_room(last(dup_offsets_)) : 0;
    if (columns > params_.column_capacity || dup > params_.dup_capacity) {
      fit(columns, dup);
      run(nullptr);
    }
  }

  void fit(std::int64_t columns, std::int64_t dup) {
    columns_ = {};  // the old lists go first: both may not fit
    dup_ = {};
    columns_ = list(columns);
    dup_ = list(dup);
    params_.columns = columns_.template data<std::int32_t>();
    params_.column_capacity = columns;
    params_.dup = dup_.template data<std::int32_t>();
    params_.dup_capacity = dup;
  }

  kernels::DeviceBuffer offsets() const {
    return kernels::DeviceBuffer(static_cast<std::size_t>(rows_ + 1) * sizeof(std::int64_t));
  }
  static kernels::DeviceBuffer list(std::int64_t items) {
    return kernels::DeviceBuffer(static_cast<std::size_t>(items) * sizeof(std::int32_t));
  }
  std::int64_t last(const kernels::DeviceBuffer& offsets) const {
    std::int64_t value = 0;
    offsets.download(&value, sizeof value, stream_, static_cast<std::size_t>(rows_) * sizeof value);
    return value;
  }

  const kernels::Stream& stream_;
  Params params_;
  bool doubles_ = false;  // keys are listed as duplicates, too
  kernels::PlanParams plan_;
  std::int64_t rows_ = 0;
  kernels::DeviceBuffer kept_, theta_, block_offsets_, blocks_, column_offsets_, columns_, dup_offsets_, dup_,
      workspace_;
};

}  // namespace anchor
