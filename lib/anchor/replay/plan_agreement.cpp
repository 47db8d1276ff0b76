#include "anchor/replay/plan_agreement.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "anchor/base/parallel.hpp"
#include "anchor/method/tail.hpp"
#include "anchor/replay/head_chunk.hpp"

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
  const std::int64_t end = std::min(begin + plan.group_rows(), plan.geometry.q_len);
  const HeadChunk chunk(layer, head, begin, end);
  const auto planned = [&](double slack) {
    PlanRequest one{tail_before(request.of(head), end, plan.geometry.q_len), {}};
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

GroupAgreement group_agreement(const KvGroup& layer, const SparsePlan& plan, const Method& method,
                               const PlanRequest& request, int kv_head) {
  const auto heads = [](const Tensor& tensor, std::int64_t first, std::int64_t count) {
    Tensor part{tensor.dtype, {count, tensor.shape[1], tensor.shape[2]}, {}};
    const auto bytes = static_cast<std::ptrdiff_t>(tensor.bytes.size()) / tensor.shape[0];
    part.bytes.assign(tensor.bytes.begin() + first * bytes, tensor.bytes.begin() + (first + count) * bytes);
    return part;
  };
  const Geometry& g = layer.geometry;
  const int ratio = g.q_heads / g.kv_heads, first = kv_head * ratio;
  KvGroup group{.layer = layer.layer,
                .kv_head = layer.kv_head + kv_head,
                .geometry = g,
                .q = heads(layer.q, first, ratio),
                .k = heads(layer.k, kv_head, 1),
                .v = heads(layer.v, kv_head, 1),
                .rotation = layer.rotation};
  group.geometry.q_heads = ratio;
  group.geometry.kv_heads = 1;
  PlanRequest own = request;
  if (!own.knobs.empty())
    own.knobs.assign(request.knobs.begin() + first, request.knobs.begin() + first + ratio);
  if (!own.head_params.empty())
    own.head_params.assign(request.head_params.begin() + first, request.head_params.begin() + first + ratio);
  const FloatGroup floats(group);
  const SparsePlan expected = method.plan_cpu(floats.view(), own);
  const auto each_list = [&](const auto& visit) {
    for (std::int64_t row = 0; row < expected.rows(); ++row)
      for (const auto lists : {&SparsePlan::blocks, &SparsePlan::columns})
        visit((plan.*lists)[first * plan.groups() + row], lists, row);
  };
  GroupAgreement sum;
  each_list([&](auto got, auto lists, std::int64_t row) {
    const auto exact = (expected.*lists)[row];
    sum.entries += std::ssize(exact);
    sum.different += missing(got, exact) + missing(exact, got);
  });
  if (sum.different == 0 || !method.granularity) return sum;

  constexpr double nearby = 1. / 64;
  const auto planned = [&](double share) {
    PlanRequest moved = own;
    const double knob = own.params.real(method.knob);
    moved.params.set(method.knob, knob + share * std::abs(knob));
    for (double& one : moved.knobs) one += share * std::abs(one);
    return method.plan_cpu(floats.view(), moved);
  };
  const SparsePlan low = planned(-nearby), high = planned(nearby);
  each_list([&](auto got, auto lists, std::int64_t row) {
    const auto a = (low.*lists)[row], b = (high.*lists)[row];
    std::vector<std::int32_t> either, both;
    std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(either));
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
    sum.wrong += missing(got, either) + missing(both, got);
  });
  return sum;
}

}  // namespace anchor
