#include "anchor/engine/cuda/pipeline.hpp"

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/engine/cuda/cudnn.hpp"
#include "anchor/engine/cuda/plan.hpp"

namespace anchor {
namespace {

std::int64_t nanoseconds(double milliseconds) { return std::llround(milliseconds * 1e6); }

/// Output memory, timing and reading back: what all of them share.
class CudaPipeline : public Pipeline {
 public:
  explicit CudaPipeline(const CudaInputs& inputs) : inputs_(inputs), stream_(inputs.stream()) {
    const Geometry& g = inputs.geometry();
    out_ = kernels::DeviceBuffer(static_cast<std::size_t>(g.q_heads * g.q_len * inputs.width()) *
                                 size_of(inputs.dtype()));
    lse_ = kernels::DeviceBuffer(static_cast<std::size_t>(g.q_heads * g.q_len) * sizeof(float));
    out_.fill(0xff, stream_);  // NaN: an output that nobody writes is seen
    lse_.fill(0xff, stream_);
    const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
    flush_ = kernels::DeviceBuffer(2 * device.l2_bytes);
  }

  std::int64_t run(bool cold) override {
    return guarded([&] {
      prepare_cache(cold);
      start_.record(stream_);
      enqueue(nullptr);
      end_.record(stream_);
      return nanoseconds(end_.milliseconds_since(start_));
    });
  }

  std::map<std::string, std::int64_t> stages(bool cold) override {
    return guarded([&] {
      prepare_cache(cold);
      StageEvents events;
      start_.record(stream_);
      enqueue(&events);
      stream_.synchronize();
      std::map<std::string, std::int64_t> parts;
      const kernels::Event* before = &start_;
      for (const auto& [stage, event] : events.marks) {
        parts[stage] = nanoseconds(event.milliseconds_since(*before));
        before = &event;
      }
      return parts;
    });
  }

  AttentionResult rows(std::span<const QueryRow> rows) override {
    return guarded([&] {
      const Geometry& g = inputs_.geometry();
      const std::size_t dim = static_cast<std::size_t>(g.head_dim), bytes = dim * size_of(inputs_.dtype());
      AttentionResult result{std::vector<float>(rows.size() * dim), std::vector<double>(rows.size())};
      std::vector<std::byte> stored(bytes);
      for (std::size_t n = 0; n < rows.size(); ++n) {
        const auto at = static_cast<std::size_t>(rows[n].head * g.q_len + rows[n].row);
        out_.download(stored.data(), bytes, stream_,
                      at * static_cast<std::size_t>(inputs_.width()) * size_of(inputs_.dtype()));
        to_float(inputs_.dtype(), stored.data(), std::span(result.out).subspan(n * dim, dim));
        float lse = 0;
        lse_.download(&lse, sizeof lse, stream_, at * sizeof lse);
        result.lse[n] = static_cast<double>(lse);
      }
      return result;
    });
  }

 protected:
  /// Launches everything, with an event after each stage if they are wanted. A planner on the host works
  /// between start and end event: its time counts.
  virtual void enqueue(StageEvents* stages) = 0;

  const CudaInputs& inputs_;
  const kernels::Stream& stream_;
  kernels::DeviceBuffer out_, lse_;

 private:
  /// Writing twice the cache's size evicts everything; an untimed run just before warms it. Both also keep
  /// the device busy while the host enqueues the timed launches.
  void prepare_cache(bool cold) {
    if (cold)
      flush_.fill(0x5a, stream_);
    else
      enqueue(nullptr);
  }

  kernels::DeviceBuffer flush_;
  kernels::Event start_, end_;
};

class MethodPipeline final : public CudaPipeline {
 public:
  MethodPipeline(const Method& method, PlanRequest request, const CudaInputs& inputs)
      : CudaPipeline(inputs), method_(method), request_(std::move(request)) {
    const Geometry& g = inputs.geometry();
    planner_ = make_cuda_planner({method, request_, inputs, 0, g.q_len});
    if (!planner_) {
      plan_on_host();
      if (!method.plan_is_static) inputs.host();
    }
    const kernels::SparseFwdParams params = launch();
    check_supported(params);
    attends_ = planner_ && planner_->attends(params);
    if (!attends_) workspace_ = kernels::DeviceBuffer(kernels::workspace_bytes(params));
  }

