#include "anchor/engine/cuda/engine.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/cuda/cublas.hpp"
#include "anchor/engine/cuda/curve.hpp"
#include "anchor/engine/cuda/mass.hpp"
#include "anchor/engine/cuda/pinned.hpp"
#include "anchor/engine/cuda/pipeline.hpp"
#include "anchor/engine/cuda/plan.hpp"
#include "anchor/kernels/compare.hpp"
#include "anchor/metrics/recall.hpp"

namespace anchor {
namespace {

struct CudaPlan final : DevicePlan {
  SparsePlan to_host() const override {
    return guarded([&] { return download_plan(params(), geometry, *stream); });
  }
  std::string plan_path() const override { return planner ? "cuda" : "cpu"; }
  const kernels::PlanParams& params() const { return planner ? planner->plan() : lists->params; }

  Geometry geometry;
  std::int64_t first = 0;  ///< query row of the inputs that is the plan's row 0
  const kernels::Stream* stream = nullptr;
  std::unique_ptr<CudaPlanner> planner;
  std::unique_ptr<CudaLists> lists;
};

const CudaInputs& cuda(const Inputs& inputs) { return dynamic_cast<const CudaInputs&>(inputs); }

/// Runs a plan of query rows [first, first + q_len of the plan); out is float.
void execute_on_device(const CudaInputs& inputs, const CudaPlan& plan, const kernels::DeviceBuffer& out,
                       const kernels::DeviceBuffer& lse) {
  const kernels::SparseFwdParams params = forward_params(inputs, plan.first, plan.first + plan.geometry.q_len,
                                                         plan.params(), out.data(), lse.data<float>(), true);
  check_supported(params);
  const kernels::DeviceBuffer workspace(kernels::workspace_bytes(params));
  kernels::sparse_fwd(params, workspace.data(), inputs.stream());
}

/// Output in rows of `width` numbers and lse, in float, on the device.
struct Attended {
  Attended(const Geometry& g, int width)
      : out(static_cast<std::size_t>(g.q_heads * g.q_len * width) * sizeof(float)),
        lse(static_cast<std::size_t>(g.q_heads * g.q_len) * sizeof(float)) {}
  kernels::DeviceBuffer out, lse;
};

/// The first `dim` numbers of every row of `width`.
std::vector<float> cut_rows(std::vector<float> values, int width, int dim) {
  const std::size_t rows = values.size() / static_cast<std::size_t>(width);
  for (std::size_t row = 1; width != dim && row < rows; ++row)
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(row) * width, dim,
                values.begin() + static_cast<std::ptrdiff_t>(row) * dim);
  values.resize(rows * static_cast<std::size_t>(dim));
  return values;
}

class CudaReference final : public DenseReference {
 public:
  CudaReference(const CudaInputs& inputs, const CudaPlan& dense)
      : inputs_(inputs),
        dense_(inputs.geometry(), inputs.width()),
        sparse_(inputs.geometry(), inputs.width()) {
    execute_on_device(inputs, dense, dense_.out, dense_.lse);
  }

  Kept compare(const DevicePlan& plan) override {
    return guarded([&] {
      Kept kept;
      const Geometry& g = inputs_.geometry();
      for (const kernels::CompareSums& sums : compared(dynamic_cast<const CudaPlan&>(plan))) {
        kept.mass_recall += sums.recall / static_cast<double>(g.q_len) / g.q_heads;
        kept.out_rel_l2 += (sums.squares == 0 ? 0 : std::sqrt(sums.squares / sums.dense_squares)) / g.q_heads;
      }
      return kept;
    });
  }

