#include "anchor/model/cuda/layer_attention.hpp"

#include <algorithm>

#include "anchor/base/parallel.hpp"
#include "anchor/model/dense_attention.hpp"

namespace anchor {
namespace {

std::size_t size(std::int64_t items) { return static_cast<std::size_t>(items); }

/// Windows are part of the plans.
Geometry open_geometry(const LanguageModel& model, std::int64_t tokens) {
  Geometry open = model.geometry(0, tokens);
  open.sliding_window = 0;
  return open;
}

}  // namespace

LayerAttention::LayerAttention(const LanguageModel& model, const Task& task, const kernels::Stream& stream)
    : model_(model),
      c_(model.config()),
      task_(task),
      stream_(stream),
      whole_(open_geometry(model, task.tokens), DType::bf16, stream),
      out_(size(task.tokens * c_.q_heads * c_.head_dim) * 2),
      lse_(size(c_.q_heads * task.tokens) * sizeof(float)) {
  if (task.prompt < task.tokens) prompt_.emplace(open_geometry(model, task.prompt), DType::bf16, stream);
  if (task.evidence.empty()) return;
  const std::vector<std::int32_t> keys(task.evidence.begin(), task.evidence.end());
  evidence_keys_.upload<std::int32_t>(keys, stream);
  evidence_kept_.upload<std::int64_t>(std::vector<std::int64_t>(size(std::int64_t{c_.layers} * c_.q_heads)),
                                      stream);
  evidence_layers_.resize(size(c_.layers));
}

bool LayerAttention::planned(int layer) const { return task_.method && !task_.whole_layers.contains(layer); }

void LayerAttention::run(int layer) {
  layer_ = layer;
  whole_.set_window(c_.window(layer));
  if (prompt_) prompt_->set_window(c_.window(layer));
  planned_layers_ += planned(layer);
  if (task_.prompt > 0) part(layer, prompt_ ? *prompt_ : whole_, 0, task_.prompt, true);
  if (task_.prompt < task_.tokens) part(layer, whole_, task_.prompt, task_.tokens, false);
  whole_.forget_host();
  if (prompt_) prompt_->forget_host();
}

void LayerAttention::part(int layer, const CudaInputs& inputs, std::int64_t begin, std::int64_t end,
                          bool is_prompt) {
  if (!is_prompt || !planned(layer)) {
    whole_rows(inputs, begin, end, is_prompt);
    return;
  }
  const PlanRequest request = task_.method->request(layer);
  const std::int64_t rows_per_plan = task_.method->method().rows_per_plan;
  const std::int64_t chunk = rows_per_plan == 0 ? end - begin : rows_per_plan;
  for (std::int64_t first = begin; first < end; first += chunk) {
    check_interrupt();
    planned_rows(inputs, request, first, std::min(first + chunk, end));
  }
}

/// Runs `body`, with events around it if it counts. What runs for the first time runs once before: kernels
/// are loaded then.
template <class Body>
void LayerAttention::timed(bool counts, const std::string& method, Body body) {
  if (!task_.timed || !counts) {
    body();
    return;
  }
  if (task_.warm && task_.warm->insert(method).second) body();
  auto& [start, end] = times_.emplace_back();
  start.record(stream_);
  body();
  end.record(stream_);
}

void LayerAttention::planned_rows(const CudaInputs& inputs, const PlanRequest& request, std::int64_t begin,
                                  std::int64_t end) {
  const Method& method = task_.method->method();
  const std::unique_ptr<CudaPlanner> planner = make_cuda_planner({method, request, inputs, begin, end});
  if (planner) {
    const kernels::SparseFwdParams params = launch(inputs, begin, end, planner->plan());
    const bool fused = task_.timed && planner->attends(params);
    const kernels::DeviceBuffer workspace(fused ? 0 : kernels::workspace_bytes(params));
    timed(true, method.name, [&] {
      if (fused) {
        planner->attend(params, nullptr);
        return;
      }
      if (task_.timed) planner->run(nullptr);
      kernels::sparse_fwd(params, workspace.data(), stream_);
    });
    count(inputs, planner->plan(), begin, end);
  } else {
    const AttentionInputs view = method.plan_is_static ? AttentionInputs{inputs.geometry().rows(begin, end)}
                                                       : inputs.host().view().rows(begin, end);
    std::optional<CudaLists> lists;
    if (method.plan_is_static) lists.emplace(method.plan_cpu(view, request), stream_);
    kernels::DeviceBuffer workspace;
    const bool keep = lists.has_value();
    // A planner with a state plans each layer once: what it does not time is its kernels' first launch.
    const auto attend = [&] {
      if (!keep) lists.emplace(method.plan_cpu(view, request), stream_);
      const kernels::SparseFwdParams params = launch(inputs, begin, end, lists->params);
      workspace = kernels::DeviceBuffer(kernels::workspace_bytes(params));
      kernels::sparse_fwd(params, workspace.data(), stream_);
    };
    if (!keep && task_.warm) task_.warm->insert(method.name);
    timed(true, method.name, attend);
    count(inputs, lists->params, begin, end);
  }
  if (task_.wants_lse) keep_lse(begin, end - begin);
}

void LayerAttention::whole_rows(const CudaInputs& inputs, std::int64_t begin, std::int64_t end,
                                bool is_prompt) {
  const Geometry rows = inputs.geometry().rows(begin, end);
  const std::int64_t window = rows.windowed() ? rows.sliding_window : 0;
  auto found = std::ranges::find_if(whole_plans_, [&](const WholePlan& plan) {
    return plan.window == window && plan.begin == begin && plan.end == end;
  });
  if (found == whole_plans_.end()) {
    whole_plans_.push_back({window, begin, end, CudaLists(dense_plan(rows), stream_)});
    found = whole_plans_.end() - 1;
  }
  const kernels::SparseFwdParams params = launch(inputs, begin, end, found->lists.params);
  const kernels::DeviceBuffer workspace(kernels::workspace_bytes(params));
  timed(is_prompt, "dense", [&] { kernels::sparse_fwd(params, workspace.data(), stream_); });
  if (task_.wants_lse) keep_lse(begin, end - begin);
}

kernels::SparseFwdParams LayerAttention::launch(const CudaInputs& inputs, std::int64_t begin,
                                                std::int64_t end, const kernels::PlanParams& plan) {
  const std::int64_t width = std::int64_t{c_.q_heads} * c_.head_dim;
  kernels::SparseFwdParams params = forward_params(
      inputs, begin, end, plan, out_.data<char>() + begin * width * 2, lse_.data<float>(), false);
  params.stride_out_head = c_.head_dim;
  params.stride_out_token = width;
  check_supported(params);
  return params;
}

void LayerAttention::count(const CudaInputs& inputs, const kernels::PlanParams& plan, std::int64_t begin,
                           std::int64_t end) {
  const kernels::Shape shape = inputs.tensors(begin, end).shape;
  Counted& counted = counted_.emplace_back(
      Counted{inputs.geometry().rows(begin, end).causal_pairs(),
              kernels::DeviceBuffer(size(shape.q_heads) * sizeof(kernels::PairCounts))});
  kernels::count_pairs(shape, plan, counted.pairs.data<kernels::PairCounts>(), stream_);
  if (task_.evidence.empty() || task_.evidence_row < begin || task_.evidence_row >= end) return;
  evidence_layers_[size(layer_)] = true;
  kernels::count_listed(shape, plan, task_.evidence_row - begin, evidence_keys_.data<std::int32_t>(),
                        std::ssize(task_.evidence),
                        evidence_kept_.data<std::int64_t>() + std::int64_t{layer_} * c_.q_heads, stream_);
}

void LayerAttention::keep_lse(std::int64_t begin, std::int64_t rows) {
  std::vector<float> some(size(c_.q_heads * rows));
  lse_.download(some.data(), some.size() * sizeof(float), stream_);
  host_lse_.resize(size(c_.q_heads * task_.tokens));
  for (int head = 0; head < c_.q_heads; ++head)
    std::copy_n(some.begin() + head * rows, rows, host_lse_.begin() + head * task_.tokens + begin);
}

void LayerAttention::keep_evidence(TextResult& result) const {
  result.evidence_kept.resize(size(c_.layers));
  if (task_.evidence.empty()) return;
  std::vector<std::int64_t> kept(size(std::int64_t{c_.layers} * c_.q_heads));
  kernels::download(kept.data(), evidence_kept_.data(), kept.size() * sizeof(std::int64_t), stream_);
  for (std::size_t layer = 0; layer < evidence_layers_.size(); ++layer) {
    if (!evidence_layers_[layer]) continue;
    const auto from = kept.begin() + static_cast<std::ptrdiff_t>(layer) * c_.q_heads;
    result.evidence_kept[layer].assign(from, from + c_.q_heads);
  }
}

void LayerAttention::finish(TextResult& result) {
  result.planned_layers = planned_layers_;
  std::vector<kernels::PairCounts> heads(size(c_.q_heads));
  for (const Counted& one : counted_) {
    one.pairs.download(heads.data(), one.pairs.bytes(), stream_);
    for (const kernels::PairCounts& pairs : heads) {
      task_.method->count(PlanStats{.causal_pairs = one.causal_pairs,
                                    .visible_pairs = pairs.visible,
                                    .work_pairs = pairs.work,
                                    .stripe_pairs = pairs.stripe});
    }
  }
  counted_.clear();
  keep_evidence(result);
  if (!task_.timed) return;
  double milliseconds = 0;
  for (const auto& [start, end] : times_) milliseconds += end.milliseconds_since(start);
  result.attention_ms = milliseconds;
}

}  // namespace anchor
