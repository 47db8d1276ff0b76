#include "anchor/engine/cpu_engine.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/aligned.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/mass/peaks.hpp"

namespace anchor {
namespace {

struct CpuInputs final : Inputs {
  explicit CpuInputs(const KvGroup& group) : floats(group) {}
  const Geometry& geometry() const override { return floats.geometry; }
  AttentionInputs view() const { return floats.view(); }

  FloatGroup floats;
};

struct CpuPlan final : DevicePlan {
  CpuPlan(SparsePlan made, std::int64_t first_row) : plan(std::move(made)), first(first_row) {}
  SparsePlan to_host() const override { return plan; }
  std::string plan_path() const override { return "cpu"; }

  SparsePlan plan;
  std::int64_t first;  ///< query row of the inputs that is the plan's row 0
};

const CpuInputs& cpu(const Inputs& inputs) { return dynamic_cast<const CpuInputs&>(inputs); }

AttentionResult attention(const AttentionInputs& inputs, const SparsePlan& plan, bool reference) {
  return reference ? reference_attention(inputs, plan) : cpu_attention(inputs, plan);
}

RowMaxima cpu_row_maxima(const AttentionInputs& head, std::int64_t block, std::int64_t group) {
  constexpr std::int64_t rows_at_once = 128, keys_at_once = 512;
  const Geometry& g = head.geometry;
  const auto rows = static_cast<std::size_t>(g.q_len);
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  RowMaxima maxima{std::vector<float>(rows, lowest), std::vector<float>(rows, lowest),
                   std::vector<float>(rows, lowest)};
  parallel_for((g.q_len + rows_at_once - 1) / rows_at_once, [&](std::int64_t tile) {
    const std::int64_t begin = tile * rows_at_once, count = std::min(rows_at_once, g.q_len - begin);
    const std::int64_t reach = g.visible(begin + count - 1);
    AlignedVector<float> score(static_cast<std::size_t>(rows_at_once * keys_at_once));
    for (std::int64_t key = g.first_visible(begin); key < reach; key += keys_at_once) {
      const std::int64_t keys = std::min(keys_at_once, reach - key);
      matrix_ops().gemm_nt(count, keys, g.head_dim, static_cast<float>(g.softmax_scale), head.q_row(0, begin),
                           g.head_dim, head.k + key * g.head_dim, g.head_dim, score.data(), keys_at_once);
      for (std::int64_t r = begin; r < begin + count; ++r) {
        const std::int64_t local = (g.q_start + r) / group * group - block;
        const auto at = static_cast<std::size_t>(r);
        for (std::int64_t n = std::max<std::int64_t>(0, g.first_visible(r) - key);
             n < keys && key + n < g.visible(r); ++n) {
          const float s = score[static_cast<std::size_t>((r - begin) * keys_at_once + n)];
          maxima.all[at] = std::max(maxima.all[at], s);
          if (key + n >= local) maxima.local[at] = std::max(maxima.local[at], s);
          if (key + n >= local || key + n < block) maxima.region[at] = std::max(maxima.region[at], s);
        }
      }
    }
  });
  return maxima;
}

class CpuPipeline final : public Pipeline {
 public:
  CpuPipeline(const Method& method, PlanRequest request, const CpuInputs& inputs, bool reference)
      : method_(method), request_(std::move(request)), inputs_(inputs), reference_(reference) {
    if (method.plan_is_static) plan_ = method.plan_cpu(inputs.view(), request_);
  }

  std::int64_t run(bool cold) override {
    std::int64_t total = 0;
    for (const auto& [stage, time] : stages(cold)) total += time;
    return total;
  }

  std::map<std::string, std::int64_t> stages(bool) override {
    using Clock = std::chrono::steady_clock;
    std::map<std::string, std::int64_t> parts;
    const auto start = Clock::now();
    if (!method_.plan_is_static) plan_ = method_.plan_cpu(inputs_.view(), request_);
    const auto planned = Clock::now();
    result_ = attention(inputs_.view(), plan_, reference_);
    parts["plan"] = std::chrono::nanoseconds(planned - start).count();
    parts["execute"] = std::chrono::nanoseconds(Clock::now() - planned).count();
    return parts;
  }