  std::vector<HeadComparison> compare_heads(const DevicePlan& handle, std::int64_t first) override {
    return guarded([&] {
      const auto& plan = dynamic_cast<const CudaPlan&>(handle);
      const auto heads = static_cast<std::size_t>(plan.geometry.q_heads),
                 rows = static_cast<std::size_t>(plan.geometry.q_len),
                 all = static_cast<std::size_t>(inputs_.geometry().q_len);
      const std::vector<kernels::CompareSums> sums = compared(plan);
      if (dense_lse_.empty()) dense_lse_ = lse_of(dense_, heads * all);
      const std::vector<double> sparse = lse_of(sparse_, heads * rows);
      std::vector<HeadComparison> made(heads);
      // The zeros behind a head's own numbers are equal in both.
      const std::int64_t zeros = static_cast<std::int64_t>(rows) * (inputs_.width() - plan.geometry.head_dim);
      for (std::size_t head = 0; head < heads; ++head) {
        const kernels::CompareSums& sum = sums[head];
        made[head].difference.add({.count = static_cast<std::int64_t>(rows) * plan.geometry.head_dim,
                                   .within_001 = static_cast<std::int64_t>(sum.within_001) - zeros,
                                   .within_0005 = static_cast<std::int64_t>(sum.within_0005) - zeros,
                                   .abs = sum.abs,
                                   .max_abs = sum.max_abs,
                                   .squares = sum.squares,
                                   .dense_squares = sum.dense_squares});
        made[head].row_recall = row_mass_recall(
            std::span(sparse).subspan(head * rows, rows),
            std::span(dense_lse_).subspan(head * all + static_cast<std::size_t>(first), rows));
      }
      return made;
    });
  }

 private:
  /// Executes the plan and sums up each head.
  std::vector<kernels::CompareSums> compared(const CudaPlan& plan) {
    execute_on_device(inputs_, plan, sparse_.out, sparse_.lse);
    const Geometry& g = plan.geometry;
    std::vector<kernels::CompareSums> parts(static_cast<std::size_t>(g.q_heads * kernels::compare_parts));
    const kernels::DeviceBuffer buffer(parts.size() * sizeof parts[0]);
    kernels::compare({.heads = g.q_heads,
                      .head_dim = inputs_.width(),
                      .rows = g.q_len,
                      .dense_rows = inputs_.geometry().q_len,
                      .first = plan.first,
                      .out = sparse_.out.data<float>(),
                      .dense_out = dense_.out.data<float>(),
                      .lse = sparse_.lse.data<float>(),
                      .dense_lse = dense_.lse.data<float>(),
                      .sums = buffer.data<kernels::CompareSums>()},
                     inputs_.stream());
    buffer.download(parts.data(), buffer.bytes(), inputs_.stream());
    std::vector<kernels::CompareSums> heads(static_cast<std::size_t>(g.q_heads));
    for (std::size_t n = 0; n < parts.size(); ++n) {
      kernels::CompareSums& head = heads[n / kernels::compare_parts];
      head.within_001 += parts[n].within_001;
      head.within_0005 += parts[n].within_0005;
      head.abs += parts[n].abs;
      head.max_abs = std::max(head.max_abs, parts[n].max_abs);
      head.squares += parts[n].squares;
      head.dense_squares += parts[n].dense_squares;
      head.recall += parts[n].recall;
    }
    return heads;
  }

  std::vector<double> lse_of(const Attended& result, std::size_t count) const {
    std::vector<float> lse(count);
    result.lse.download(lse.data(), count * sizeof(float), inputs_.stream());
    return {lse.begin(), lse.end()};
  }

  const CudaInputs& inputs_;
  Attended dense_, sparse_;
  std::vector<double> dense_lse_;  // on the host, from the first comparison head by head on
};

class CudaEngine final : public Engine {
 public:
  CudaEngine(int number, const kernels::DeviceInfo& info, const char* path)
      : number_(number), info_(info), path_(path) {}

  std::string device() const override { return info_.name; }
  std::string path() const override { return path_; }

  void enter_thread() override {
    guarded([&] { kernels::set_device(number_); });
  }
  std::pmr::memory_resource* host_memory() override { return &pinned_; }

  std::unique_ptr<Inputs> upload(const KvGroup& group) override {
    return guarded([&] { return std::make_unique<CudaInputs>(group, stream_); });
  }

  PlanHandle plan(const Method& method, const PlanRequest& request, const Inputs& inputs, std::int64_t begin,
                  std::int64_t end) override {
    return guarded([&] {
      auto made = std::make_unique<CudaPlan>();
      made->geometry = inputs.geometry().rows(begin, end);
      made->first = begin;
      made->stream = &stream_;
      made->planner = make_cuda_planner({method, request, cuda(inputs), begin, end});
      if (!made->planner) {
        const AttentionInputs view = method.plan_is_static ? AttentionInputs{made->geometry}
                                                           : cuda(inputs).host().view().rows(begin, end);
        made->lists = std::make_unique<CudaLists>(method.plan_cpu(view, request), stream_);
      }
      return made;
    });
  }

