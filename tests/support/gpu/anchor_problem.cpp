#include "support/gpu/anchor_problem.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "anchor/method/method.hpp"
#include "support/gpu/device_inputs.hpp"

namespace anchor::test {

AnchorResult device_plan(const AttentionInputs& inputs, DType dtype, const AnchorSetting& setting,
                         const std::vector<double>& theta, AnchorRun run, kernels::Path path,
                         std::int64_t column_capacity) {
  const Geometry& g = inputs.geometry;
  const bool critical = run == AnchorRun::critical;
  const kernels::Stream stream;
  const DeviceInputs device(inputs, dtype, stream);
  kernels::AnchorParams p{{device.tensors()}};
  p.block = setting.block;
  p.step = setting.step;
  p.v4 = setting.v4;
  p.dense_tail = setting.dense_tail;

  const std::int64_t rows = g.q_heads * kernels::plan_groups(p);
  const std::vector<float> thetas(theta.begin(), theta.end());
  const auto buffer = [&](std::int64_t bytes) {
    kernels::DeviceBuffer made(static_cast<std::size_t>(bytes) + 16);
    made.fill(0xff, stream);
    return made;
  };
  p.column_capacity = column_capacity >= 0 ? column_capacity : rows * g.kv_len;
  p.dup_capacity = rows * g.kv_len;
  kernels::DeviceBuffer theta_buffer = buffer(g.q_heads * 4), block_offsets = buffer((rows + 1) * 8),
                        blocks = buffer(kernels::block_count(p) * 4), column_offsets = buffer((rows + 1) * 8),
                        columns = buffer(p.column_capacity * 4), dup_offsets = buffer((rows + 1) * 8),
                        dup = buffer(p.dup_capacity * 4),
                        critical_buffer = buffer(critical ? rows * g.kv_len * 4 : 0);
  theta_buffer.upload(thetas.data(), thetas.size() * 4, stream);
  p.theta = theta_buffer.data<float>();
  p.block_offsets = block_offsets.data<std::int64_t>();
  p.blocks = blocks.data<std::int32_t>();
  p.column_offsets = column_offsets.data<std::int64_t>();
  p.columns = columns.data<std::int32_t>();
  if (setting.v4) {
    p.dup_offsets = dup_offsets.data<std::int64_t>();
    p.dup = dup.data<std::int32_t>();
  }
  if (critical) p.critical = critical_buffer.data<float>();
  kernels::DeviceBuffer workspace = buffer(static_cast<std::int64_t>(kernels::workspace_bytes(p)));
  AnchorResult result;
  if (run == AnchorRun::forward) {
    const std::size_t rows_out = static_cast<std::size_t>(g.q_heads * g.q_len);
    const kernels::DeviceBuffer out = buffer(static_cast<std::int64_t>(rows_out) * g.head_dim * 2),
                                lse = buffer(static_cast<std::int64_t>(rows_out) * 4);
    kernels::SparseFwdParams attention{device.tensors()};
    attention.out = out.data();
    attention.lse = lse.data<float>();
    attention.stride_out_head = g.q_len * g.head_dim;
    attention.stride_out_token = g.head_dim;
    kernels::anchor_forward(p, attention, workspace.data(), stream, path);
    std::vector<std::byte> stored(rows_out * static_cast<std::size_t>(g.head_dim) * 2);
    out.download(stored.data(), stored.size(), stream);
    result.attention.out.resize(stored.size() / 2);
    to_float(dtype, stored.data(), std::span(result.attention.out));
    std::vector<float> lse_host(rows_out);
    lse.download(lse_host.data(), rows_out * 4, stream);
    result.attention.lse.assign(lse_host.begin(), lse_host.end());
    std::uint32_t after = 0;
    out.download(&after, 4, stream, stored.size());
    CHECK_MESSAGE(after == ~0u, "memory beyond out was written");
  } else {
    kernels::anchor_plan(p, workspace.data(), stream, path);
  }

  result.plan = {
      .geometry = g, .q_tile = setting.block, .kv_tile = setting.block, .tiles_per_row = setting.step};
  REQUIRE(result.plan.rows() == rows);
  const auto lists = [&](const kernels::DeviceBuffer& offsets, const kernels::DeviceBuffer& items,
                         std::int64_t capacity) {
    RowLists list;
    list.offsets.resize(static_cast<std::size_t>(rows + 1));
    offsets.download(list.offsets.data(), list.offsets.size() * 8, stream);
    list.items.resize(static_cast<std::size_t>(std::min(list.offsets.back(), capacity)));
    if (!list.items.empty()) items.download(list.items.data(), list.items.size() * 4, stream);
    std::int32_t after = 0;
    items.download(&after, 4, stream, list.items.size() * 4);
    CHECK_MESSAGE(after == -1, "memory beyond a list was written");
    return list;
  };
  result.plan.blocks = lists(block_offsets, blocks, kernels::block_count(p));
  if (critical) {
    result.critical.resize(static_cast<std::size_t>(rows * g.kv_len));
    critical_buffer.download(result.critical.data(), result.critical.size() * 4, stream);
  } else {
    result.plan.columns = lists(column_offsets, columns, p.column_capacity);
    result.columns = result.plan.columns.offsets.back();
    if (setting.v4) result.plan.dup = lists(dup_offsets, dup, p.dup_capacity);
  }
  return result;
}

SparsePlan cpu_plan(const AttentionInputs& inputs, const AnchorSetting& setting,
                    const std::vector<double>& theta) {
  const Method& method = find_method("anchor");
  PlanRequest request{default_params(method), theta};
  set_param(method, request.params, "block", std::to_string(setting.block));
  set_param(method, request.params, "step", std::to_string(setting.step));
  set_param(method, request.params, "mode", setting.v4 ? "v4" : "clean");
  set_param(method, request.params, "tail", setting.dense_tail ? "dense" : "sparse");
  return method.plan_cpu(inputs, request);
}

std::vector<double> reference_critical(const AttentionInputs& inputs, const AnchorSetting& setting) {
  const Geometry& g = inputs.geometry;
  const std::int64_t size = std::int64_t{setting.block} * setting.step, groups = (g.q_len + size - 1) / size;
  std::vector<double> critical(static_cast<std::size_t>(g.q_heads * groups * g.kv_len), std::nan(""));
  const auto dot = [&](const auto* a, const float* b) {
    double sum = 0;
    for (int c = 0; c < g.head_dim; ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    return sum * static_cast<double>(static_cast<float>(g.softmax_scale));
  };
  for (int head = 0; head < g.q_heads; ++head) {
    for (std::int64_t group = 0; group < groups; ++group) {
      const std::int64_t begin = g.q_start + group * size;
      const bool dense = begin == 0 || (setting.dense_tail && begin + size > g.q_start + g.q_len);
      const std::int64_t from = setting.block, to = std::min(begin - setting.block, g.kv_len);
      if (dense || from >= to) continue;
      const std::int64_t hole = setting.v4 ? size : from, hole_end = setting.v4 ? begin : to;
      double* out = critical.data() + (head * groups + group) * g.kv_len;
      for (std::int64_t block = group * size; block < std::min((group + 1) * size, g.q_len);
           block += setting.block) {
        const std::int64_t end = std::min({block + setting.block, (group + 1) * size, g.q_len});
        std::vector<double> query(static_cast<std::size_t>(g.head_dim), 0);
        double anchor = 0;
        for (std::int64_t i = block; i < end; ++i) {
          double top = -std::numeric_limits<double>::infinity();
          for (std::int64_t j = 0; j < g.visible(i); ++j)
            if (j < hole || j >= hole_end)
              top = std::max(top, dot(inputs.q_row(head, i), inputs.keys(head) + j * g.head_dim));
          anchor += top;
          for (int c = 0; c < g.head_dim; ++c)
            query[static_cast<std::size_t>(c)] += static_cast<double>(inputs.q_row(head, i)[c]);
        }
        const auto rows = static_cast<double>(end - block);
        for (double& x : query) x /= rows;
        for (std::int64_t j = from; j < to; ++j) {
          const double t = anchor / rows - dot(query.data(), inputs.keys(head) + j * g.head_dim);
          out[j] = std::isnan(out[j]) ? t : std::min(out[j], t);
        }
      }
    }
  }
  return critical;
}

std::vector<std::int32_t> selected(const SparsePlan& plan, std::int64_t row) {
  std::vector<std::int32_t> keys(plan.columns[row].begin(), plan.columns[row].end());
  if (plan.dup.rows() > 0) keys.insert(keys.end(), plan.dup[row].begin(), plan.dup[row].end());
  std::sort(keys.begin(), keys.end());
  return keys;
}

}  // namespace anchor::test
