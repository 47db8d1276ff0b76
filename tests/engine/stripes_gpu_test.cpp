#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "anchor/engine/devices.hpp"
#include "anchor/replay/replay.hpp"
#include "anchor/replay/sampled_check.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double tolerance = 1e-3;  // CudaPlanner::rounding of the planner

/// What the heads of a layer take turns with.
struct Mix {
  int scores = 2;  ///< of pooled, rows and antidiagonal
  int first = 0;   ///< head 0's
  bool windows = false;
};

/// A request whose heads take turns with the scores, with four thetas, two of them infinite, and with
/// windows. The mean of the rows' weights lies above their geometric mean: about 4 and 8 of random inputs are
/// in the middle. A tile's blocks have about equal shares: -ln of a tenth of them is 2.3.
PlanRequest mixed_request(const Geometry& geometry, std::int64_t sink, bool correction, Mix mix,
                          double more = 0) {
  constexpr const char* scores[] = {"pooled", "rows", "antidiagonal"};
  constexpr double middles[] = {8, 4, 2.3};
  constexpr std::int64_t windows[] = {0, 300, 1, 0, 0, 128, 200, 1 << 20};
  const Method& method = find_method("stripes");
  PlanRequest request{default_params(method), {}};
  set_param(method, request.params, "sink", std::to_string(sink));
  set_param(method, request.params, "correction", correction ? "1" : "0");
  for (int head = 0; head < geometry.q_heads; ++head) {
    const int score = (head + mix.first) % mix.scores;
    request.head_params.push_back(request.params);
    set_param(method, request.head_params.back(), "score", scores[score]);
    if (mix.windows)
      set_param(method, request.head_params.back(), "window", std::to_string(windows[head % 8]));
    const double middle = middles[score] + more;
    request.knobs.push_back(head % 8 < 4 ? middle : head % 8 < 6 ? infinity : -infinity);
  }
  return request;
}

std::int64_t missing(const RowLists& a, const RowLists& b) {
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < a.rows(); ++row) {
    std::vector<std::int32_t> difference;
    std::ranges::set_difference(a[row], b[row], std::back_inserter(difference));
    count += std::ssize(difference);
  }
  return count;
}

struct Case {
  Geometry geometry;
  DType dtype;
  std::int64_t sink = 4, begin = 0;
};

std::vector<Case> cases() {
  using test::square;
  return {{square(1, 64, 2, 1), DType::bf16},
          {square(127, 128, 2, 2), DType::f16},
          {square(128, 64, 2, 1), DType::bf16},
          {square(129, 128, 2, 1), DType::bf16, 128},
          {square(700, 128, 8, 2), DType::bf16, 0},
          {square(1025, 64, 9, 3), DType::bf16},
          {square(2113, 128, 8, 1), DType::bf16, 17},
          {square(2900, 64, 8, 8), DType::f16, 1},
          {square(1500, 128, 8, 2), DType::bf16, 4, 640},
          {square(4500, 64, 2, 1), DType::bf16}};
}

/// What a plan has, summed over the rows whose theta is finite.
struct Counts {
  std::int64_t candidates = 0, kept = 0, different = 0;
};

/// request(more): with every theta so much larger.
template <class Request>
void check_plan(Engine& engine, const Case& one, const Request& request, Counts& counts) {
  CAPTURE(one.geometry.q_len);
  CAPTURE(one.geometry.head_dim);
  const Method& method = find_method("stripes");
  const KvGroup group = test::random_group(one.geometry, one.dtype, 5, 3);
  const FloatGroup floats(group);
  const auto inputs = engine.upload(group);
  const std::int64_t end = one.geometry.q_len;
  const auto expected = [&](double more) {
    return method.plan_cpu(floats.view().rows(one.begin, end), request(more));
  };
  const auto device = [&] { return engine.plan(method, request(0), *inputs, one.begin, end); };
  const PlanHandle handle = device();
  CHECK(handle->plan_path() == "cuda");
  const SparsePlan got = handle->to_host(), exact = expected(0);
  CHECK(validate(got) == "");
  CHECK(got == device()->to_host());
  CHECK(got.mean_correction);
  REQUIRE(got.rows() == exact.rows());
  CHECK(got.blocks == exact.blocks);
  CHECK(missing(got.columns, expected(tolerance).columns) == 0);
  CHECK(missing(expected(-tolerance).columns, got.columns) == 0);
  counts.different += missing(got.columns, exact.columns) + missing(exact.columns, got.columns);
  for (std::int64_t row = 0; row < got.rows(); ++row) {
    if (row / got.groups() % 8 >= 4) continue;  // an infinite theta
    counts.kept += std::ssize(got.columns[row]);
    counts.candidates += one.geometry.q_start + one.begin + row % got.groups() * 128;
  }
}

