#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/attention/reference.hpp"
#include "anchor/kernels/launch.hpp"
#include "anchor/method/method.hpp"
#include "support/close.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/gpu/tolerance.hpp"
#include "support/random.hpp"

using namespace anchor;
using namespace anchor::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

struct Setting {
  int block = 128, step = 16;
  bool v4 = false, dense_tail = false;
};

enum class Run { lists, critical, forward };

struct DevicePlan {
  SparsePlan plan;
  AttentionResult attention;    ///< of Run::forward
  std::vector<float> critical;  ///< [q_heads, groups, kv_len], NaN where nothing was written
  std::int64_t columns = 0;     ///< that there are, whatever the capacity
};

/// Plans, or plans and attends, on the device into poisoned memory.
DevicePlan device_plan(const AttentionInputs& inputs, DType dtype, const Setting& setting,
                       const std::vector<double>& theta, Run run,
                       kernels::Path path = kernels::Path::automatic, std::int64_t column_capacity = -1) {
  const Geometry& g = inputs.geometry;
  const bool critical = run == Run::critical;
  const kernels::Stream stream;
  const DeviceInputs device(inputs, dtype, stream);
  kernels::AnchorParams p;
  p.shape = device.shape;
  p.block = setting.block;
  p.step = setting.step;
  p.v4 = setting.v4;
  p.dense_tail = setting.dense_tail;
  p.q = device.q.data();
  p.k = device.k.data();
  p.stride_q_head = device.stride_q_head;
  p.stride_kv_head = device.stride_kv_head;
  p.stride_q_token = p.stride_kv_token = g.head_dim;

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
  DevicePlan result;
  if (run == Run::forward) {
    const std::size_t rows_out = static_cast<std::size_t>(g.q_heads * g.q_len);
    const kernels::DeviceBuffer out = buffer(static_cast<std::int64_t>(rows_out) * g.head_dim * 2),
                                lse = buffer(static_cast<std::int64_t>(rows_out) * 4);
    kernels::SparseFwdParams attention{.shape = p.shape,
                                       .q = p.q,
                                       .k = p.k,
                                       .v = device.v.data(),
                                       .out = out.data(),
                                       .lse = lse.data<float>(),
                                       .stride_q_head = p.stride_q_head,
                                       .stride_q_token = p.stride_q_token,
                                       .stride_kv_head = p.stride_kv_head,
                                       .stride_kv_token = p.stride_kv_token,
                                       .stride_out_head = g.q_len * g.head_dim,
                                       .stride_out_token = g.head_dim};
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

SparsePlan cpu_plan(const AttentionInputs& inputs, const Setting& setting, const std::vector<double>& theta) {
  const Method& method = find_method("anchor");
  PlanRequest request{default_params(method), theta};
  set_param(method, request.params, "block", std::to_string(setting.block));
  set_param(method, request.params, "step", std::to_string(setting.step));
  set_param(method, request.params, "mode", setting.v4 ? "v4" : "clean");
  set_param(method, request.params, "tail", setting.dense_tail ? "dense" : "sparse");
  return method.plan_cpu(inputs, request);
}

/// The critical theta of a key by the definition, in float64; NaN for keys that are no candidates.
std::vector<double> reference_critical(const AttentionInputs& inputs, const Setting& setting) {
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
          double top = -infinity;
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

/// Columns and duplicates of one plan row together, sorted.
std::vector<std::int32_t> selected(const SparsePlan& plan, std::int64_t row) {
  std::vector<std::int32_t> keys(plan.columns[row].begin(), plan.columns[row].end());
  if (plan.dup.rows() > 0) keys.insert(keys.end(), plan.dup[row].begin(), plan.dup[row].end());
  std::sort(keys.begin(), keys.end());
  return keys;
}

/// Pooled scores sum head_dim products of numbers of a few units in float: an error of 1e-4 is generous.
constexpr double tolerance = 1e-4;

/// The paths that this device has for a type and head dimension.
std::vector<kernels::Path> paths(DType dtype, int head_dim) {
  kernels::AnchorParams p;
  p.shape.element = element_of(dtype);
  p.shape.head_dim = head_dim;
  p.shape.kv_len = 1;
  std::vector<kernels::Path> found;
  for (const kernels::Path path : {kernels::Path::sm90, kernels::Path::sm80})
    if (!kernels::unsupported(p, kernels::device_info(kernels::current_device()), path))
      found.push_back(path);
  return found;
}

void check_planner(const Geometry& geometry, DType dtype, const Setting& setting, unsigned seed) {
  CAPTURE(geometry.q_len);
  CAPTURE(geometry.q_start);
  CAPTURE(geometry.q_heads);
  CAPTURE(geometry.head_dim);
  CAPTURE(setting.block);
  CAPTURE(setting.step);
  CAPTURE(setting.v4);
  RandomInputs inputs = random_inputs(geometry, seed);
  round_to(dtype, inputs.q);
  round_to(dtype, inputs.k);
  const std::vector<double> critical = reference_critical(inputs.view(), setting);
  for (const kernels::Path path : paths(dtype, geometry.head_dim)) {
    CAPTURE(static_cast<int>(path));
    std::vector<float> measured;
    if (setting.step <= 16) {
      measured = device_plan(inputs.view(), dtype, setting,
                             std::vector<double>(static_cast<std::size_t>(geometry.q_heads), 0.),
                             Run::critical, path)
                     .critical;
      check_close(measured, critical, tolerance);
    }

    // Thresholds in the middle of each head's values, and both infinities.
    for (int round = 0; round < 3; ++round) {
      std::vector<double> theta;
      for (int head = 0; head < geometry.q_heads; ++head)
        theta.push_back(round == 0 ? 3.5 + 0.4 * head : round == 1 ? infinity : -infinity);
      const SparsePlan expected = cpu_plan(inputs.view(), setting, theta);
      const SparsePlan actual = device_plan(inputs.view(), dtype, setting, theta, Run::lists, path).plan;
      CHECK(actual.blocks == expected.blocks);
      CHECK(validate(actual) == "");
      std::int64_t borderline = 0, candidates = 0, wrong = 0, not_critical = 0;
      for (std::int64_t row = 0; row < actual.rows(); ++row) {
        const auto keys = selected(actual, row), wanted = selected(expected, row);
        for (std::int64_t j = 0; j < geometry.kv_len; ++j) {
          const double t = critical[static_cast<std::size_t>(row * geometry.kv_len + j)];
          const double limit = theta[static_cast<std::size_t>(row / actual.groups())];
          const bool has = std::binary_search(keys.begin(), keys.end(), j);
          candidates += !std::isnan(t);
          if (std::abs(t - limit) <= tolerance)
            ++borderline;
          else
            wrong += has != (t <= limit) || has != std::binary_search(wanted.begin(), wanted.end(), j);
          if (!measured.empty())
            not_critical += has != (measured[static_cast<std::size_t>(row * geometry.kv_len + j)] <=
                                    static_cast<float>(limit));
        }
      }
      CHECK(wrong == 0);
      CHECK(not_critical == 0);
      CHECK(borderline <= 2 + candidates / 1000);
    }
  }
}

/// Planning and attention in one: its lists against the definition, its output against the reference under
/// these lists.
void check_forward(const Geometry& geometry, DType dtype, const Setting& setting, double theta,
                   unsigned seed) {
  CAPTURE(geometry.q_len);
  CAPTURE(geometry.q_start);
  CAPTURE(geometry.q_heads);
  CAPTURE(geometry.head_dim);
  CAPTURE(setting.step);
  CAPTURE(setting.v4);
  CAPTURE(theta);
  RandomInputs inputs = random_inputs(geometry, seed);
  round_to(dtype, inputs.q);
  round_to(dtype, inputs.k);
  round_to(dtype, inputs.v);
  const std::vector<double> thetas(static_cast<std::size_t>(geometry.q_heads), theta);
  const DevicePlan actual = device_plan(inputs.view(), dtype, setting, thetas, Run::forward);
  CHECK(actual.plan.blocks == cpu_plan(inputs.view(), setting, thetas).blocks);
  REQUIRE(validate(actual.plan) == "");
  const std::vector<double> critical = reference_critical(inputs.view(), setting);
  std::int64_t wrong = 0;
  for (std::int64_t row = 0; row < actual.plan.rows(); ++row) {
    const auto keys = selected(actual.plan, row);
    for (std::int64_t j = 0; j < geometry.kv_len; ++j) {
      const double t = critical[static_cast<std::size_t>(row * geometry.kv_len + j)];
      if (!(std::abs(t - theta) <= tolerance))
        wrong += std::binary_search(keys.begin(), keys.end(), j) != (t <= theta);
    }
  }
  CHECK(wrong == 0);

  const AttentionResult expected = reference_attention(inputs.view(), actual.plan);
  std::vector<float> rounded = rounded_weights_attention(inputs.view(), actual.plan, dtype);
  round_to(dtype, rounded);
  const Errors baseline = errors(rounded, expected.out), e = errors(actual.attention.out, expected.out);
  // The first pass's output is rounded too, which is half a unit of its last place.
  const double unit = dtype == DType::bf16 ? 0x1p-8 : 0x1p-11;
  CHECK(e.worst <= 2 * baseline.worst + (geometry.q_len < 64 ? 4 * unit : unit));
  CHECK(e.rms <= 2 * baseline.rms + (geometry.q_len < 64 ? unit : 1e-6));
  check_close(actual.attention.lse, expected.lse, 2e-5);
}

}  // namespace

TEST_CASE("planning and attention in one give the plan's attention") {
  for (const DType dtype : {DType::bf16, DType::f16})
    for (const int dim : {64, 128}) {
      if (kernels::AnchorParams p; true) {
        p.shape.element = element_of(dtype);
        p.shape.head_dim = dim;
        p.shape.kv_len = 1;
        if (kernels::unsupported(p, kernels::device_info(kernels::current_device()), kernels::Path::sm90))
          continue;
      }
      unsigned seed = 41;
      for (const int step : {1, 2, 3, 16})
        for (const std::int64_t length : {std::int64_t{1}, std::int64_t{127}, std::int64_t{128 * step + 1},
                                          std::int64_t{384 * step + 77}})
          if (length < 3000)
            for (const double theta : {3.5, infinity, -infinity})
              check_forward(square(length, dim, 2, 1), dtype, {128, step}, theta, seed++);
      check_forward(square(1500, dim, 9, 3), dtype, {128, 1}, 3.6, seed++);
      check_forward(square(1500, dim, 8, 1), dtype, {128, 4}, 3.4, seed++);
      check_forward(square(1000, dim, 2, 1, 512), dtype, {128, 2}, 3.5, seed++);
      check_forward(square(1000, dim, 2, 1, 896), dtype, {128, 1}, 3.5, seed++);
      for (const bool dense_tail : {true, false})
        for (const double theta : {3.5, infinity})
          check_forward(square(1100, dim, 2, 1), dtype, {128, 2, true, dense_tail}, theta, seed++);
    }
}

TEST_CASE("the device plans what the definition and the CPU planner select") {
  for (const DType dtype : {DType::bf16, DType::f16})
    for (const int dim : {64, 128, 256}) {
      for (const int step : {1, 2, 3, 4, 8, 16}) {
        const std::int64_t group = 32 * step;
        for (const std::int64_t length : {std::int64_t{1}, group - 1, group, group + 1, 3 * group + 45})
          check_planner(square(length, dim), dtype, {32, step}, static_cast<unsigned>(step));
      }
      check_planner(square(1500, dim, 4, 2), dtype, {128, 1}, 5);
      check_planner(square(1500, dim, 3, 1), dtype, {128, 4}, 6);
      check_planner(square(900, dim, 9, 3), dtype, {128, 1}, 7);
      check_planner(square(700, dim, 8, 1), dtype, {64, 2}, 8);
    }
}

TEST_CASE("other blocks, long groups, chunks and dense tails are planned alike") {
  check_planner(square(1100, 128, 2, 1), DType::bf16, {100, 2}, 11);
  check_planner(square(700, 64, 2, 1), DType::bf16, {17, 3}, 12);
  check_planner(square(1500, 128, 2, 1), DType::bf16, {256, 2}, 13);
  check_planner(square(1500, 64, 2, 1), DType::bf16, {16, 20}, 14);
  check_planner(square(1300, 64, 2, 1), DType::bf16, {8, 64}, 15);
  check_planner(square(1000, 128, 2, 1, 512), DType::bf16, {128, 2}, 16);
  check_planner(square(1000, 128, 2, 1, 896), DType::bf16, {128, 1}, 17);
  check_planner(square(1100, 128, 2, 1), DType::bf16, {128, 2, false, true}, 18);
}

TEST_CASE("v4 windows split the selection into columns and duplicates as the CPU planner does") {
  for (const bool dense_tail : {true, false})
    for (const std::int64_t length : {255, 256, 512, 768, 1100}) {
      check_planner(square(length, 128, 2, 1), DType::bf16, {64, 4, true, dense_tail}, 21);
      RandomInputs inputs = random_inputs(square(length, 128, 2, 1), 22);
      round_to(DType::bf16, inputs.q);
      round_to(DType::bf16, inputs.k);
      const Setting setting{64, 4, true, dense_tail};
      const SparsePlan all = cpu_plan(inputs.view(), setting, {infinity, infinity});
      const SparsePlan actual =
          device_plan(inputs.view(), DType::bf16, setting, {infinity, infinity}, Run::lists).plan;
      CHECK(actual.columns == all.columns);
      CHECK(actual.dup == all.dup);
    }
}

TEST_CASE("lists that do not fit are cut off, and their size is reported") {
  RandomInputs inputs = random_inputs(square(1000, 64, 2, 1), 31);
  round_to(DType::bf16, inputs.q);
  round_to(DType::bf16, inputs.k);
  const Setting setting{64, 2};
  const DevicePlan whole = device_plan(inputs.view(), DType::bf16, setting, {5, 5}, Run::lists);
  const DevicePlan cut = device_plan(inputs.view(), DType::bf16, setting, {5, 5}, Run::lists,
                                     kernels::Path::automatic, whole.columns / 2);
  CHECK(cut.columns == whole.columns);
  CHECK(cut.plan.columns.offsets == whole.plan.columns.offsets);
  CHECK(std::equal(cut.plan.columns.items.begin(), cut.plan.columns.items.end(),
                   whole.plan.columns.items.begin()));
}
