#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/method/method.hpp"
#include "anchor/plan/listed.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/close.hpp"
#include "support/curve.hpp"
#include "support/kv_group.hpp"
#include "support/method_settings.hpp"

// Layers with a sliding window, for every method: key j is visible to row i exactly when i - W < j <= i.
using namespace anchor;
using test::check_close;
using test::random_inputs;
using test::small_params;
using test::square;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Geometry windowed(Geometry geometry, std::int64_t window) {
  geometry.sliding_window = window;
  return geometry;
}

SparsePlan plan(const Method& method, const AttentionInputs& inputs, const Params& params) {
  return method.plan_cpu(inputs, {params, {}});
}

std::int64_t visible_pairs(const SparsePlan& plan, int head) {
  std::int64_t pairs = 0;
  const Geometry& g = plan.geometry;
  for (std::int64_t i = 0; i < g.q_len; ++i) {
    const std::int64_t position = g.q_start + i;
    for (std::int64_t j = 0; j < g.kv_len; ++j) {
      if (j > position || j <= position - g.sliding_window) continue;  // the definition
      pairs += lists_key(plan, plan.row_of(head, i), j) && plan.allows(head, position, j);
    }
  }
  return pairs;
}

/// Keys of a plan row that no query of it sees.
bool lists_hidden_keys(const SparsePlan& plan) {
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    const std::int64_t first = plan.group_begin(row % plan.groups());
    for (const std::int32_t start : plan.blocks[row])
      if (start + plan.kv_tile <= first) return true;
    for (const std::int32_t key : plan.columns[row])
      if (key < first) return true;
  }
  return false;
}

bool plans_any_chunk(const std::string& name) {
  for (const char* one :
       {"dense", "streaming", "a-shape", "tri-shape", "anchor", "stripes", "topk", "difference", "cdf"})
    if (name == one) return true;
  return false;
}

std::int64_t length_for(const Method& method) { return method.name == "sale" ? 1100 : 460; }

}  // namespace

TEST_CASE("a window as long as the text changes no method's lists") {
  for (const Method& method : methods()) {
    const std::int64_t length = length_for(method);
    const auto open = random_inputs(square(length, 16, 2, 1), 4);
    const SparsePlan expected = plan(method, open.view(), small_params(method));
    for (const std::int64_t window : {length, length + 1, std::int64_t{1} << 40}) {
      auto inputs = open;
      inputs.geometry = windowed(open.geometry, window);
      SparsePlan made = plan(method, inputs.view(), small_params(method));
      CAPTURE(method.name);
      CAPTURE(window);
      CHECK(cpu_attention(inputs.view(), made).out == cpu_attention(open.view(), expected).out);
      CHECK(plan_stats(made, 1).density() == plan_stats(expected, 1).density());
      made.geometry = expected.geometry;
      CHECK(made == expected);
    }
  }
}

TEST_CASE("every method's windowed plan is valid, lists nothing hidden, and runs alike everywhere") {
  int sparse = 0, plans = 0;
  for (const Method& method : methods()) {
    if (method.name == "a2ats") continue;  // refuses windows: below
    const std::int64_t length = length_for(method);
    for (const std::int64_t window :
         {std::int64_t{1}, std::int64_t{17}, std::int64_t{100}, std::int64_t{128}, length - 1}) {
      for (const std::int64_t q_start : {0, 128}) {
        if (q_start > 0 && !plans_any_chunk(method.name)) continue;
        const auto inputs =
            random_inputs(windowed(square(length, 16, 2, 1, q_start), window), unsigned(window));
        const SparsePlan made = plan(method, inputs.view(), small_params(method));
        CAPTURE(method.name);
        CAPTURE(window);
        CAPTURE(q_start);
        CHECK(validate(made) == "");
        CHECK_FALSE(lists_hidden_keys(made));
        const PlanStats stats = plan_stats(made, 1);
        CHECK(stats.visible_pairs == visible_pairs(made, 1));
        CHECK(stats.visible_pairs <= stats.causal_pairs);
        CHECK(stats.visible_pairs <= stats.work_pairs);
        const AttentionResult expected = reference_attention(inputs.view(), made);
        const AttentionResult got = cpu_attention(inputs.view(), made);
        check_close(got.out, expected.out, 2e-5);
        check_close(got.lse, expected.lse, 2e-5);
        check_close(got.lse_corrected, expected.lse_corrected, 2e-5);
        ++plans;
        sparse += stats.visible_pairs < stats.causal_pairs;
      }
    }
  }
  CHECK(sparse * 2 > plans);  // the cases choose
}

TEST_CASE("keys outside every row's window change nothing") {
  for (const Method& method : methods()) {
    if (!plans_any_chunk(method.name)) continue;
    for (const std::int64_t window : {1, 40, 100}) {
      auto inputs = random_inputs(windowed(square(460, 16, 2, 1, 256), window), 8);
      const SparsePlan made = plan(method, inputs.view(), small_params(method));
      const AttentionResult before = cpu_attention(inputs.view(), made);
      for (std::int64_t n = 0; n < (256 - window + 1) * 16; ++n)
        inputs.k[std::size_t(n)] = inputs.v[std::size_t(n)] = std::nanf("");
      CAPTURE(method.name);
      CAPTURE(window);
      CHECK(plan(method, inputs.view(), small_params(method)) == made);
      check_close(reference_attention(inputs.view(), made).out, before.out, 2e-5);
    }
  }
}

