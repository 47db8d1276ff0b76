#include <doctest/doctest.h>

#include "anchor/engine/devices.hpp"
#include "anchor/replay/replay.hpp"
#include "anchor/replay/sampled_check.hpp"
#include "support/close.hpp"
#include "support/curve.hpp"
#include "support/gpu/paths.hpp"
#include "support/kv_group.hpp"
#include "support/params.hpp"

using namespace anchor;

namespace {

struct Planned {
  const char* method;
  test::Settings values;
};
// The methods whose planners have a Hopper kernel of their own, or are built on one, and two that attend
// only.
const std::vector<Planned>& planned() {
  static const std::vector<Planned> all{{"dense", {}},
                                        {"streaming", {{"sink", "20"}, {"local", "150"}}},
                                        {"anchor", {{"theta", "4"}, {"step", "2"}}},
                                        {"anchor", {{"theta", "4"}, {"step", "2"}, {"mode", "v4"}}},
                                        {"xattention", {{"tau", "0.7"}}},
                                        {"flashprefill", {{"alpha", "0.6"}, {"pack", "head"}}},
                                        {"sale", {{"theta_h", "0.1"}}},
                                        {"block-oracle", {{"mass", "0.8"}}}};
  return all;
}

}  // namespace

TEST_CASE("the portable kernels, forced, give the CPU engine's recall, density and error") {
  const test::PortablePath forced;
  const auto device = make_engine("cuda"), host = make_engine("cpu");
  CHECK(device->path() == "cuda-sm80");
  for (const int dim : {64, 128, 256}) {
    const KvGroup group = test::random_group(test::square(1400, dim, 4, 2), DType::bf16, 5, 3);
    const auto there = device->upload(group), here = host->upload(group);
    const auto dense_there = device->dense_reference(*there), dense_here = host->dense_reference(*here);
    for (const Planned& p : planned()) {
      CAPTURE(p.method);
      CAPTURE(dim);
      const Method& method = find_method(p.method);
      const PlanRequest request{test::params_of(method, p.values), {}};
      const Replay a = replay(*device, *there, method, request, *dense_there);
      const Replay b = replay(*host, *here, method, request, *dense_here);
      for (std::size_t head = 0; head < a.heads.size(); ++head) {
        CHECK(std::abs(a.heads[head].recall.mean - b.heads[head].recall.mean) < 1e-3);
        CHECK(std::abs(a.heads[head].stats.density() - b.heads[head].stats.density()) < 2e-3);
        CHECK(std::abs(a.heads[head].difference.relative_l2() - b.heads[head].difference.relative_l2()) <
              5e-3);
      }
    }
  }
}

TEST_CASE("pipelines on the portable kernels agree with the reference") {
  const test::PortablePath forced;
  const auto engine = make_engine("cuda");
  for (const int dim : {64, 128, 256}) {
    const KvGroup group = test::random_group(test::square(1400, dim, 4, 2), DType::f16, 6, 3);
    const auto inputs = engine->upload(group);
    const auto rows = sample_rows(group.geometry, 256, 150, 1);
    for (const Planned& p : planned()) {
      CAPTURE(p.method);
      CAPTURE(dim);
      const Method& method = find_method(p.method);
      const auto pipeline = engine->pipeline(method, {test::params_of(method, p.values), {}}, *inputs);
      CHECK(pipeline->path() == "cuda-sm80");
      CHECK(pipeline->run(true) > 0);
      CHECK(sampled_error(group, pipeline->plan(), rows, pipeline->rows(rows), group.q.dtype).ok());
    }
  }
}

TEST_CASE("stripes, which no portable kernel plans, are planned on the CPU there and attended portably") {
  const test::PortablePath forced;
  const auto engine = make_engine("cuda");
  const KvGroup group = test::random_group(test::square(1400, 128, 4, 2), DType::bf16, 7, 3);
  const auto inputs = engine->upload(group);
  const Method& method = find_method("stripes");
  const auto pipeline = engine->pipeline(method, {test::params_of(method, {{"theta", "6"}}), {}}, *inputs);
  CHECK(pipeline->plan_path() == "cpu");
  pipeline->run(true);
  const auto rows = sample_rows(group.geometry, 128, 150, 1);
  CHECK(sampled_error(group, pipeline->plan(), rows, pipeline->rows(rows), DType::bf16).out <= 1);
}

TEST_CASE("exact curves and masses of the portable kernels are the CPU engine's") {
  const test::PortablePath forced;
  const auto device = make_engine("cuda"), host = make_engine("cpu");
  const Method& method = find_method("anchor");
  const Params params = test::params_of(method, {{"step", "2"}});
  for (const int dim : {64, 128, 256}) {
    CAPTURE(dim);
    const KvGroup group = test::random_group(test::square(1100, dim, 2, 1), DType::bf16, 8);
    const auto there = device->upload(group), here = host->upload(group);
    const MassGranularity grain{.group_rows = 128, .tile_rows = 128, .block_keys = 64};
    const MassMap a = device->mass(*there, 1, grain), b = host->mass(*here, 1, grain);
    test::check_close(a.lse, b.lse, 1e-4);
    test::check_close(a.column_mass, b.column_mass, 1e-4);
    test::check_close(a.block_mass, b.block_mass, 1e-4);
    const Curve x = test::full_curve(*device, method, params, *there, 0),
                y = test::full_curve(*host, method, params, *here, 0);
    for (double theta = -3; theta < 9; theta += 0.05) {
      const std::size_t at = x.at(theta);
      CHECK(x.density[at] >= y.density[y.at(theta - 1e-3)] - 1e-12);
      CHECK(x.density[at] <= y.density[y.at(theta + 1e-3)] + 1e-12);
      CHECK(x.mass_recall[at] >= y.mass_recall[y.at(theta - 1e-3)] - 1e-5);
      CHECK(x.mass_recall[at] <= y.mass_recall[y.at(theta + 1e-3)] + 1e-5);
    }
  }
}
