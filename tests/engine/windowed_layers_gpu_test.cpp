#include <doctest/doctest.h>

#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/engine/devices.hpp"
#include "anchor/replay/replay.hpp"
#include "support/close.hpp"
#include "support/curve.hpp"
#include "support/gpu/paths.hpp"
#include "support/kv_group.hpp"
#include "support/method_settings.hpp"

// Layers with a sliding window, and heads of dimensions that no kernel has, on the device.
using namespace anchor;
using test::small_params;

namespace {

Geometry windowed(Geometry geometry, std::int64_t window) {
  geometry.sliding_window = window;
  return geometry;
}

/// What a replay of the method on the device measures is what the CPU engine measures.
void check_replay(const KvGroup& group, const Method& method, const Params& params) {
  const auto device = make_engine("cuda"), host = make_engine("cpu");
  const auto there = device->upload(group), here = host->upload(group);
  const auto dense_there = device->dense_reference(*there), dense_here = host->dense_reference(*here);
  const Replay a = replay(*device, *there, method, {params, {}}, *dense_there);
  const Replay b = replay(*host, *here, method, {params, {}}, *dense_here);
  if (group.geometry.windowed()) CHECK(a.plan_path == "cpu");
  for (std::size_t head = 0; head < a.heads.size(); ++head) {
    const HeadReplay &got = a.heads[head], &expected = b.heads[head];
    CHECK(std::abs(got.stats.density() - expected.stats.density()) < 2e-3);
    CHECK(std::abs(got.recall.mean - expected.recall.mean) < 1e-3);
    CHECK(std::abs(got.difference.relative_l2() - expected.difference.relative_l2()) < 5e-3);
    CHECK(std::abs(got.difference.recall_001() - expected.difference.recall_001()) < 0.02);
  }
}

}  // namespace

TEST_CASE("every method, planned on the CPU, is replayed in a windowed layer on the device as there") {
  const auto device = make_engine("cuda"), host = make_engine("cpu");
  for (const Method& method : methods()) {
    if (method.name == "spargeattn" || method.name == "a2ats") continue;  // pv=inf only; no windows
    for (const std::int64_t window : {1, 100, 300}) {
      const std::int64_t length = method.name == "sale" ? 1100 : 460;
      const KvGroup group =
          test::random_group(windowed(test::square(length, 64, 2, 1), window), DType::bf16, unsigned(window));
      CAPTURE(method.name);
      CAPTURE(window);
      check_replay(group, method, small_params(method));
      if (method.rows_per_plan > 0) continue;
      const auto there = device->upload(group), here = host->upload(group);
      const auto a = device->plan(method, {small_params(method), {}}, *there, 0, length);
      const auto b = host->plan(method, {small_params(method), {}}, *here, 0, length);
      CHECK(a->to_host() == b->to_host());
      const auto counted = device->stats(*a), expected = host->stats(*b);
      for (std::size_t head = 0; head < 2; ++head) {
        CHECK(counted[head].visible_pairs == expected[head].visible_pairs);
        CHECK(counted[head].work_pairs == expected[head].work_pairs);
        CHECK(counted[head].causal_pairs == expected[head].causal_pairs);
      }
    }
  }
}

