#include "anchor/tuning/method_front.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/replay/replay.hpp"
#include "support/curve.hpp"
#include "support/temp_dump.hpp"

using namespace anchor;

namespace {

constexpr double tolerance = 2e-3;  // of thinned curves, in density and recall

std::vector<Target> targets() {
  return {{"mass_recall", "mean", 0.8},
          {"mass_recall", "mean", 0.95},
          {"out_rel_l2", "mean", 0.3},
          {"out_rel_l2", "mean", 0.1}};
}
constexpr std::size_t recalls[] = {0, 1}, errors[] = {2, 3};

MethodRun small(const char* name) {
  const Method& method = find_method(name);
  MethodRun run{&method, default_params(method)};
  for (const auto& [key, value] : {std::pair{"block", "16"}, {"step", "1"}, {"sink", "1"}, {"stride", "4"}})
    if (run.params.values().contains(key)) set_param(method, run.params, key, value);
  return run;
}

/// Fronts over all heads of a dump, as the tool reads them.
struct Fronts {
  Fronts(const test::TempDump& dump, std::vector<MethodFront> wanted) : fronts(std::move(wanted)) {
    const DumpReader reader(dump.path);
    const auto items = stream_items(reader, select_groups(reader));
    read_fronts(DumpStream({.device = "cpu", .in_order = true}), items, fronts);
  }
  std::vector<MethodFront> fronts;
};

MethodFront front_of(const test::TempDump& dump, const MethodRun& run, bool measure) {
  return std::move(Fronts(dump, {MethodFront(run, targets(), measure)}).fronts[0]);
}

/// What heads keep at knobs, by replaying their plans alone: group by group in file order.
std::vector<HeadAt> replayed(const test::TempDump& dump, const MethodRun& run, const HeadsAt& asked) {
  const auto engine = make_cpu_engine();
  const DumpReader reader(dump.path);
  std::vector<HeadAt> points;
  for (const GroupSelection& group : select_groups(reader)) {
    const auto inputs = engine->upload(reader.read_group(group.layer, group.kv_head));
    const auto dense = engine->dense_reference(*inputs);
    PlanRequest request{run.params, {}};
    for (std::size_t h = 0; h < group.heads.size(); ++h)
      request.knobs.push_back(asked.heads[points.size() + h].knob);
    if (run.method->granularity == nullptr) {
      request.params.set(run.method->knob, request.knobs[0]);
      request.knobs.clear();
    }
    for (const HeadReplay& head : replay(*engine, *inputs, *run.method, request, *dense).heads)
      points.push_back(HeadAt::of(asked.heads[points.size()].knob, head));
  }
  return points;
}

/// The whole exact curve of every head.
std::vector<Curve> full_curves(const test::TempDump& dump, const MethodRun& run) {
  const auto engine = make_cpu_engine();
  const DumpReader reader(dump.path);
  std::vector<Curve> curves;
  for (const GroupSelection& group : select_groups(reader)) {
    const auto inputs = engine->upload(reader.read_group(group.layer, group.kv_head));
    for (const int head : group.locals())
      curves.push_back(test::full_curve(*engine, *run.method, run.params, *inputs, head));
  }
  return curves;
}

/// The least mean density at which one knob for all heads reaches a mean recall, over all knobs there are.
double least_density_of_one_knob(const std::vector<Curve>& curves, double recall) {
  double least = 1;
  for (const Curve& from : curves) {
    for (const double knob : from.knob) {
      double density = 0, kept = 0;
      for (const Curve& curve : curves) {
        density += curve.density[curve.at(knob)] / static_cast<double>(curves.size());
        kept += curve.mass_recall[curve.at(knob)] / static_cast<double>(curves.size());
      }
      if (kept >= recall) least = std::min(least, density);
    }
  }
  return least;
}

/// The least mean density of any choice of two heads' points with a mean recall.
double least_density_of_any_choice(const Curve& a, const Curve& b, double recall) {
  double least = 1;
  for (std::size_t n = 0; n < a.size(); ++n)
    for (std::size_t m = 0; m < b.size(); ++m)
      if (a.mass_recall[n] + b.mass_recall[m] >= 2 * recall)
        least = std::min(least, (a.density[n] + b.density[m]) / 2);
  return least;
}

}  // namespace

TEST_CASE("one knob, one per head and allocated recall need what brute force over all knobs finds") {
  const test::TempDump dump("front_exact.h5",
                            {.layers = {4}, .q_heads = 2, .kv_heads = 1, .length = 64, .sharpness = 3});
  const MethodRun run = small("anchor");
  const std::vector<Curve> curves = full_curves(dump, run);
  const MethodFront front = front_of(dump, run, false);
  CHECK(front.exact());
  CHECK_FALSE(front.measures());
  for (const std::size_t t : recalls) {
    const double recall = targets()[t].value;
    CAPTURE(recall);
    const auto global = front.answer(KnobsBy::global, t), heads = front.answer(KnobsBy::heads, t),
               allocated = front.answer(KnobsBy::allocation, t);
    REQUIRE((global && heads && allocated));
    CHECK(global->mean_loss(targets()[t]) <= 1 - recall + tolerance);
    CHECK(global->mean_density() == doctest::Approx(least_density_of_one_knob(curves, recall)).epsilon(0.01));
    for (std::size_t h = 0; h < 2; ++h) {
      const std::size_t least = *curves[h].least(recall);
      CHECK(heads->heads[h].mass_recall >= recall - 1e-6);
      CHECK(heads->heads[h].density == doctest::Approx(curves[h].density[least]).epsilon(1e-3));
    }
    const double optimum = least_density_of_any_choice(curves[0], curves[1], recall);
    CHECK(allocated->mean_loss(targets()[t]) <= 1 - recall + 1e-6);
    CHECK(allocated->mean_density() >= optimum - 1e-9);
    CHECK(allocated->mean_density() - allocated->gap <= optimum + 1e-9);
    // Two heads have few points on their fronts: no other way is better by more than the gap.
    CHECK(allocated->mean_density() - allocated->gap <= global->mean_density() + tolerance);
    CHECK(allocated->mean_density() - allocated->gap <= heads->mean_density() + tolerance);
  }
  for (const std::size_t t : errors)
    for (const KnobsBy by : {KnobsBy::global, KnobsBy::heads, KnobsBy::allocation})
      CHECK_FALSE(front.answer(by, t));  // nothing was run
}

