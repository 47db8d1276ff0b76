#include "anchor/timing/layer_check.hpp"

#include <fmt/format.h>

#include "anchor/base/error.hpp"
#include "anchor/tuning/stripe_density.hpp"

namespace anchor {
namespace {

constexpr int checked_plan_rows = 8;
constexpr std::int64_t most_checked_tokens = 16384;  // longer plans of whole heads take the CPU too long
constexpr int borderline = 50;                       // one entry in so many may fall on the other side

/// Compares the plan of a device with the CPU planner's.
void check_plan(LayerCheck& check, Pipeline& pipeline, const SparsePlan& plan, const KvGroup& layer,
                const Method& method, const PlanRequest& request) {
  if (selects_stripes(method, request.params, layer.geometry)) {
    check.columns = plan_agreement(layer, plan, method, request, pipeline.knob_rounding(), checked_plan_rows);
    const PlanAgreement& found = *check.columns;
    if (found.wrong > 0 || !found.blocks_equal) {
      check.failure =
          fmt::format("check failed: {} of {} columns differ from the CPU planner's by more than rounding{}",
                      found.wrong, found.columns, found.blocks_equal ? "" : ", and blocks differ");
    }
    return;
  }
  if (layer.geometry.q_len > most_checked_tokens) return;
  GroupAgreement found;
  for (int kv_head = 0; kv_head < layer.geometry.kv_heads; ++kv_head) {
    const GroupAgreement one = group_agreement(layer, plan, method, request, kv_head);
    found.entries += one.entries;
    found.different += one.different;
    found.wrong += one.wrong;
  }
  check.blocks = found;
  if (found.wrong > 0) {
    check.failure = fmt::format(
        "check failed: {} of {} blocks and columns differ from the CPU planner's by more than rounding",
        found.wrong, found.entries);
  } else if (found.different * borderline > found.entries) {
    check.failure = fmt::format("check failed: {} of {} blocks and columns differ from the CPU planner's",
                                found.different, found.entries);
  }
}

}  // namespace

void LayerCheck::fill(ResultRow& row) const {
  row.density = stats.density();
  row.work_density = stats.work_density();
  row.stripe_density = stats.stripe_density();
  row.extra["checked_rows"] = static_cast<double>(rows);
  row.extra["check_out"] = error.out;
  row.extra["check_lse"] = error.lse;
  if (device_plan) row.extra["plan_checked"] = std::string(blocks || columns ? "yes" : "no");
  if (blocks) {
    row.extra["checked_entries"] = static_cast<double>(blocks->entries);
    row.extra["borderline_entries"] = static_cast<double>(blocks->different);
  }
  if (columns) {
    row.extra["checked_columns"] = static_cast<double>(columns->columns);
    row.extra["borderline_columns"] = static_cast<double>(columns->different);
  }
}

LayerCheck check_layer(Pipeline& pipeline, const KvGroup& layer, const Method* method,
                       const PlanRequest& request, int sampled_rows) {
  const SparsePlan plan = pipeline.plan();
  if (const std::string broken = validate(plan); !broken.empty()) fail("the plan is broken: {}", broken);
  if (plan.pv_skip) fail("checks know no pv_skip: set pv=inf");
  LayerCheck check{.stats = layer_stats(plan)};

  const auto rows = sample_rows(layer.geometry, plan.group_rows(), sampled_rows, 1);
  check.rows = std::ssize(rows);
  check.error = sampled_error(layer, plan, rows, pipeline.rows(rows), layer.q.dtype);
  if (!check.error.ok()) {
    check.failure = fmt::format(
        "check failed: head {} row {} differs from the reference by {:.3g} (out) and {:.3g} (lse) times what "
        "rounding allows",
        check.error.worst.head, check.error.worst.row, check.error.out, check.error.lse);
  } else if (method != nullptr && pipeline.plan_path() == "cuda") {
    check.device_plan = true;
    check_plan(check, pipeline, plan, layer, *method, request);
  }
  return check;
}

}  // namespace anchor
