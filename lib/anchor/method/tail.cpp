#include "anchor/method/tail.hpp"

#include <algorithm>
#include <utility>

#include "anchor/base/error.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

void copy_row(const RowLists& from, std::int64_t row, RowLists& to) {
  const auto items = from[row];
  to.items.insert(to.items.end(), items.begin(), items.end());
}

}  // namespace

std::int64_t tail_rows(const Params& params) {
  const auto found = params.values().find("tail");
  if (found == params.values().end() || !std::holds_alternative<double>(found->second)) return 0;
  return params.integer("tail");
}

Params tail_before(Params params, std::int64_t end, std::int64_t q_len) {
  const std::int64_t rows = tail_rows(params);
  if (rows > 0) params.set("tail", static_cast<double>(std::max<std::int64_t>(0, rows - (q_len - end))));
  return params;
}

SparsePlan dense_tail(SparsePlan plan, std::int64_t rows) {
  if (rows <= 0) return plan;
  constexpr double negligible = 40;  // octaves: what lies further below does not show in float sums
  if (plan.pv_skip && *plan.pv_skip < negligible)
    fail_usage("tail: pv = {} leaves blocks out of the last rows, too; set pv=inf", *plan.pv_skip);
  const std::int64_t first = std::max<std::int64_t>(0, plan.geometry.q_len - rows) / plan.group_rows();
  const std::int64_t plan_rows = plan.rows();
  const RowLists blocks = std::exchange(plan.blocks, {}), columns = std::exchange(plan.columns, {}),
                 dup = std::exchange(plan.dup, {});
  for (std::int64_t row = 0; row < plan_rows; ++row) {
    const std::int64_t group = row % plan.groups();
    if (group >= first) {
      append_run(plan, 0, plan.group_end(group), plan.group_end(group));
    } else {
      copy_row(blocks, row, plan.blocks);
      copy_row(columns, row, plan.columns);
      if (dup.rows() > 0) copy_row(dup, row, plan.dup);
    }
    plan.blocks.end_row();
    plan.columns.end_row();
    if (dup.rows() > 0) plan.dup.end_row();
  }
  return plan;
}

CriticalItems forced_tail(const CriticalItems& items, std::int64_t rows, std::int64_t q_len) {
  if (rows <= 0) return items;
  if (items.places.empty() && !items.knob.empty()) fail("tail: the method's entries have no places");
  CriticalItems kept{.descending = items.descending,
                     .forced_pairs = items.forced_pairs,
                     .forced_mass = items.forced_mass,
                     .causal_pairs = items.causal_pairs,
                     .query_rows = items.query_rows};
  std::size_t n = 0;
  const auto keep = [&] {
    kept.knob.push_back(items.knob[n]);
    kept.pairs.push_back(items.pairs[n]);
    kept.mass.push_back(items.mass[n]);
  };
  for (const CriticalItems::Run& run : items.places) {
    const bool in_tail = run.row_end > q_len - rows;
    for (const std::size_t end = n + static_cast<std::size_t>(run.entries); n < end; ++n) {
      if (!in_tail) {
        keep();
        continue;
      }
      kept.forced_pairs += items.pairs[n];
      kept.forced_mass += static_cast<double>(items.mass[n]);
    }
    if (!in_tail) kept.places.push_back(run);
  }
  for (; n < items.knob.size(); ++n) keep();  // what stands after all places lies outside the tail
  return kept;
}

Method with_tail(Method method) {
  method.params.push_back(
      integer_param("tail", 0, 0, most_tail, "last query rows that keep all keys, in whole tiles"));
  method.plan_cpu = [plan = std::move(method.plan_cpu)](const AttentionInputs& inputs,
                                                        const PlanRequest& request) {
    return dense_tail(plan(inputs, request), tail_rows(request.params));
  };
  if (!method.critical_cpu) return method;
  method.critical_cpu = [critical = std::move(method.critical_cpu)](const AttentionInputs& inputs, int head,
                                                                    const Params& params,
                                                                    const MassMap& mass) {
    return forced_tail(critical(inputs, head, params, mass), tail_rows(params), inputs.geometry.q_len);
  };
  return method;
}

}  // namespace anchor