void check_attention(Engine& engine, const Case& one, Mix mix) {
  CAPTURE(one.geometry.q_len);
  CAPTURE(one.geometry.head_dim);
  const Method& method = find_method("stripes");
  const KvGroup group = test::random_group(one.geometry, one.dtype, 6, 3);
  const auto inputs = engine.upload(group);
  const std::vector<QueryRow> rows = sample_rows(one.geometry, 128, 150, 7);
  for (const bool correction : {false, true}) {
    CAPTURE(correction);
    const PlanRequest request = mixed_request(one.geometry, one.sink, correction, mix);
    const auto pipeline = engine.pipeline(method, request, *inputs);
    pipeline->run(true);
    const SparsePlan plan = pipeline->plan();
    CHECK(plan.mean_correction == correction);
    const SparsePlan alone = engine.plan(method, request, *inputs, 0, one.geometry.q_len)->to_host();
    CHECK(plan.blocks == alone.blocks);  // the region's lse comes from other kernels there
    CHECK(missing(plan.columns, alone.columns) + missing(alone.columns, plan.columns) <=
          2 + std::ssize(plan.columns.items) / 1000);
    const SampledError error = sampled_error(group, plan, rows, pipeline->rows(rows), one.dtype);
    CHECK(error.out <= 1);
    CHECK(error.lse <= 1);
  }
}

}  // namespace

TEST_CASE("stripes on the device are the CPU's, but for entries within rounding of theta") {
  const auto engine = make_engine("cuda");
  Counts counts;
  for (const Case& one : cases()) {
    const int scores = one.begin == 0 ? 3 : 2;  // antidiagonals need whole prefills
    for (int first = 0; first < scores; ++first) {
      CAPTURE(first);
      const auto request = [&](double more) {
        return mixed_request(one.geometry, one.sink, true, {scores, first, first > 0}, more);
      };
      check_plan(*engine, one, request, counts);
    }
  }
  MESSAGE(counts.different << " of " << counts.kept << " stripes differ, of " << counts.candidates
                           << " candidates");
  CHECK(counts.kept > counts.candidates / 20);
  CHECK(counts.kept < counts.candidates * 9 / 10);
  CHECK(counts.different <= counts.kept / 500);
}

TEST_CASE("stripes planned and attended in one give the attention of the plan, with means and without") {
  const auto engine = make_engine("cuda");
  int first = 0;
  for (const Case& one : cases()) {
    if (one.begin > 0) continue;  // pipelines take whole layers
    check_attention(*engine, one, {3, first, first > 0});
    first = (first + 1) % 3;
  }
  // More than 128 blocks.
  check_attention(*engine, {test::square(17500, 64, 3, 1), DType::bf16}, {3, 1, true});
  check_attention(*engine, {test::square(17500, 128, 4, 2), DType::f16}, {3, 2, true});
}

TEST_CASE("lists sized by planning alone hold what planning and attending in one lists") {
  // Lists longer than the first guess; the two passes round the region's lse differently.
  const auto engine = make_engine("cuda");
  const Geometry geometry = test::square(9000, 64, 3, 1);
  const KvGroup group = test::random_group(geometry, DType::bf16, 8, 3);
  const auto inputs = engine->upload(group);
  for (int n = 0; n < 12; ++n) {
    PlanRequest request = mixed_request(geometry, 4, true, {});
    for (double& theta : request.knobs) theta += 0.05 * n;
    const auto pipeline = engine->pipeline(find_method("stripes"), request, *inputs);
    pipeline->run(true);
    const SparsePlan plan = pipeline->plan();
    CHECK(validate(plan) == "");
    CHECK(std::ssize(plan.columns.items) > plan.rows() * geometry.kv_len / 16);
  }
}