TEST_CASE("a windowed curve holds at every knob what a replay there keeps, for every method with one") {
  const auto engine = make_cpu_engine();
  int curves = 0;
  for (const Method& method : methods()) {
    if (!method.granularity || method.name == "a2ats") continue;
    const std::int64_t length = length_for(method);
    for (const std::int64_t window : {std::int64_t{1}, std::int64_t{50}, std::int64_t{128}, length - 30}) {
      const Geometry g = windowed(square(length, 16, 2, 1), window);
      const auto inputs = engine->upload(test::random_group(g, DType::f32, unsigned(window), 3));
      PlanRequest request{small_params(method), {}};
      if (method.own_knobs) request.params.set(method.own_knobs->first, method.own_knobs->second);
      const auto dense = dense_attention(*engine, *inputs);
      const Curve curve = test::full_curve(*engine, method, request.params, *inputs, 1);
      std::vector<double> knobs{request.params.real(method.knob)};
      for (const std::size_t n : {curve.size() / 3, curve.size() / 2, curve.size() - 1})
        knobs.push_back(curve.knob[n]);
      for (const double knob : knobs) {
        if (!std::isfinite(knob)) continue;
        request.params.set(method.knob, knob);
        const auto made = engine->plan(method, request, *inputs, 0, length);
        const AttentionResult result = engine->execute(*inputs, *made);
        double recall = 0;
        for (std::size_t i = std::size_t(length); i < std::size_t(2 * length); ++i)
          recall += std::exp(result.lse[i] - dense.lse[i]) / static_cast<double>(length);
        CAPTURE(method.name);
        CAPTURE(window);
        CAPTURE(knob);
        CHECK(curve.density[curve.at(knob)] ==
              doctest::Approx(engine->stats(*made)[1].density()).epsilon(1e-12));
        CHECK(std::abs(curve.mass_recall[curve.at(knob)] - recall) < 2e-5);
        ++curves;
      }
    }
  }
  CHECK(curves > 60);
}

TEST_CASE("AnchorAttention in a window: the anchor is the largest score of what a row sees of its region") {
  constexpr std::int64_t length = 320, b = 16, step = 4, group = b * step;
  constexpr int dim = 16;
  for (const std::int64_t window : {10, 70, 150, 300}) {
    const auto inputs = random_inputs(windowed(square(length, dim), window), unsigned(window), 3);
    const AttentionInputs in = inputs.view();
    const auto score = [&](const double* q, std::int64_t j) {
      double dot = 0;
      for (int c = 0; c < dim; ++c) dot += q[c] * static_cast<double>(in.k[j * dim + c]);
      return dot * in.geometry.softmax_scale;
    };
    const double theta = 0.75;
    const Method& method = find_method("anchor");
    const SparsePlan made =
        plan(method, in, test::params_of(method, {{"theta", "0.75"}, {"block", "16"}, {"step", "4"}}));
    int borderline = 0;
    for (std::int64_t g = 1; g < length / group; ++g) {
      for (std::int64_t j = 0; j < g * group - b; ++j) {
        bool selected = false, near = false;
        for (std::int64_t u = 0; u < step; ++u) {
          const std::int64_t first = g * group + u * b;
          if (j < b || j <= first - window) continue;  // of the initial block, or no row of the block sees it
          std::vector<double> mean(dim, 0);
          double anchor = 0;
          for (std::int64_t i = first; i < first + b; ++i) {
            double top = -infinity;
            std::vector<double> q(in.q_row(0, i), in.q_row(0, i) + dim);
            for (std::int64_t key = 0; key <= i; ++key)
              if (key > i - window && (key < b || key >= g * group - b))
                top = std::max(top, score(q.data(), key));
            anchor += top / b;
            for (int c = 0; c < dim; ++c) mean[std::size_t(c)] += q[std::size_t(c)] / b;
          }
          const double distance = anchor - score(mean.data(), j);
          selected = selected || distance <= theta;
          near = near || std::abs(distance - theta) < 1e-5;
        }
        const bool initial = j < b && j > g * group - window;  // the first row sees it
        if (near)
          ++borderline;
        else
          CHECK((selected || initial) == lists_key(made, g, j));
      }
    }
    CHECK(borderline < 3);
  }
}

TEST_CASE("dense attention in a window keeps every pair and little more than it") {
  for (const std::int64_t length : {1, 129, 1000}) {
    for (const std::int64_t window : {1, 5, 128, 300}) {
      for (const std::int64_t q_start : {std::int64_t{0}, length / 3}) {
        const Geometry g = windowed(square(length, 8, 2, 1, q_start), window);
        const SparsePlan made = dense_plan(g);
        std::int64_t pairs = 0;
        for (std::int64_t i = q_start; i < length; ++i) pairs += std::min(i + 1, window);
        CHECK(validate(made) == "");
        CHECK(g.causal_pairs() == pairs);
        CHECK(plan_stats(made, 1).density() == 1);
        CHECK(plan_stats(made, 1).work_pairs <= g.q_len * (window + 2 * 128));
      }
    }
  }
}

TEST_CASE("a2ats refuses a window that hides keys") {
  const Method& method = find_method("a2ats");
  const auto inputs = random_inputs(windowed(square(100, 16, 2, 1), 40), 1);
  CHECK_THROWS_AS(plan(method, inputs.view(), small_params(method)), Error);
}
