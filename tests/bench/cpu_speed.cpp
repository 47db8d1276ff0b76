// Times the CPU executor and the exact sweep on one head of random numbers (one JSON line), for
// attention_vs_torch.py.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/mass/curve.hpp"
#include "anchor/method/method.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/random.hpp"

using namespace anchor;

namespace {

template <class Work>
double seconds(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t length = argc > 1 ? std::atoll(argv[1]) : 8192;
  const int dim = argc > 2 ? std::atoi(argv[2]) : 64;
  const auto random = test::random_inputs(test::square(length, dim));
  const AttentionInputs inputs = random.view();
  const Method& anchor = find_method("anchor");
  const SparsePlan dense = dense_plan(inputs.geometry);
  cpu_attention(inputs, dense);  // first touch, thread start
  const double dense_s = seconds([&] { cpu_attention(inputs, dense); });

  std::string sweeps, plans;
  for (const int step : {1, 4, 16}) {
    PlanRequest request{default_params(anchor), {}};
    request.params.set("step", static_cast<double>(step));
    Curve curve;
    const double sweep_s = seconds([&] {
      curve = exact_curve(
          anchor.critical_cpu(inputs, 0, request.params,
                              cpu_mass_map(inputs, anchor.granularity(request.params, inputs.geometry))));
    });
    sweeps += fmt::format(R"({}{{"step":{},"thresholds":{},"s":{:.5f}}})", sweeps.empty() ? "" : ",", step,
                          curve.size(), sweep_s);
    for (const double density : {0.15, 0.3, 0.5}) {
      const auto at =
          std::lower_bound(curve.density.begin(), curve.density.end(), density) - curve.density.begin();
      if (at == 0) continue;  // the anchor region alone is more
      request.params.set("theta", curve.knob[static_cast<std::size_t>(at)]);
      const SparsePlan plan = anchor.plan_cpu(inputs, request);
      const double plan_s = seconds([&] { cpu_attention(inputs, plan); });
      plans += fmt::format(R"({}{{"step":{},"density":{:.4f},"s":{:.5f}}})", plans.empty() ? "" : ",", step,
                           plan_stats(plan, 0).density(), plan_s);
    }
  }
  fmt::print(R"({{"isa":"{}","dense_s":{:.5f},"sweeps":[{}],"plans":[{}]}})"
             "\n",
             matrix_ops().isa, dense_s, sweeps, plans);
}
