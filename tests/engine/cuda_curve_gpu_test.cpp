#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/engine/devices.hpp"
#include "support/curve.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// The device's critical values lie within this of the CPU's (CudaPlanner::rounding).
constexpr double knob_rounding = 1e-3;

struct Case {
  Geometry geometry;
  DType dtype;
  const char *step, *mode;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {test::square(1100, 64, 2, 1), DType::bf16, "2", "clean"},
      {test::square(1500, 128, 4, 2), DType::bf16, "1", "clean"},
      {test::square(2100, 128, 3, 1), DType::f16, "4", "clean"},
      {test::square(2000, 64, 2, 2), DType::bf16, "2", "v4"},
      {test::square(900, 64, 2, 1, 512), DType::bf16, "1", "clean"},  // a chunk of prefill
      {test::square(130, 64, 2, 1), DType::bf16, "16", "clean"},      // the first group alone: no entries
      {test::square(3000, 64, 1, 1), DType::bf16, "17",
       "clean"},  // more pooled queries than the kernel takes
  };
  return all;
}

Params params_of(const Case& one) {
  const Method& method = find_method("anchor");
  Params params = default_params(method);
  set_param(method, params, "step", one.step);
  set_param(method, params, "mode", one.mode);
  return params;
}

void check_equal(const CurvePoint& a, const CurvePoint& b) {
  CHECK(a.knob == b.knob);
  CHECK(a.density == b.density);
  CHECK(a.mass_recall == b.mass_recall);
}

void check_equal(const Curve& a, const Curve& b) {
  CHECK(a.knob == b.knob);
  CHECK(a.density == b.density);
  CHECK(a.mass_recall == b.mass_recall);
  CHECK(a.descending == b.descending);
}

}  // namespace

TEST_CASE("curves of the device are the CPU engine's, to 1e-5 of mass where no critical value is near") {
  const auto device = make_engine("cuda"), host = make_engine("cpu");
  const Method& method = find_method("anchor");
  for (const Case& one : cases()) {
    CAPTURE(one.geometry.q_len);
    CAPTURE(one.step);
    const KvGroup group = test::random_group(one.geometry, one.dtype, 8);
    const auto there = device->upload(group), here = host->upload(group);
    for (int head = 0; head < one.geometry.q_heads; ++head) {
      const Curve a = test::full_curve(*device, method, params_of(one), *there, head);
      const Curve b = test::full_curve(*host, method, params_of(one), *here, head);
      CHECK(a.density[0] == doctest::Approx(b.density[0]).epsilon(1e-12));
      CHECK(std::abs(a.mass_recall[0] - b.mass_recall[0]) < 1e-5);
      CHECK(std::abs(a.density.back() - b.density.back()) < 1e-12);
      CHECK(std::abs(a.mass_recall.back() - b.mass_recall.back()) < 1e-5);
      for (double theta = -3; theta < 9; theta += 0.01) {
        const std::size_t at = a.at(theta), low = b.at(theta - knob_rounding),
                          high = b.at(theta + knob_rounding);
        CHECK(a.density[at] >= b.density[low] - 1e-12);
        CHECK(a.density[at] <= b.density[high] + 1e-12);
        CHECK(a.mass_recall[at] >= b.mass_recall[low] - 1e-5);
        CHECK(a.mass_recall[at] <= b.mass_recall[high] + 1e-5);
      }
    }
  }
}

TEST_CASE(
    "what the device reads from a curve is what the host reads from all of it, and the same on every run") {
  const auto engine = make_engine("cuda");
  const Method& method = find_method("anchor");
  for (const Case& one : cases()) {
    CAPTURE(one.geometry.q_len);
    const auto inputs = engine->upload(test::random_group(one.geometry, one.dtype, 9));
    std::vector<int> heads;
    for (int head = 0; head < one.geometry.q_heads; ++head) heads.push_back(head);
    std::vector<Curve> first;
    const std::string path =
        engine->curves(method, params_of(one), *inputs, heads, [&](const HeadCurve& curve) {
          first.push_back(curve.full());
          const auto whole = host_curve(first.back());
          for (const double target : {1e-6, 0.3, 0.7, 0.9, 0.95, 0.999, 2.}) {
            const auto a = curve.least(target), b = whole->least(target);
            REQUIRE(a.has_value() == b.has_value());
            if (a) check_equal(*a, *b);
          }
          std::vector<double> knobs{-infinity, infinity, 0, 1.7, 1e300, -1e300};
          for (const std::size_t n : {first.back().size() / 2, first.back().size() - 1}) {
            const double knob = first.back().knob[n];
            knobs.insert(knobs.end(),
                         {knob, std::nextafter(knob, -infinity), std::nextafter(knob, infinity)});
          }
          for (const double knob : knobs) check_equal(curve.at(knob), whole->at(knob));
          check_equal(curve.densest(), whole->densest());
          check_equal(curve.thinned(5e-4), whole->thinned(5e-4));
          check_equal(curve.thinned(0.01), whole->thinned(0.01));
          check_equal(curve.binned(), whole->binned());
        });
    CHECK(path == (std::string(one.step) == "17" ? "cpu" : "cuda"));
    REQUIRE(first.size() == heads.size());
    for (const int head : heads)  // one head at a time, in memory that other heads have used
      check_equal(test::full_curve(*engine, method, params_of(one), *inputs, head),
                  first[static_cast<std::size_t>(head)]);
  }
}
