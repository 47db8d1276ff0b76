#include "anchor/timing/layer_check.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/tuning/stripe_density.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

namespace {

/// A pipeline of the CPU that claims to be a device's, with faults of its own.
class FaultyPipeline final : public Pipeline {
 public:
  explicit FaultyPipeline(std::unique_ptr<Pipeline> real) : real_(std::move(real)) {}
  std::int64_t run(bool cold) override { return real_->run(cold); }
  std::map<std::string, std::int64_t> stages(bool cold) override { return real_->stages(cold); }
  AttentionResult rows(std::span<const QueryRow> rows) override {
    AttentionResult result = real_->rows(rows);
    if (!result.out.empty()) result.out[0] += output_error;
    return result;
  }
  SparsePlan plan() override { return other ? *other : real_->plan(); }
  std::string path() const override { return "cuda"; }
  std::string plan_path() const override { return "cuda"; }

  float output_error = 0;
  std::optional<SparsePlan> other;

 private:
  std::unique_ptr<Pipeline> real_;
};

/// A method on a layer, and its pipeline after one run.
struct Timed {
  explicit Timed(const char* name, double knob)
      : method(find_method(name)), request{default_params(method), {}} {
    for (const auto& [key, value] : {std::pair{"block", "16"}, {"step", "2"}, {"stride", "4"}})
      if (request.params.values().contains(key)) set_param(method, request.params, key, value);
    if (!method.knob.empty()) request.params.set(method.knob, knob);
    pipeline = std::make_unique<FaultyPipeline>(engine->pipeline(method, request, *inputs));
    pipeline->run(true);
  }
  LayerCheck check() { return check_layer(*pipeline, layer, &method, request, 40); }

  std::unique_ptr<Engine> engine = make_cpu_engine();
  KvGroup layer = test::random_group(test::square(256, 16, 4, 2), DType::f32);
  std::unique_ptr<Inputs> inputs = engine->upload(layer);
  const Method& method;
  PlanRequest request;
  std::unique_ptr<FaultyPipeline> pipeline;
};

}  // namespace

TEST_CASE("what is right passes, and the row says what was compared") {
  for (const auto& [name, knob] : {std::pair{"anchor", 3.}, {"xattention", 0.7}, {"dense", 0.}}) {
    CAPTURE(name);
    Timed timed(name, knob);
    const LayerCheck check = timed.check();
    CHECK(check.failure == "");
    CHECK(check.rows >= 40);
    CHECK(check.error.ok());
    CHECK(check.stats.visible_pairs == layer_stats(timed.pipeline->plan()).visible_pairs);
    const bool columns = selects_stripes(timed.method, timed.request.params, timed.layer.geometry);
    CHECK(check.columns.has_value() == columns);
    CHECK(check.blocks.has_value() == !columns);
    ResultRow row;
    check.fill(row);
    CHECK(row.density == check.stats.density());
    CHECK(row.work_density == check.stats.work_density());
    CHECK(quantity(row, "checked_rows") == static_cast<double>(check.rows));
    CHECK(quantity(row, "checked_columns").has_value() == columns);
    CHECK(quantity(row, "checked_entries").has_value() == !columns);
    if (columns) CHECK(quantity(row, "borderline_columns") == 0);
  }
}

TEST_CASE("a wrong output fails, and no plan is compared any more") {
  Timed timed("anchor", 3);
  timed.pipeline->output_error = 0.1f;
  const LayerCheck check = timed.check();
  CHECK(check.failure.find("check failed: head 0 row 255 differs") == 0);
  CHECK_FALSE(check.columns);
}

TEST_CASE("a plan that is not the CPU planner's fails") {
  Timed timed("anchor", 3), denser("anchor", 6);
  timed.pipeline =
      std::make_unique<FaultyPipeline>(timed.engine->pipeline(timed.method, denser.request, *timed.inputs));
  timed.pipeline->run(true);  // output and plan agree with each other, but not with the request
  const LayerCheck columns = timed.check();
  CHECK(columns.error.ok());
  CHECK(columns.failure.find("columns differ from the CPU planner's by more than rounding") !=
        std::string::npos);

  Timed blocks("xattention", 0.5), more("xattention", 0.9);
  blocks.pipeline =
      std::make_unique<FaultyPipeline>(blocks.engine->pipeline(blocks.method, more.request, *blocks.inputs));
  blocks.pipeline->run(true);
  CHECK(blocks.check().failure.find("blocks and columns differ from the CPU planner's") != std::string::npos);
}

TEST_CASE("a vendor's library has no plan to compare; a broken plan is a data error") {
  Timed timed("dense", 0);
  const LayerCheck library = check_layer(*timed.pipeline, timed.layer, nullptr, timed.request, 10);
  CHECK(library.failure.empty());
  CHECK_FALSE(library.blocks);
  SparsePlan broken = timed.pipeline->plan();
  std::swap(broken.blocks.items.front(), broken.blocks.items.back());
  timed.pipeline->other = broken;
  CHECK_THROWS_WITH_AS(timed.check(), doctest::Contains("the plan is broken"), Error);
}