  AttentionResult rows(std::span<const QueryRow> rows) override {
    const Geometry& g = inputs_.geometry();
    AttentionResult some;
    for (const QueryRow& row : rows) {
      const std::int64_t at = row.head * g.q_len + row.row;
      const auto begin = result_.out.begin() + at * g.head_dim;
      some.out.insert(some.out.end(), begin, begin + g.head_dim);
      some.lse.push_back(result_.lse[static_cast<std::size_t>(at)]);
    }
    return some;
  }

  SparsePlan plan() override { return plan_; }
  std::string path() const override { return reference_ ? "reference" : "cpu"; }
  std::string plan_path() const override { return "cpu"; }

 private:
  const Method& method_;
  PlanRequest request_;
  const CpuInputs& inputs_;
  bool reference_;
  SparsePlan plan_;
  AttentionResult result_;
};

class CpuEngine final : public Engine {
 public:
  CpuEngine(bool reference, int share) : reference_(reference), share_(share) {}
  std::string device() const override { return "cpu"; }
  std::string path() const override { return reference_ ? "reference" : "cpu"; }

  void enter_thread() override { set_thread_share(share_); }
  std::unique_ptr<Inputs> upload(const KvGroup& group) override { return std::make_unique<CpuInputs>(group); }

  PlanHandle plan(const Method& method, const PlanRequest& request, const Inputs& inputs, std::int64_t begin,
                  std::int64_t end) override {
    return std::make_unique<CpuPlan>(method.plan_cpu(cpu(inputs).view().rows(begin, end), request), begin);
  }

  std::vector<PlanStats> stats(const DevicePlan& handle) override {
    const SparsePlan& plan = dynamic_cast<const CpuPlan&>(handle).plan;
    std::vector<PlanStats> heads(static_cast<std::size_t>(plan.geometry.q_heads));
    parallel_for(plan.geometry.q_heads, [&](std::int64_t head) {
      heads[static_cast<std::size_t>(head)] = plan_stats(plan, static_cast<int>(head));
    });
    return heads;
  }

  AttentionResult execute(const Inputs& inputs, const DevicePlan& handle) override {
    const auto& made = dynamic_cast<const CpuPlan&>(handle);
    const AttentionInputs rows = cpu(inputs).view().rows(made.first, made.first + made.plan.geometry.q_len);
    return attention(rows, made.plan, reference_);
  }

  MassMap mass(const Inputs& inputs, int head, const MassGranularity& granularity) override {
    const AttentionInputs one = cpu(inputs).view().head(head);
    return reference_ ? reference_mass_map(one, granularity) : cpu_mass_map(one, granularity);
  }

  RowMaxima row_maxima(const Inputs& inputs, int head, std::int64_t block, std::int64_t group) override {
    return cpu_row_maxima(cpu(inputs).view().head(head), block, group);
  }

  std::optional<std::vector<Peak>> peaks(const Inputs& inputs, int head,
                                         std::span<const double> lse) override {
    const AttentionInputs one = cpu(inputs).view().head(head);
    return reference_ ? reference_peaks(one) : cpu_peaks(one, lse);
  }

  std::string curves(const Method& method, const Params& params, const Inputs& inputs,
                     std::span<const int> heads, const UseCurve& use) override {
    for (const int head : heads) {
      check_interrupt();
      const MassMap map = mass(inputs, head, method.granularity(params, inputs.geometry()));
      use(*host_curve(exact_curve(method.critical_cpu(cpu(inputs).view(), head, params, map))));
    }
    return "cpu";
  }

  std::optional<CriticalItems> critical(const Method& method, const Params& params, const Inputs& inputs,
                                        int head, const MassMap& map) override {
    return method.critical_cpu(cpu(inputs).view(), head, params, map);
  }

  std::unique_ptr<Pipeline> pipeline(const Method& method, const PlanRequest& request,
                                     const Inputs& inputs) override {
    return std::make_unique<CpuPipeline>(method, request, cpu(inputs), reference_);
  }
  std::unique_ptr<Pipeline> library_pipeline(const Inputs&) override { fail("cudnn: needs a CUDA device"); }

 private:
  bool reference_;
  int share_;
};

}  // namespace

std::unique_ptr<Engine> make_cpu_engine(int share) { return std::make_unique<CpuEngine>(false, share); }
std::unique_ptr<Engine> make_reference_engine() { return std::make_unique<CpuEngine>(true, 0); }

}  // namespace anchor
