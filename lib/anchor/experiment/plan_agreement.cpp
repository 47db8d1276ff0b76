#include "anchor/experiment/plan_agreement.hpp"

#include <algorithm>
#include <iterator>

#include "anchor/base/parallel.hpp"
#include "anchor/experiment/head_chunk.hpp"

namespace anchor {
namespace {

/// Items of `a` that are not in `b`; both ascending.
std::int64_t missing(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  std::vector<std::int32_t> difference;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(difference));
  return static_cast<std::int64_t>(difference.size());
}

PlanAgreement row_agreement(const KvGroup& layer, const SparsePlan& plan, std::int64_t row,
                            const Method& method, const PlanRequest& request, double rounding) {
  const int head = static_cast<int>(row / plan.groups());
  const std::int64_t begin = row % plan.groups() * plan.group_rows();
  const HeadChunk chunk(layer, head, begin, std::min(begin + plan.group_rows(), plan.geometry.q_len));
  const auto planned = [&](double slack) {
    PlanRequest one{request.params, {}};
    if (!method.knob.empty()) one.params.set(method.knob, request.knob(method.knob, head) + slack);
    return method.plan_cpu(chunk.view(), one);
  };
  const SparsePlan expected = planned(0);
  const auto got = plan.columns[row], exact = expected.columns[0];
  return {.rows = 1,
          .columns = static_cast<std::int64_t>(exact.size()),
          .different = missing(got, exact) + missing(exact, got),
          .wrong = missing(got, planned(rounding).columns[0]) + missing(planned(-rounding).columns[0], got),
          .blocks_equal = std::ranges::equal(plan.blocks[row], expected.blocks[0])};
}

}  // namespace

PlanAgreement plan_agreement(const KvGroup& layer, const SparsePlan& plan, const Method& method,
                             const PlanRequest& request, double rounding, int count) {
  // An odd stride, so that it does not pick the same group of every head.
  const std::int64_t stride = std::max<std::int64_t>(1, plan.rows() / count) | 1;
  std::vector<PlanAgreement> rows(static_cast<std::size_t>((plan.rows() + stride - 1) / stride));
  parallel_for(static_cast<std::int64_t>(rows.size()), [&](std::int64_t n) {
    rows[static_cast<std::size_t>(n)] =
        row_agreement(layer, plan, plan.rows() - 1 - n * stride, method, request, rounding);
  });
  PlanAgreement sum;
  for (const PlanAgreement& row : rows) {
    sum.rows += row.rows;
    sum.columns += row.columns;
    sum.different += row.different;
    sum.wrong += row.wrong;
    sum.blocks_equal = sum.blocks_equal && row.blocks_equal;
  }
  return sum;
}

}  // namespace anchor