TEST_CASE("stripes of head dimensions without a planner kernel are planned on the CPU") {
  const auto engine = make_engine("cuda");
  const Case one{test::square(1500, 256, 4, 2), DType::bf16};
  const KvGroup group = test::random_group(one.geometry, one.dtype, 5, 3);
  const auto inputs = engine->upload(group);
  const PlanRequest request = mixed_request(one.geometry, one.sink, true, {});
  CHECK(engine->plan(find_method("stripes"), request, *inputs, 0, 1500)->plan_path() == "cpu");
  check_attention(*engine, one, {3, 0, true});
}

TEST_CASE("antidiagonals of a part of the queries are planned on the CPU") {
  const auto engine = make_engine("cuda");
  const auto path = [&](const Geometry& geometry, std::int64_t begin) {
    const auto inputs = engine->upload(test::random_group(geometry, DType::bf16));
    const PlanRequest request = mixed_request(geometry, 4, true, {3, 0, true});
    return engine->plan(find_method("stripes"), request, *inputs, begin, geometry.q_len)->plan_path();
  };
  CHECK(path(test::square(1500, 128, 8, 2), 0) == "cuda");
  CHECK(path(test::square(1500, 128, 8, 2), 640) == "cpu");
  CHECK(path(test::square(1500, 64, 3, 1, 640), 0) == "cpu");
}

TEST_CASE("antidiagonals of more heads than are scored at once") {
  // Cells of eight heads fill the scratch, bitmaps of ten; head 6 is pooled and keeps nothing.
  const auto engine = make_engine("cuda");
  const Case one{test::square(65536, 64, 20, 2), DType::bf16};
  const Method& method = find_method("stripes");
  const auto request = [&](double more) {
    PlanRequest made = mixed_request(one.geometry, one.sink, true, {.scores = 1}, more);
    for (int head = 0; head < one.geometry.q_heads; ++head) {
      if (head == 6) continue;
      set_param(method, made.head_params[static_cast<std::size_t>(head)], "score", "antidiagonal");
      made.knobs[static_cast<std::size_t>(head)] = 5 + more;
    }
    return made;
  };
  Counts counts;
  check_plan(*engine, one, request, counts);
  CHECK(counts.kept > counts.candidates / 50);
  CHECK(counts.different <= counts.kept / 500);
}

TEST_CASE("a tail and score=peak are planned by the CPU, entry by entry, and run on the device") {
  const auto engine = make_engine("cuda"), host = make_engine("cpu");
  const KvGroup group = test::random_group(test::square(1500, 64, 4, 2), DType::bf16, 8, 3);
  const auto there = engine->upload(group), here = host->upload(group);
  const auto dense_there = engine->dense_reference(*there), dense_here = host->dense_reference(*here);
  for (const char* name : {"stripes", "anchor", "xattention"}) {
    CAPTURE(name);
    const Method& method = find_method(name);
    PlanRequest request{default_params(method), {}};
    if (std::string(name) == "stripes") set_param(method, request.params, "score", "peak");
    if (std::string(name) == "anchor") set_param(method, request.params, "step", "1");
    if (std::string(name) != "stripes") set_param(method, request.params, "tail", "200");
    set_param(method, request.params, method.knob, std::string(name) == "xattention" ? "0.5" : "2");
    const PlanHandle plan = engine->plan(method, request, *there, 0, 1500);
    CHECK(plan->plan_path() == "cpu");
    CHECK(plan->to_host() == method.plan_cpu(FloatGroup(group).view(), request));
    const auto a = replay(*engine, *there, method, request, *dense_there).heads;
    const auto b = replay(*host, *here, method, request, *dense_here).heads;
    for (std::size_t head = 0; head < a.size(); ++head) {
      CHECK(std::abs(a[head].recall.mean - b[head].recall.mean) < 1e-3);
      CHECK(a[head].stats.density() == b[head].stats.density());
      CHECK_FALSE(a[head].peaks);
    }
  }
}