  SparsePlan plan() override {
    return guarded([&] { return download_plan(launch().plan, inputs_.geometry(), stream_); });
  }
  std::string path() const override {
    return kernels::path_name(kernels::Path::automatic, kernels::device_info(kernels::current_device()));
  }
  double knob_rounding() const override { return planner_ ? planner_->rounding() : 0; }
  std::string plan_path() const override { return planner_ ? "cuda" : "cpu"; }

 protected:
  void enqueue(StageEvents* stages) override {
    if (attends_) {
      planner_->attend(launch(), stages);
      return;
    }
    if (planner_) {
      planner_->run(stages);
    } else if (!method_.plan_is_static) {
      plan_on_host();
      if (stages) stages->add("plan").record(stream_);
    }
    kernels::sparse_fwd(launch(), workspace_.data(), stream_);
    if (stages) stages->add("execute").record(stream_);
  }

 private:
  void plan_on_host() {
    const AttentionInputs view =
        method_.plan_is_static ? AttentionInputs{inputs_.geometry()} : inputs_.host().view();
    lists_ = std::make_unique<CudaLists>(method_.plan_cpu(view, request_), stream_);
  }

  kernels::SparseFwdParams launch() const {
    return forward_params(inputs_, 0, inputs_.geometry().q_len, planner_ ? planner_->plan() : lists_->params,
                          out_.data(), lse_.data<float>(), false);
  }

  const Method& method_;
  PlanRequest request_;
  std::unique_ptr<CudaPlanner> planner_;
  std::unique_ptr<CudaLists> lists_;
  kernels::DeviceBuffer workspace_;
  bool attends_ = false;  // the planner does all
};

class CudnnPipeline final : public CudaPipeline {
 public:
  explicit CudnnPipeline(const CudaInputs& inputs)
      : CudaPipeline(inputs),
        attention_(problem(inputs, out_.data(), lse_.data<float>())),
        workspace_(attention_.workspace_bytes()) {}

  SparsePlan plan() override { return dense_plan(inputs_.geometry()); }
  std::string path() const override { return "cudnn-" + attention_.version(); }
  std::string plan_path() const override { return "none"; }

 protected:
  void enqueue(StageEvents* stages) override {
    attention_.run(stream_.handle(), workspace_.data());
    if (stages) stages->add("execute").record(stream_);
  }

 private:
  static CudnnProblem problem(const CudaInputs& inputs, void* out, float* lse) {
    const Geometry& g = inputs.geometry();
    if (g.windowed()) fail("cudnn: the library's attention is not run on layers with a sliding window");
    const kernels::Tensors tensors = inputs.tensors(0, g.q_len);
    return {.bf16 = inputs.dtype() == DType::bf16,
            .q_heads = g.q_heads,
            .kv_heads = g.kv_heads,
            .head_dim = inputs.width(),
            .q_len = g.q_len,
            .kv_len = g.kv_len,
            .q_start = g.q_start,
            .softmax_scale = static_cast<float>(g.softmax_scale),
            .q = tensors.q,
            .k = tensors.k,
            .v = tensors.v,
            .out = out,
            .lse = lse};
  }

  CudnnAttention attention_;
  kernels::DeviceBuffer workspace_;
};

}  // namespace

std::unique_ptr<Pipeline> make_cuda_pipeline(const Method& method, const PlanRequest& request,
                                             const CudaInputs& inputs) {
  return guarded([&] { return std::make_unique<MethodPipeline>(method, request, inputs); });
}

std::unique_ptr<Pipeline> make_cudnn_pipeline(const CudaInputs& inputs) {
  return guarded([&] { return std::make_unique<CudnnPipeline>(inputs); });
}

}  // namespace anchor