TEST_CASE("masses, row maxima and curves of windowed layers are the CPU engine's") {
  const auto device = make_engine("cuda"), host = make_engine("cpu");
  for (const int dim : {64, 128, 256}) {
    for (const std::int64_t window : {1, 128, 300}) {
      const KvGroup group =
          test::random_group(windowed(test::square(900, dim, 2, 1), window), DType::f16, unsigned(dim));
      const auto there = device->upload(group), here = host->upload(group);
      CAPTURE(dim);
      CAPTURE(window);
      const MassGranularity grain{256, 128, 64};
      const MassMap a = device->mass(*there, 1, grain), b = host->mass(*here, 1, grain);
      test::check_close(a.lse, b.lse, 1e-4);
      test::check_close(a.column_mass, b.column_mass, 1e-4);
      test::check_close(a.block_mass, b.block_mass, 1e-4);
      CHECK(std::accumulate(a.block_mass.begin(), a.block_mass.end(), 0.0) ==
            doctest::Approx(900).epsilon(1e-4));
      const RowMaxima x = device->row_maxima(*there, 0, 128, 256), y = host->row_maxima(*here, 0, 128, 256);
      test::check_close(x.all, y.all, 1e-4);
      test::check_close(x.region, y.region, 1e-4);
      test::check_close(x.local, y.local, 1e-4);
      const Method& anchor = find_method("anchor");
      const Params params = small_params(anchor);
      const Curve c = test::full_curve(*device, anchor, params, *there, 0),
                  d = test::full_curve(*host, anchor, params, *here, 0);
      for (const double knob : {0., 1., 2., 4.}) {
        CHECK(std::abs(c.density[c.at(knob)] - d.density[d.at(knob)]) < 1e-6);
        CHECK(std::abs(c.mass_recall[c.at(knob)] - d.mass_recall[d.at(knob)]) < 1e-4);
      }
    }
  }
}

TEST_CASE("heads of every dimension up to 256 are replayed on the device as on the CPU") {
  for (const int dim : {16, 80, 96, 112, 160, 192, 200, 256}) {
    for (const DType dtype : {DType::bf16, DType::f16}) {
      CAPTURE(dim);
      const KvGroup group = test::random_group(test::square(700, dim, 4, 2), dtype, unsigned(dim));
      for (const char* name : {"dense", "anchor", "stripes", "streaming", "sale"}) {
        CAPTURE(name);
        const Method& method = find_method(name);
        Params params = default_params(method);
        if (std::string(name) == "anchor") params.set("theta", 3.), params.set("step", 1.);
        if (std::string(name) == "streaming") params.set("sink", 20.), params.set("local", 150.);
        check_replay(group, method, params);
      }
      const auto device = make_engine("cuda"), host = make_engine("cpu");
      const auto there = device->upload(group), here = host->upload(group);
      test::check_close(dense_attention(*device, *there).out, dense_attention(*host, *here).out, 2e-2);
      test::check_close(device->mass(*there, 3, {.group_rows = 128}).column_mass,
                        host->mass(*here, 3, {.group_rows = 128}).column_mass, 1e-4);
      const auto pipeline = device->pipeline(find_method("dense"), {}, *there);
      pipeline->run(true);
      const QueryRow rows[] = {{0, 0}, {3, 699}};
      const AttentionResult some = pipeline->rows(rows), all = dense_attention(*host, *here);
      for (int c = 0; c < dim; ++c)
        CHECK(std::abs(some.out[std::size_t(dim + c)] - all.out[std::size_t((3 * 700 + 699) * dim + c)]) <
              0.02);
    }
  }
}

TEST_CASE("the portable kernels know windows, too") {
  const test::PortablePath portable;
  for (const int dim : {64, 80, 128})
    for (const char* name : {"dense", "anchor", "streaming"}) {
      const Method& method = find_method(name);
      CAPTURE(dim);
      CAPTURE(name);
      check_replay(test::random_group(windowed(test::square(700, dim, 2, 1), 200), DType::bf16, 3), method,
                   small_params(method));
    }
}

TEST_CASE("cuDNN's baseline and wider heads are refused in words") {
  const auto device = make_engine("cuda");
  const auto layer =
      device->upload(test::random_group(windowed(test::square(300, 64, 2, 1), 100), DType::bf16, 3));
  CHECK_THROWS_AS(device->library_pipeline(*layer), Error);
  const auto wide = device->upload(test::random_group(test::square(64, 288, 1, 1), DType::bf16, 3));
  CHECK_THROWS_WITH_AS(dense_attention(*device, *wide), doctest::Contains("head_dim 288"), Error);
}
