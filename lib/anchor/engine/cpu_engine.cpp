#include "anchor/engine/cpu_engine.hpp"

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"

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

class CpuEngine final : public Engine {
 public:
  explicit CpuEngine(bool reference) : reference_(reference) {}
  std::string device() const override { return "cpu"; }
  std::string path() const override { return reference_ ? "reference" : "cpu"; }

  std::unique_ptr<Inputs> upload(const KvGroup& group) override { return std::make_unique<CpuInputs>(group); }

  PlanHandle plan(const Method& method, const PlanRequest& request, const Inputs& inputs, std::int64_t begin,
                  std::int64_t end) override {
    return std::make_unique<CpuPlan>(method.plan_cpu(cpu(inputs).view().rows(begin, end), request), begin);
  }

  AttentionResult execute(const Inputs& inputs, const DevicePlan& handle) override {
    const auto& made = dynamic_cast<const CpuPlan&>(handle);
    const AttentionInputs rows = cpu(inputs).view().rows(made.first, made.first + made.plan.geometry.q_len);
    return reference_ ? reference_attention(rows, made.plan) : cpu_attention(rows, made.plan);
  }

  MassMap mass(const Inputs& inputs, int head, const MassGranularity& granularity) override {
    const AttentionInputs one = cpu(inputs).view().head(head);
    return reference_ ? reference_mass_map(one, granularity) : cpu_mass_map(one, granularity);
  }

  CriticalItems critical(const Method& method, const Params& params, const Inputs& inputs,
                         int head) override {
    const MassMap map = mass(inputs, head, method.granularity(params));
    return method.critical_cpu(cpu(inputs).view().head(head), params, map);
  }

 private:
  bool reference_;
};

}  // namespace

std::unique_ptr<Engine> make_cpu_engine() { return std::make_unique<CpuEngine>(false); }
std::unique_ptr<Engine> make_reference_engine() { return std::make_unique<CpuEngine>(true); }

}  // namespace anchor
