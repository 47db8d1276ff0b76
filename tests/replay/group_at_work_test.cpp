#include "anchor/replay/group_at_work.hpp"

#include <doctest/doctest.h>

#include "anchor/engine/cpu_engine.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

TEST_CASE("dense attention of a group at work is made once, and is the engine's own") {
  const auto engine = make_cpu_engine();
  const auto inputs = engine->upload(test::random_group(test::square(64, 16, 4, 1), DType::f32));
  GroupAtWork group(*engine, *inputs, {.layer = 7, .kv_head = 2, .first_head = 8, .heads = {9, 11}});
  CHECK(group.layer == 7);
  CHECK(group.heads == std::vector<int>{9, 11});
  CHECK(group.locals == std::vector<int>{1, 3});
  DenseReference& dense = group.dense();
  CHECK(&group.dense() == &dense);
  const Method& streaming = find_method("streaming");
  PlanRequest request{default_params(streaming), {}};
  request.params.set("local", 8.);
  request.params.set("sink", 1.);
  const PlanHandle plan = engine->plan(streaming, request, *inputs, 0, 64);
  CHECK(dense.compare(*plan).mass_recall == engine->dense_reference(*inputs)->compare(*plan).mass_recall);
}
