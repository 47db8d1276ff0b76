#include <doctest/doctest.h>

#include "anchor/engine/cuda/plan.hpp"
#include "anchor/engine/cuda/planners/table.hpp"
#include "anchor/engine/devices.hpp"
#include "support/kv_group.hpp"

namespace anchor {
extern const CudaMethod readme_planner_on_cuda;  // the build takes it out of lib/anchor/method/README.md
}

using namespace anchor;

TEST_CASE("the planner written in the README plans what the method's own does") {
  const KvGroup group = test::random_group(test::square(1500, 64, 4, 2), DType::bf16, 5, 3);
  const Method& method = find_method(readme_planner_on_cuda.name);
  PlanRequest request{default_params(method), {}};
  set_param(method, request.params, method.knob, "5");
  const auto engine = make_engine("cuda");
  const kernels::Stream stream;
  const CudaInputs inputs(group, stream);
  const auto planner = readme_planner_on_cuda.plan({method, request, inputs, 0, 1500});
  REQUIRE(planner != nullptr);
  const SparsePlan plan = download_plan(planner->plan(), group.geometry, stream);
  CHECK(validate(plan) == "");
  CHECK(plan == engine->plan(method, request, *engine->upload(group), 0, 1500)->to_host());
}

TEST_CASE("every row of the table of planners is a method's, and no method has two") {
  std::vector<std::string> seen;
  for (const CudaMethod* row : cuda_methods()) {
    CHECK(find_method(row->name).name == row->name);
    CHECK(std::find(seen.begin(), seen.end(), row->name) == seen.end());
    seen.emplace_back(row->name);
  }
}