TEST_CASE("every answer was reached by plans: replaying its knobs gives its numbers, and the target is met") {
  const test::TempDump dump("front_run.h5", {.layers = {0, 3}, .length = 96, .sharpness = 3});
  for (const char* name : {"anchor", "stripes", "streaming", "xattention"}) {
    CAPTURE(name);
    const MethodRun run = small(name);
    const MethodFront front = front_of(dump, run, true);
    REQUIRE(front.error().empty());
    CHECK(front.plan_path() == "cpu");
    for (std::size_t t = 0; t < targets().size(); ++t) {
      const Target target = targets()[t];
      CAPTURE(target.metric);
      CAPTURE(target.value);
      const auto global = front.answer(KnobsBy::global, t);
      REQUIRE(global);
      REQUIRE(global->heads.size() == 8);
      CHECK(global->mean_loss(target) <= limit(target));
      const std::vector<HeadAt> again = replayed(dump, run, *global);
      for (std::size_t h = 0; h < again.size(); ++h) {
        CHECK(global->heads[h].knob == *global->knob);
        CHECK(again[h].density == global->heads[h].density);
        CHECK(again[h].mass_recall == doctest::Approx(global->heads[h].mass_recall).epsilon(1e-6));
        CHECK(*again[h].out_rel_l2 == doctest::Approx(*global->heads[h].out_rel_l2).epsilon(1e-4));
      }
      for (const HeadsAt& other : front.runs())  // the least of those that were run
        if (other.mean_loss(target) <= limit(target)) CHECK(other.mean_density() >= global->mean_density());
      const auto heads = front.answer(KnobsBy::heads, t);
      REQUIRE(heads);
      for (const HeadAt& head : heads->heads) CHECK(loss(target, head) <= limit(target));
      if (target.metric != "mass_recall") {
        CHECK_FALSE(front.answer(KnobsBy::allocation, t));  // errors are not allocated
        continue;
      }
      const auto allocated = front.answer(KnobsBy::allocation, t);
      REQUIRE(allocated);
      CHECK(allocated->mean_density() <= global->mean_density() + tolerance);
      CHECK(allocated->gap >= 0);
      if (front.exact()) {
        const std::vector<HeadAt> run_again = replayed(dump, run, *allocated);
        for (std::size_t h = 0; h < run_again.size(); ++h)
          CHECK(run_again[h].density == allocated->heads[h].density);
      }
    }
  }
}

TEST_CASE("what was run under one knob is ordered by density, and recall grows along the mean curve") {
  const test::TempDump dump("front_runs.h5", {.layers = {0}, .length = 96, .sharpness = 3});
  for (const char* name : {"anchor", "streaming"}) {
    CAPTURE(name);
    const MethodFront front = front_of(dump, small(name), true);
    const std::vector<HeadsAt> runs = front.runs();
    REQUIRE(runs.size() >= 4);
    for (std::size_t n = 1; n < runs.size(); ++n) CHECK(runs[n].mean_density() >= runs[n - 1].mean_density());
    const Curve curve = front.mean_curve();
    for (std::size_t n = 1; n < curve.size(); ++n) {
      CHECK(curve.density[n] >= curve.density[n - 1]);
      CHECK(curve.mass_recall[n] >= curve.mass_recall[n - 1] - 1e-6);
    }
    CHECK(curve.mass_recall.back() == doctest::Approx(1).epsilon(1e-4));
  }
}

TEST_CASE("a method that cannot take the data is given up alone") {
  const test::TempDump dump("front_late.h5", {.layers = {0, 1}, .length = 96, .q_start = 32});
  const Fronts read(dump, {MethodFront(small("streaming"), targets(), true),
                           MethodFront(small("xattention"), targets(), true)});
  CHECK(read.fronts[0].error().empty());
  CHECK(read.fronts[0].answer(KnobsBy::global, 0));
  CHECK(std::ranges::equal(read.fronts[0].layers(), std::vector<int>{0, 0, 0, 0, 1, 1, 1, 1}));
  CHECK(std::ranges::equal(read.fronts[0].heads(), std::vector<int>{0, 1, 2, 3, 0, 1, 2, 3}));
  CHECK(read.fronts[1].error().find("xattention") == 0);
}

TEST_CASE("a dump that cannot be read is no method's fault") {
  const test::TempDump dump("front_broken.h5", {.layers = {0}});
  const DumpReader reader(dump.path);
  auto items = stream_items(reader, select_groups(reader));
  items[1].group.layer = 9;
  std::vector<MethodFront> fronts{MethodFront(small("streaming"), targets(), true)};
  CHECK_THROWS_AS(read_fronts(DumpStream({.device = "cpu", .in_order = true}), items, fronts), Error);
}
