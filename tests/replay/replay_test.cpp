#include "anchor/replay/replay.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/engine/cpu_engine.hpp"
#include "support/random.hpp"

using namespace anchor;

namespace {

KvGroup group_of(const test::RandomInputs& inputs) {
  const Geometry& g = inputs.geometry;
  return {.geometry = g,
          .q = Tensor::from_float(DType::f32, {g.q_heads, g.q_len, g.head_dim}, inputs.q),
          .k = Tensor::from_float(DType::f32, {g.kv_heads, g.kv_len, g.head_dim}, inputs.k),
          .v = Tensor::from_float(DType::f32, {g.kv_heads, g.kv_len, g.head_dim}, inputs.v)};
}

}  // namespace

TEST_CASE("a full plan replays to dense attention: recall 1, no output error, density 1") {
  const auto engine = make_cpu_engine();
  for (const std::int64_t length : {1, 15, 16, 17, 100}) {
    const auto inputs = engine->upload(group_of(test::random_inputs(test::square(length, 64, 3, 1))));
    const auto dense = engine->dense_reference(*inputs);
    const Method& anchor = find_method("anchor");
    PlanRequest request{default_params(anchor), {}};
    request.params.set("block", 16.);
    request.params.set("step", 2.);
    request.params.set("theta", HUGE_VAL);
    for (const HeadReplay& head : replay(*engine, *inputs, anchor, request, *dense).heads) {
      CHECK(head.stats.density() == 1);
      CHECK(head.recall.mean == doctest::Approx(1).epsilon(1e-6));
      CHECK(head.recall.min == doctest::Approx(1).epsilon(1e-5));
      CHECK(head.difference.relative_l2() < 1e-5);
      CHECK(head.difference.recall_0005() == 1);
    }
  }
}

TEST_CASE("replaying in ranges of query rows changes nothing") {
  const auto engine = make_cpu_engine();
  const auto inputs = engine->upload(group_of(test::random_inputs(test::square(200, 64, 2, 1))));
  const auto dense = engine->dense_reference(*inputs);
  Method topk = find_method("topk");
  PlanRequest request{default_params(topk), {}};
  request.params.set("k", 10.);
  topk.rows_per_plan = 0;
  const Replay whole = replay(*engine, *inputs, topk, request, *dense);
  topk.rows_per_plan = 48;
  const Replay ranges = replay(*engine, *inputs, topk, request, *dense);
  for (std::size_t head = 0; head < 2; ++head) {
    CHECK(ranges.heads[head].stats.visible_pairs == whole.heads[head].stats.visible_pairs);
    CHECK(ranges.heads[head].stats.causal_pairs == 200 * 201 / 2);
    CHECK(ranges.heads[head].recall.mean == doctest::Approx(whole.heads[head].recall.mean).epsilon(1e-7));
    CHECK(ranges.heads[head].recall.min == doctest::Approx(whole.heads[head].recall.min).epsilon(1e-6));
    CHECK(ranges.heads[head].difference.relative_l2() ==
          doctest::Approx(whole.heads[head].difference.relative_l2()).epsilon(1e-5));
  }
}

TEST_CASE("peaks: a full plan keeps all, ranges of rows add up, and the reference engine agrees") {
  const auto engine = make_cpu_engine(), exact = make_reference_engine();
  const KvGroup group = group_of(test::random_inputs(test::square(300, 16, 2, 1), 3, 3));
  const auto here = engine->upload(group), there = exact->upload(group);
  const auto dense = engine->dense_reference(*here), definition = exact->dense_reference(*there);
  Method topk = find_method("topk");
  PlanRequest request{default_params(topk), {}};
  request.params.set("k", 2.);
  topk.rows_per_plan = 0;
  const Replay whole = replay(*engine, *here, topk, request, *dense);
  const Replay slow = replay(*exact, *there, topk, request, *definition);
  topk.rows_per_plan = 48;
  const Replay ranges = replay(*engine, *here, topk, request, *dense);
  request.params.set("k", 300.);
  const Replay full = replay(*engine, *here, topk, request, *dense);
  for (std::size_t head = 0; head < 2; ++head) {
    REQUIRE(whole.heads[head].peaks);
    const PeakCounts& peaks = *whole.heads[head].peaks;
    CHECK(peaks.all[0] > 20);
    CHECK(peaks.all[1] > peaks.all[0]);
    CHECK(peaks.kept[1] < peaks.all[1]);
    CHECK(peaks.kept[1] > 0);
    CHECK(ranges.heads[head].peaks->all == peaks.all);
    CHECK(ranges.heads[head].peaks->kept == peaks.kept);
    CHECK(slow.heads[head].peaks->all == peaks.all);
    CHECK(slow.heads[head].peaks->kept == peaks.kept);
    CHECK(full.heads[head].peaks->kept == peaks.all);
    ResultRow row;
    fill_measured(row, whole.heads[head]);
    CHECK(*row.peak_recall_00625 * *row.peak_pairs_00625 == doctest::Approx(double(peaks.kept[1])));
  }
}

TEST_CASE("metrics of some query rows are those of the whole, restricted") {
  const auto engine = make_cpu_engine();
  const auto inputs = engine->upload(group_of(test::random_inputs(test::square(300, 16, 2, 1), 4, 3)));
  Method topk = find_method("topk");
  PlanRequest request{default_params(topk), {}};
  request.params.set("k", 5.);
  topk.rows_per_plan = 0;
  const auto plan = engine->plan(topk, request, *inputs, 0, 300);
  const auto all = engine->dense_reference(*inputs)->compare_heads(*plan, 0);
  const RowRange rows{250, 290};
  const auto some = host_dense_reference(*engine, *inputs, rows);
  const Replay whole = replay(*engine, *inputs, topk, request, *some);
  topk.rows_per_plan = 48;
  const Replay ranges = replay(*engine, *inputs, topk, request, *some);
  PeakCounts parts;
  for (const RowRange part : {RowRange{0, 250}, rows, RowRange{290, 300}})
    parts += *host_dense_reference(*engine, *inputs, part)->compare_heads(*plan, 0)[1].peaks;
  CHECK(parts.all == all[1].peaks->all);
  CHECK(parts.kept == all[1].peaks->kept);
  for (std::size_t head = 0; head < 2; ++head) {
    const std::vector<double>& shares = all[head].row_recall;
    const RecallStats expected = recall_stats({shares.begin() + 250, shares.begin() + 290});
    for (const Replay* made : {&whole, &ranges}) {
      CHECK(made->heads[head].recall.mean == doctest::Approx(expected.mean).epsilon(1e-7));
      CHECK(made->heads[head].recall.min == doctest::Approx(expected.min).epsilon(1e-6));
      CHECK(made->heads[head].stats.causal_pairs == 300 * 301 / 2);  // densities are the whole plan's
    }
    CHECK(ranges.heads[head].difference.relative_l2() ==
          doctest::Approx(whole.heads[head].difference.relative_l2()).epsilon(1e-5));
    CHECK(whole.heads[head].difference.relative_l2() != all[head].difference.relative_l2());
  }
}
