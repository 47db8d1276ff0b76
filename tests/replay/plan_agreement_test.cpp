#include "anchor/replay/plan_agreement.hpp"

#include <doctest/doctest.h>

#include "support/kv_group.hpp"

using namespace anchor;

TEST_CASE("a plan agrees with its own planner, and a changed list does not") {
  const KvGroup layer = test::random_group(test::square(1500, 32, 4, 2), DType::f32);
  const Method& method = find_method("anchor");
  PlanRequest request{default_params(method), {2, 3, 4, 5}};
  set_param(method, request.params, "step", "2");
  SparsePlan plan = method.plan_cpu(FloatGroup(layer).view(), request);
  const PlanAgreement own = plan_agreement(layer, plan, method, request, 0, 1000);
  CHECK(own.rows == plan.rows());
  CHECK(own.columns == static_cast<std::int64_t>(plan.columns.items.size()));
  CHECK(own.different == 0);
  CHECK(own.wrong == 0);
  CHECK(own.blocks_equal);

  PlanRequest shifted = request;
  for (double& knob : shifted.knobs) knob += 0.05;
  const SparsePlan other = method.plan_cpu(FloatGroup(layer).view(), shifted);
  const PlanAgreement strict = plan_agreement(layer, other, method, request, 0, 1000);
  CHECK(strict.different > 0);
  CHECK(strict.wrong == strict.different);
  CHECK(plan_agreement(layer, other, method, request, 0.05, 1000).wrong == 0);
}

TEST_CASE("the plan of one KV head agrees with the whole layer's, and counts what was moved") {
  const KvGroup layer = test::random_group(test::square(400, 16, 6, 2), DType::f32);
  const Method& method = find_method("xattention");
  PlanRequest request{default_params(method), {}};
  set_param(method, request.params, "block", "16");
  set_param(method, request.params, "stride", "4");
  set_param(method, request.params, "tau", "0.6");
  const SparsePlan plan = method.plan_cpu(FloatGroup(layer).view(), request);
  std::int64_t entries = 0;
  for (const int kv_head : {0, 1}) {
    const GroupAgreement own = group_agreement(layer, plan, method, request, kv_head);
    CHECK(own.different == 0);
    entries += own.entries;
  }
  CHECK(entries == static_cast<std::int64_t>(plan.blocks.items.size() + plan.columns.items.size()));

  SparsePlan less = plan;  // the last head lists one block less in its last row
  less.blocks = {};
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    for (std::size_t n = 0; n < plan.blocks[row].size(); ++n)
      if (row + 1 < plan.rows() || n > 0) less.blocks.items.push_back(plan.blocks[row][n]);
    less.blocks.end_row();
  }
  CHECK(group_agreement(layer, less, method, request, 0).different == 0);
  CHECK(group_agreement(layer, less, method, request, 1).different == 1);
}

TEST_CASE("knobs of single heads are those of the KV head's own heads") {
  const KvGroup layer = test::random_group(test::square(300, 16, 4, 2), DType::f32);
  const Method& method = find_method("anchor");
  PlanRequest request{default_params(method), {1, 2, 6, 7}};
  set_param(method, request.params, "block", "16");
  set_param(method, request.params, "step", "1");
  const SparsePlan plan = method.plan_cpu(FloatGroup(layer).view(), request);
  for (const int kv_head : {0, 1})
    CHECK(group_agreement(layer, plan, method, request, kv_head).different == 0);
  request.knobs = {1, 2, 5, 7};
  CHECK(group_agreement(layer, plan, method, request, 0).different == 0);
  CHECK(group_agreement(layer, plan, method, request, 1).different > 0);
}
