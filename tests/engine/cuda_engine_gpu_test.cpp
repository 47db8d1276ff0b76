#include <doctest/doctest.h>

#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/engine/devices.hpp"
#include "anchor/replay/plan_agreement.hpp"
#include "anchor/replay/replay.hpp"
#include "anchor/replay/sampled_check.hpp"
#include "support/close.hpp"
#include "support/kv_group.hpp"
#include "support/params.hpp"

using namespace anchor;

namespace {

struct Case {
  Geometry geometry;
  DType dtype;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {test::square(700, 64, 3, 1), DType::bf16},
      {test::square(1024, 128, 4, 1), DType::f16},
      {test::square(1500, 128, 4, 2), DType::bf16},     // a layer of two KV heads
      {test::square(900, 64, 2, 1, 512), DType::bf16},  // a chunk of prefill
  };
  return all;
}

struct Sparse {
  const Method& method;
  Params params;
};

std::vector<Sparse> sparse_methods() {
  const Method& anchor = find_method("anchor");
  const Method& streaming = find_method("streaming");
  return {{find_method("dense"), default_params(find_method("dense"))},
          {anchor, test::params_of(anchor, {{"theta", "3"}, {"step", "1"}})},
          {anchor, test::params_of(anchor, {{"theta", "4"}, {"step", "2"}})},
          {anchor, test::params_of(anchor, {{"theta", "4"}, {"step", "2"}, {"mode", "v4"}})},
          {anchor, test::params_of(anchor, {{"theta", "-inf"}, {"step", "1"}})},
          {anchor, test::params_of(anchor, {{"theta", "inf"}, {"step", "4"}})},
          {streaming, test::params_of(streaming, {{"sink", "20"}, {"local", "150"}})}};
}

}  // namespace

TEST_CASE("every method's mass recall and density on the device are the CPU engine's") {
  const auto device = make_engine("cuda"), host = make_engine("cpu");
  for (const Case& one : cases()) {
    const KvGroup group = test::random_group(one.geometry, one.dtype, 5);
    const auto there = device->upload(group), here = host->upload(group);
    const AttentionResult dense_there = dense_attention(*device, *there),
                          dense_here = dense_attention(*host, *here);
    test::check_close(dense_there.lse, dense_here.lse, 1e-3);
    const auto reference_there = device->dense_reference(*there),
               reference_here = host->dense_reference(*here);
    for (const Sparse& sparse : sparse_methods()) {
      if (sparse.method.name == "anchor" && one.geometry.q_start % (128 * sparse.params.integer("step")) != 0)
        continue;
      CAPTURE(sparse.method.name);
      CAPTURE(one.geometry.q_len);
      const Replay a = replay(*device, *there, sparse.method, {sparse.params, {}}, *reference_there);
      const Replay b = replay(*host, *here, sparse.method, {sparse.params, {}}, *reference_here);
      for (std::size_t head = 0; head < a.heads.size(); ++head) {
        CHECK(std::abs(a.heads[head].recall.mean - b.heads[head].recall.mean) < 1e-3);
        CHECK(std::abs(a.heads[head].stats.density() - b.heads[head].stats.density()) < 2e-3);
        CHECK(std::abs(a.heads[head].recall.min - b.heads[head].recall.min) < 0.05);
        CHECK(std::abs(a.heads[head].difference.relative_l2() - b.heads[head].difference.relative_l2()) <
              5e-3);
        CHECK(std::abs(a.heads[head].difference.recall_001() - b.heads[head].difference.recall_001()) < 0.02);
        CHECK(std::abs(a.heads[head].difference.max_abs() - b.heads[head].difference.max_abs()) <
              0.05 * (1 + b.heads[head].difference.max_abs()));
      }
    }
  }
}

TEST_CASE("device plans list what the CPU planner lists, up to the stated rounding") {
  const auto engine = make_engine("cuda");
  for (const Case& one : cases()) {
    const KvGroup group = test::random_group(one.geometry, one.dtype, 6);
    const auto inputs = engine->upload(group);
    for (const Sparse& sparse : sparse_methods()) {
      if (sparse.method.name != "anchor" || one.geometry.q_start % (128 * sparse.params.integer("step")) != 0)
        continue;
      if (sparse.params.choice("mode") != "clean") continue;  // its duplicates are compared by the outputs
      const PlanRequest request{sparse.params, {}};
      const auto pipeline = engine->pipeline(sparse.method, request, *inputs);
      pipeline->run(true);
      const SparsePlan plan = pipeline->plan();
      CHECK(validate(plan) == "");
      const PlanAgreement agreement =
          plan_agreement(group, plan, sparse.method, request, pipeline->knob_rounding(), 1000);
      CHECK(agreement.rows == plan.rows());
      CHECK(agreement.blocks_equal);
      CHECK(agreement.wrong == 0);
      CHECK(agreement.different <= 4 + agreement.columns / 50);
    }
  }
}

