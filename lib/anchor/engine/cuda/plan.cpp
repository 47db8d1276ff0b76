#include "anchor/engine/cuda/plan.hpp"

#include "anchor/base/error.hpp"
#include "anchor/kernels/stats.hpp"

namespace anchor {

template <class T>
const T* CudaLists::keep(const std::vector<T>& values, const kernels::Stream& stream) {
  kernels::DeviceBuffer buffer(values.size() * sizeof(T));
  if (!values.empty()) buffer.upload(values.data(), buffer.bytes(), stream);
  buffers_.push_back(std::move(buffer));
  return buffers_.back().data<T>();
}

CudaLists::CudaLists(const SparsePlan& plan, const kernels::Stream& stream) {
  check_pv_skip(plan.pv_skip);
  params.q_tile = plan.q_tile;
  params.kv_tile = plan.kv_tile;
  params.tiles_per_row = plan.tiles_per_row;
  params.groups = plan.groups();
  params.mean_correction = plan.mean_correction;
  params.block_offsets = keep(plan.blocks.offsets, stream);
  params.blocks = keep(plan.blocks.items, stream);
  params.column_offsets = keep(plan.columns.offsets, stream);
  params.columns = keep(plan.columns.items, stream);
  params.block_capacity = static_cast<std::int64_t>(plan.blocks.items.size());
  params.column_capacity = static_cast<std::int64_t>(plan.columns.items.size());
  params.packed_heads = plan.packed_heads;
  if (plan.dup.rows() > 0) {
    params.dup_offsets = keep(plan.dup.offsets, stream);
    params.dup = keep(plan.dup.items, stream);
  }
  if (plan.window) {
    params.local =
        keep(std::vector<std::int32_t>(plan.window->local.begin(), plan.window->local.end()), stream);
    params.sink = static_cast<std::int32_t>(plan.window->sink);
    params.dense_from = static_cast<std::int32_t>(plan.window->dense_from);
  }
}

namespace {

template <class T>
std::vector<T> fetch(const T* source, std::int64_t count, const kernels::Stream& stream) {
  std::vector<T> values(static_cast<std::size_t>(count));
  kernels::download(values.data(), source, values.size() * sizeof(T), stream);
  return values;
}

RowLists fetch_lists(const std::int64_t* offsets, const std::int32_t* items, std::int64_t rows,
                     const kernels::Stream& stream) {
  RowLists lists;
  lists.offsets = fetch(offsets, rows + 1, stream);
  lists.items = fetch(items, lists.offsets.back(), stream);
  return lists;
}

}  // namespace

void check_pv_skip(std::optional<double> pv_skip) {
  // What pv_skip leaves out beyond 40 octaves is below the resolution of float sums: it may as well be added.
  if (pv_skip && *pv_skip < 40) fail("pv_skip is not supported on a CUDA device; set pv=inf or use the CPU");
}

SparsePlan download_plan(const kernels::PlanParams& params, const Geometry& geometry,
                         const kernels::Stream& stream) {
  SparsePlan plan{.geometry = geometry,
                  .q_tile = params.q_tile,
                  .kv_tile = params.kv_tile,
                  .tiles_per_row = params.tiles_per_row,
                  .mean_correction = params.mean_correction,
                  .packed_heads = params.packed_heads};
  plan.blocks = fetch_lists(params.block_offsets, params.blocks, plan.rows(), stream);
  plan.columns = fetch_lists(params.column_offsets, params.columns, plan.rows(), stream);
  if (params.dup_offsets) plan.dup = fetch_lists(params.dup_offsets, params.dup, plan.rows(), stream);
  if (params.local) {
    const auto local = fetch(params.local, geometry.q_heads, stream);
    plan.window = SparsePlan::Window{
        .sink = params.sink, .local = {local.begin(), local.end()}, .dense_from = params.dense_from};
  }
  return plan;
}

std::vector<PlanStats> cuda_plan_stats(const kernels::PlanParams& params, const Geometry& geometry,
                                       const kernels::Stream& stream) {
  const kernels::Shape shape{.q_heads = geometry.q_heads,
                             .kv_heads = geometry.kv_heads,
                             .q_len = geometry.q_len,
                             .kv_len = geometry.kv_len,
                             .q_start = geometry.q_start,
                             .sliding_window = geometry.windowed() ? geometry.sliding_window : 0};
  std::vector<kernels::PairCounts> counts(static_cast<std::size_t>(geometry.q_heads));
  kernels::DeviceBuffer buffer(counts.size() * sizeof counts[0]);
  kernels::count_pairs(shape, params, buffer.data<kernels::PairCounts>(), stream);
  buffer.download(counts.data(), buffer.bytes(), stream);
  std::vector<PlanStats> heads;
  for (const kernels::PairCounts& pairs : counts)
    heads.push_back({.causal_pairs = geometry.causal_pairs(),
                     .visible_pairs = pairs.visible,
                     .work_pairs = pairs.work,
                     .stripe_pairs = pairs.stripe});
  return heads;
}

kernels::SparseFwdParams forward_params(const CudaInputs& inputs, std::int64_t begin, std::int64_t end,
                                        const kernels::PlanParams& plan, void* out, float* lse,
                                        bool out_f32) {
  const std::int64_t dim = inputs.width();
  kernels::SparseFwdParams params{inputs.tensors(begin, end)};
  params.plan = plan;
  params.out = out;
  params.lse = lse;
  params.out_f32 = out_f32;
  params.stride_out_head = (end - begin) * dim;
  params.stride_out_token = dim;
  return params;
}

void check_supported(const kernels::SparseFwdParams& params) {
  const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
  if (const char* reason = kernels::unsupported(params, device))
    fail("not supported on {}: {} ({}, head_dim {})", device.name, reason,
         name_of(dtype_of(params.shape.element)), params.shape.head_dim);
}

}  // namespace anchor
