#pragma once

#include <algorithm>

#include "common/anchor/prepare.hpp"
#include "dispatch.hpp"
#include "sm90/anchor/identify.cuh"
#include "sm90/anchor/row_scores.cuh"
#include "sm90/sparse_fwd/row_max.cuh"

// The planners of AnchorAttention and of stripes from launch to launch, and their attention in two passes.
namespace anchor::kernels::sm90 {

inline void record(CUevent_st* event, CUstream_st* stream) {
  if (event) check(cudaEventRecord(event, stream), "cudaEventRecord");
}

/// Every row's anchor from its region: its largest score.
template <Element element, int head_dim>
void make_row_anchors(const AnchorParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                      CUstream_st* stream) {
  SparseFwdParams rows{params};
  rows.plan = region_plan(params);
  rows.v = params.k;
  rows.lse = layout.row_anchors;
  const Schedule schedule(rows.shape, rows.plan, layout.schedule);
  run_anchor_region(params, groups, layout, &schedule, stream);
  run_forward<element, head_dim, Mode::row_max, RowMaxConsumer<element, head_dim>>(rows, schedule, {},
                                                                                   stream);
}

/// Stripes: its log-sum-exp.
template <Element element, int head_dim>
void make_row_anchors(const StripesParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                      CUstream_st* stream) {
  run_anchor_region(params, groups, layout, nullptr, stream);
  row_stats<element, head_dim>(region_stats(params, groups, layout), stream);
}

/// Fills the bitmaps and counts of KV heads [kv_begin, kv_end) from pooled queries. Nothing is read of `lse`.
template <Element element, int head_dim>
void select_bits(const AnchorParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                 const float*, int kv_begin, int kv_end, CUstream_st* stream) {
  run_identify<element, head_dim, false>(params, groups, layout, kv_begin, kv_end, stream);
}

/// Stripes: from pooled queries, from every row (against `lse` of its region) or from antidiagonals, whatever
/// a head asks for; and from windows.
template <Element element, int head_dim>
void select_bits(const StripesParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                 const float* lse, int kv_begin, int kv_end, CUstream_st* stream) {
  const int begin = kv_begin * layout.heads_per_kv, end = kv_end * layout.heads_per_kv;
  if (count(layout.unpooled, begin, end) < end - begin)
    run_identify<element, head_dim, false>(params, groups, layout, kv_begin, kv_end, stream);
  run_row_scores<element, head_dim>(params, groups, layout, lse, kv_begin, kv_end, stream);
  run_antidiagonal(params, groups, layout, kv_begin, kv_end, stream);
  run_count(params, groups, layout, kv_begin, kv_end, stream);
  run_windows(params, groups, layout, kv_begin, kv_end, stream);
}

/// From pooled queries, and `lse` of the region for heads whose rows are scored, to lists, and to the
/// schedule over them if one is given.
template <Element element, int head_dim, class Params>
void select_columns(const Params& params, const AnchorGroups& groups, const AnchorLayout& layout,
                    const float* lse, const Schedule* schedule, CUstream_st* stream) {
  const int kv_heads = params.shape.kv_heads;
  // The expansion of a long list needs small blocks, which cannot make the schedule beside it.
  const bool beside = schedule && schedule->segments == 1;
  for (int kv = 0; kv < kv_heads; kv += layout.kv_heads_at_once) {
    const int end = std::min(kv + layout.kv_heads_at_once, kv_heads);
    clear_bitmaps(layout, end - kv, stream);
    select_bits<element, head_dim>(params, groups, layout, lse, kv, end, stream);
    run_compact(params, groups, layout, kv, end, beside && end == kv_heads ? schedule : nullptr, stream);
  }
  if (schedule && !beside)
    run_schedule(params.shape, columns_plan(params), *schedule, /*skip_empty=*/true, stream);
}

template <Element element, int head_dim>
void anchor_plan(const AnchorParams& params, void* workspace, CUstream_st* stream) {
  const AnchorGroups groups(params);
  AnchorLayout layout(params, workspace);
  if (params.row_anchors) layout.row_anchors = params.row_anchors;
  make_row_anchors<element, head_dim>(params, groups, layout, stream);
  record(params.anchors_done, stream);
  run_pool(params, layout, stream);
  if (params.critical)
    run_identify<element, head_dim, true>(params, groups, layout, 0, params.shape.kv_heads, stream);
  else
    select_columns<element, head_dim>(params, groups, layout, nullptr, nullptr, stream);
}

template <Element element, int head_dim>
void stripes_plan(const StripesParams& params, void* workspace, CUstream_st* stream) {
  const AnchorGroups groups(params);
  AnchorLayout layout(params, workspace);
  if (params.row_anchors) layout.row_anchors = params.row_anchors;
  make_row_anchors<element, head_dim>(params, groups, layout, stream);
  record(params.anchors_done, stream);
  run_pool(params, layout, stream);
  select_columns<element, head_dim>(params, groups, layout, layout.row_anchors, nullptr, stream);
}

/// The first pass of attention, over the regions. It leaves out and lse, and pools queries and row anchors on
/// the way.
template <Element element, int head_dim>
void attend_region(const ListPlannerParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                   SparseFwdParams pass, CUstream_st* stream) {
  pass.plan = region_plan(params);
  pass.plan.columns = layout.sinks;
  const Schedule schedule(pass.shape, pass.plan, layout.schedule);
  run_anchor_region(params, groups, layout, &schedule, stream);
  run_forward<element, head_dim, Mode::region, AttentionConsumer<element, head_dim, Mode::region>>(
      pass, schedule, {layout}, stream);
  record(params.anchors_done, stream);
}

template <Element element, int head_dim>
void anchor_forward(const AnchorParams& params, const SparseFwdParams& attention, void* workspace,
                    CUstream_st* stream) {
  const AnchorGroups groups(params);
  const AnchorLayout layout(params, workspace);
  attend_region<element, head_dim>(params, groups, layout, attention, stream);
  SparseFwdParams pass = attention;
  pass.plan = columns_plan(params);
  const Schedule schedule(pass.shape, pass.plan, layout.schedule);
  select_columns<element, head_dim>(params, groups, layout, nullptr, &schedule, stream);
  record(params.columns_done, stream);
  run_forward<element, head_dim, Mode::stripes, AttentionConsumer<element, head_dim, Mode::stripes>>(
      pass, schedule, {}, stream);
}

template <Element element, int head_dim>
void stripes_forward(const StripesParams& params, const SparseFwdParams& attention, void* workspace,
                     CUstream_st* stream) {
  const AnchorGroups groups(params);
  const AnchorLayout layout(params, workspace);
  attend_region<element, head_dim>(params, groups, layout, attention, stream);
  SparseFwdParams pass = attention;
  pass.plan = columns_plan(params);
  Schedule schedule(pass.shape, pass.plan, layout.schedule);
  schedule.leading = params.sink;
  schedule.means = layout.means;
  if (params.mean_correction) run_means(params, attention.v, layout, stream);
  select_columns<element, head_dim>(params, groups, layout, attention.lse, &schedule, stream);
  record(params.columns_done, stream);
  if (params.mean_correction)
    run_forward<element, head_dim, Mode::corrected, AttentionConsumer<element, head_dim, Mode::corrected>>(
        pass, schedule, {}, stream);
  else
    run_forward<element, head_dim, Mode::stripes, AttentionConsumer<element, head_dim, Mode::stripes>>(
        pass, schedule, {}, stream);
}

}  // namespace anchor::kernels::sm90
