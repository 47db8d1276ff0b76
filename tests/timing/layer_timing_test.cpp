#include "anchor/timing/layer_timing.hpp"

#include <doctest/doctest.h>

#include <set>

#include "anchor/engine/cpu_engine.hpp"
#include "anchor/timing/synthetic_layers.hpp"

using namespace anchor;

namespace {

const SyntheticSpec spec{
    .q_heads = 2, .kv_heads = 1, .head_dim = 32, .dtype = DType::f32, .pattern = "mixed"};
const std::int64_t lengths[] = {128, 256};
const TimingSettings quick{.seconds = 0.01, .relative_width = 0.5, .sampled_rows = 10};

TimedMethod timed(const char* name) {
  const Method& method = find_method(name);
  TimedMethod made{.name = name, .method = &method, .params = default_params(method)};
  for (const auto& [key, value] : {std::pair{"block", "16"}, {"step", "1"}, {"local", "32"}, {"sink", "1"}})
    if (made.params.values().contains(key)) set_param(method, made.params, key, value);
  return made;
}

std::vector<TimedMethod> with_baseline(TimedMethod method) {
  TimedMethod dense = timed("dense");
  dense.baseline = true;
  return {dense, std::move(method)};
}

struct Timing {
  Timing(std::vector<TimedMethod> methods, TimingSettings settings)
      : timing(*engine, layers, std::move(methods), std::move(settings)) {
    rows = timing.templates(layers.tasks()[1]);
  }
  void run() { timing.run(layers.tasks()[1], rows); }

  std::unique_ptr<Engine> engine = make_cpu_engine();
  SyntheticLayers layers{spec, lengths};
  LayerTiming timing;
  std::vector<TimedRow> rows;
};

}  // namespace

TEST_CASE("every method has its times, its check and its speed against the baseline") {
  Timing t(with_baseline(timed("anchor")), quick);
  t.run();
  REQUIRE(t.rows.size() == 2);
  for (const TimedRow& timed : t.rows) {
    const ResultRow& row = timed.row;
    CAPTURE(row.error);
    REQUIRE(row.ok());
    CHECK_FALSE(timed.check_failed);
    REQUIRE(row.stats);
    CHECK(row.stats->n == static_cast<int>(row.time_ns.at("total").size()));
    if (row.stats->has_interval()) {  // a slow build takes too few samples
      CHECK(row.stats->ci95_low_ns <= row.stats->median_ns);
      CHECK(row.stats->median_ns <= row.stats->ci95_high_ns);
    }
    CHECK(row.plan_path == "cpu");
    CHECK(std::get<std::string>(row.extra.at("cache")) == "unflushed");  // the CPU's
    CHECK(quantity(row, "tflops_useful") ==
          doctest::Approx(*quantity(row, "tflops_dense") * *row.density).epsilon(1e-9));
    CHECK(*quantity(row, "speedup_dense") ==
          doctest::Approx(t.rows[0].row.stats->median_ns / row.stats->median_ns));
    CHECK_FALSE(row.stages_ns.empty());
  }
  CHECK(t.rows[0].row.density == 1);
  CHECK(*t.rows[1].row.density < 1);
}

TEST_CASE("what is timed has a unit of its own: lengths, methods, parameters, cache, targets") {
  TimedMethod other = timed("anchor");
  set_param(*other.method, other.params, "theta", "3");
  TimedMethod dense_stripes = timed("anchor");
  dense_stripes.stripe_density = 0.1;
  TimingSettings warm = quick, match = quick;
  warm.warm = true;
  match.match = Target{"mass_recall", "mean", 0.9};
  std::set<std::string> units;
  std::size_t rows = 0;
  const auto count = [&](const std::vector<TimedMethod>& methods, const TimingSettings& settings) {
    Timing t(methods, settings);
    for (const LayerTask& task : t.layers.tasks()) {
      for (const TimedRow& timed : t.timing.templates(task)) {
        units.insert(timed.row.unit);
        ++rows;
      }
    }
  };
  count({timed("dense"), timed("anchor"), other, dense_stripes}, quick);
  count({timed("anchor")}, warm);
  count({timed("anchor")}, match);
  CHECK(units.size() == rows);
  count({timed("anchor")}, quick);
  CHECK(units.size() == rows - 2);  // the same again
}

TEST_CASE("a searched knob meets its target and stands in the row; a baseline keeps its own") {
  TimingSettings match = quick;
  match.match = Target{"mass_recall", "mean", 0.9};
  Timing t(with_baseline(timed("anchor")), match);
  CHECK_FALSE(t.rows[1].row.params.contains("theta"));
  CHECK_FALSE(t.rows[0].row.target);
  t.run();
  const ResultRow& row = t.rows[1].row;
  REQUIRE(row.ok());
  CHECK(row.target->value == 0.9);
  CHECK(*row.mass_recall >= 0.9);
  CHECK(std::get<double>(row.params.at("theta")) == *row.value);
  CHECK(std::get<std::string>(row.extra.at("knob")) == "theta");
  CHECK(*quantity(row, "searched_plans") >= 1);

  TimedMethod stripes = timed("anchor");
  stripes.stripe_density = 0.1;
  Timing density({stripes}, quick);
  density.run();
  const ResultRow& found = density.rows[0].row;
  REQUIRE(found.ok());
  CHECK(found.target->metric == "stripe_density");
  CHECK(*found.stripe_density == doctest::Approx(0.1).epsilon(0.1));
  CHECK(std::get<double>(found.params.at("theta")) == *found.value);
}

TEST_CASE("a target that is missed fails the check and is not timed; the others are") {
  TimedMethod flex = timed("flexprefill");
  for (const char* budget : {"min_budget", "max_budget"}) flex.params.set(budget, 16.);
  TimingSettings match = quick;
  match.match = Target{"mass_recall", "mean", 0.9999};
  Timing t(with_baseline(flex), match);
  t.run();
  CHECK(t.rows[0].row.stats);
  CHECK(t.rows[1].check_failed);
  CHECK(t.rows[1].row.status == "error");
  CHECK(t.rows[1].row.error.find("mass_recall = 0.9999 is not met") == 0);
  CHECK(t.rows[1].row.mass_recall);
  CHECK_FALSE(t.rows[1].row.stats);
}

TEST_CASE("a library that the device lacks is skipped, not failed") {
  TimedMethod library{.name = "cudnn", .baseline = true};
  Timing t({library, timed("streaming")}, quick);
  CHECK(t.rows[0].row.path == "cudnn");
  t.run();
  CHECK(t.rows[0].row.status == "skipped");
  CHECK_FALSE(t.rows[0].check_failed);
  CHECK(t.rows[1].row.ok());
  CHECK_FALSE(quantity(t.rows[1].row, "speedup_cudnn"));
}