TEST_CASE("a range of rows is planned and executed like those rows of the whole") {
  const auto engine = make_engine("cuda");
  const KvGroup group = test::random_group(test::square(1000, 64, 2, 1), DType::bf16, 7);
  const auto inputs = engine->upload(group);
  const Method& method = find_method("anchor");
  const PlanRequest request{test::params_of(method, {{"theta", "3"}, {"step", "2"}}), {}};
  const AttentionResult whole = engine->execute(*inputs, *engine->plan(method, request, *inputs, 0, 1000));
  const PlanHandle part = engine->plan(method, request, *inputs, 512, 1000);
  CHECK(part->to_host().geometry == group.geometry.rows(512, 1000));
  const AttentionResult rows = engine->execute(*inputs, *part);
  for (int head = 0; head < 2; ++head) {
    const std::vector<double> expected(whole.lse.begin() + head * 1000 + 512,
                                       whole.lse.begin() + head * 1000 + 1000);
    const std::vector<double> got(rows.lse.begin() + head * 488, rows.lse.begin() + (head + 1) * 488);
    test::check_close(got, expected, 1e-5);
  }
}

TEST_CASE("thresholds per head are the CPU engine's") {
  const auto device = make_engine("cuda"), host = make_engine("cpu");
  const KvGroup group = test::random_group(test::square(1100, 64, 2, 1), DType::bf16, 8);
  const auto there = device->upload(group), here = host->upload(group);
  const Method& method = find_method("anchor");
  const Params params = test::params_of(method, {{"step", "2"}});
  const PlanRequest request{params, {2.5, 3.5}};
  for (int head = 0; head < 2; ++head) {
    const auto pairs = [&](Engine& engine, const Inputs& inputs) {
      const PlanHandle plan = engine.plan(method, request, inputs, 0, 1100);
      return engine.stats(*plan)[static_cast<std::size_t>(head)].visible_pairs;
    };
    const std::int64_t a = pairs(*device, *there), b = pairs(*host, *here);
    CHECK(std::abs(static_cast<double>(a - b)) < 0.002 * static_cast<double>(b));
  }
}

TEST_CASE("exact masses are the CPU engine's within 1e-4 of a row's mass") {
  const auto device = make_engine("cuda"), host = make_engine("cpu");
  for (const MassGranularity& granularity :
       {MassGranularity{.group_rows = 256},
        MassGranularity{.group_rows = 128, .tile_rows = 128, .block_keys = 64},
        MassGranularity{.group_rows = 100}}) {
    const KvGroup group = test::random_group(test::square(830, 64, 3, 1), DType::bf16, 9);
    const auto there = device->upload(group), here = host->upload(group);
    const MassMap a = device->mass(*there, 2, granularity), b = host->mass(*here, 2, granularity);
    test::check_close(a.lse, b.lse, 1e-4);
    test::check_close(a.column_mass, b.column_mass, 1e-4);
    test::check_close(a.block_mass, b.block_mass, 1e-4);
  }
}

TEST_CASE("pipelines agree with the reference, cold and warm, and again after another run") {
  const auto engine = make_engine("cuda");
  for (const Case& one : cases()) {
    const KvGroup group = test::random_group(one.geometry, one.dtype, 10);
    const auto inputs = engine->upload(group);
    const auto rows = sample_rows(group.geometry, 256, 200, 1);
    for (const Sparse& sparse : sparse_methods()) {
      if (sparse.method.name == "anchor" && one.geometry.q_start % (128 * sparse.params.integer("step")) != 0)
        continue;
      const auto pipeline = engine->pipeline(sparse.method, {sparse.params, {}}, *inputs);
      for (const bool cold : {true, false, true}) {
        CHECK(pipeline->run(cold) > 0);
        CHECK(sampled_error(group, pipeline->plan(), rows, pipeline->rows(rows), one.dtype).ok());
      }
      for (const auto& [stage, ns] : pipeline->stages(true)) CHECK(ns >= 0);
      CHECK(sampled_error(group, pipeline->plan(), rows, pipeline->rows(rows), one.dtype).ok());
    }
  }
}

TEST_CASE("cuDNN, where it is installed, agrees with the reference") {
  const auto engine = make_engine("cuda");
  for (const Case& one : cases()) {
    const KvGroup group = test::random_group(one.geometry, one.dtype, 11);
    const auto inputs = engine->upload(group);
    std::unique_ptr<Pipeline> pipeline;
    try {
      pipeline = engine->library_pipeline(*inputs);
    } catch (const Error& error) {
      MESSAGE(error.what());
      continue;
    }
    CHECK(pipeline->run(true) > 0);
    const auto rows = sample_rows(group.geometry, 256, 200, 1);
    CHECK(sampled_error(group, pipeline->plan(), rows, pipeline->rows(rows), one.dtype).ok());
  }
}

TEST_CASE("f32 inputs and unknown devices are refused in words") {
  const auto engine = make_engine("cuda:0");
  const KvGroup group = test::random_group(test::square(100), DType::f32);
  CHECK_THROWS_WITH_AS(engine->upload(group), doctest::Contains("--device cpu"), Error);
  CHECK_THROWS_WITH_AS(make_engine("cuda:99"), doctest::Contains("this machine has"), Error);
  CHECK_THROWS_WITH_AS(make_engine("cuda:x"), doctest::Contains("unknown device"), Error);
  CHECK(make_engine("auto")->path() == engine->path());
}