  std::vector<PlanStats> stats(const DevicePlan& handle) override {
    return guarded([&] {
      const auto& made = dynamic_cast<const CudaPlan&>(handle);
      return cuda_plan_stats(made.params(), made.geometry, stream_);
    });
  }

  AttentionResult execute(const Inputs& inputs, const DevicePlan& handle) override {
    const auto& made = dynamic_cast<const CudaPlan&>(handle);
    const Geometry& g = made.geometry;
    AttentionResult result{std::vector<float>(static_cast<std::size_t>(g.q_heads * g.q_len * g.head_dim)),
                           std::vector<double>(static_cast<std::size_t>(g.q_heads * g.q_len))};
    guarded([&] {
      const int width = cuda(inputs).width();
      const Attended attended(g, width);
      execute_on_device(cuda(inputs), made, attended.out, attended.lse);
      result.out.resize(attended.out.bytes() / sizeof(float));
      attended.out.download(result.out.data(), attended.out.bytes(), stream_);
      result.out = cut_rows(std::move(result.out), width, g.head_dim);
      std::vector<float> rounded(result.lse.size());
      attended.lse.download(rounded.data(), attended.lse.bytes(), stream_);
      result.lse.assign(rounded.begin(), rounded.end());
    });
    return result;
  }

  std::int64_t least_mass_rows() const override { return 64; }
  MassMap mass(const Inputs& inputs, int head, const MassGranularity& granularity) override {
    return guarded([&] { return cuda_mass_map(cuda(inputs), head, granularity); });
  }

  RowMaxima row_maxima(const Inputs& inputs, int head, std::int64_t block, std::int64_t group) override {
    return guarded([&] { return cuda_row_maxima(cuda(inputs), head, block, group); });
  }

  std::string curves(const Method& method, const Params& params, const Inputs& inputs,
                     std::span<const int> heads, const UseCurve& use) override {
    return guarded([&]() -> std::string {
      if (cuda_curves(method, params, cuda(inputs), heads, arena_, use)) return "cuda";
      for (const int head : heads) {
        check_interrupt();
        const MassMap map = mass(inputs, head, method.granularity(params, inputs.geometry()));
        use(*host_curve(exact_curve(method.critical_cpu(cuda(inputs).host().view(), head, params, map))));
      }
      return "cpu";
    });
  }

  std::unique_ptr<Pipeline> pipeline(const Method& method, const PlanRequest& request,
                                     const Inputs& inputs) override {
    return make_cuda_pipeline(method, request, cuda(inputs));
  }
  std::unique_ptr<Pipeline> library_pipeline(const Inputs& inputs) override {
    return make_cudnn_pipeline(cuda(inputs));
  }

  std::unique_ptr<DenseReference> dense_reference(const Inputs& inputs) override {
    const Method& dense = find_method("dense");
    const PlanHandle all = plan(dense, {default_params(dense), {}}, inputs, 0, inputs.geometry().q_len);
    return guarded(
        [&] { return std::make_unique<CudaReference>(cuda(inputs), dynamic_cast<const CudaPlan&>(*all)); });
  }

  std::optional<double> matmul_tflops(DType dtype) override {
    return guarded([&] { return cublas_matmul_tflops(element_of(dtype), stream_); });
  }

  DeviceState state() const override {
    DeviceState state = nvml_state(info_.pci_bus_id);
    const auto version = [](int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); };
    state.versions["cuda_driver"] = version(info_.driver_version);
    state.versions["cuda_runtime"] = version(info_.runtime_version);
    return state;
  }

 private:
  int number_;
  kernels::DeviceInfo info_;
  std::string path_;
  kernels::Stream stream_;
  DeviceArena arena_;
  PinnedMemory pinned_;
};

}  // namespace

int cuda_device_count() { return kernels::device_count(); }

std::unique_ptr<Engine> make_cuda_engine(int device) {
  return guarded([&]() -> std::unique_ptr<Engine> {
    kernels::set_device(device);
    const kernels::DeviceInfo info = kernels::device_info(device);
    const char* path = kernels::path_name(kernels::Path::automatic, info);
    if (!path)
      fail("device cuda:{} ({}): compute capability {}.{}; the kernels need 8.0 or newer", device, info.name,
           info.major, info.minor);
    return std::make_unique<CudaEngine>(device, info, path);
  });
}

}  // namespace anchor
