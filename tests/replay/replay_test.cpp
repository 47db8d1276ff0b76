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
