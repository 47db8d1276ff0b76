#include "anchor/tuning/fit.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/timing/dump_layers.hpp"
#include "anchor/timing/layer_timing.hpp"
#include "anchor/tuning/head_sweep.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "support/params.hpp"
#include "support/small_dump.hpp"

using namespace anchor;
using test::SmallDump;

namespace {

/// What a fit hands out, group by group.
struct Collected {
  std::vector<FittedGroup> groups;
  std::vector<ChosenHead> heads;
};

Collected collect(const Fit& fit) {
  Collected found;
  fit.run({.wanted = {}, .finish = [&](const FittedGroup& group) {
             CHECK(group.index == found.groups.size());
             CHECK(group.error.empty());
             found.groups.push_back(group);
             for (const ChosenHead& head : fit.chosen(group)) found.heads.push_back(head);
           }});
  return found;
}

/// What a plan at one knob keeps of a head of a dump.
HeadReplay replay_of(const SmallDump& dump, const MethodRun& run, int layer, int head, double knob) {
  const auto engine = make_cpu_engine();
  const auto inputs = engine->upload(dump.reader().read_group(layer, head / 2));
  const auto dense = engine->dense_reference(*inputs);
  return measure_heads(*engine, *inputs, *run.method, run.params, std::vector<int>{head % 2},
                       std::vector<double>{knob}, *dense)[0];
}

}  // namespace

TEST_CASE("thresholds over two dumps, as a program without the tools writes it") {
  const SmallDump prose(1), code(7);
  const MethodRun run = test::run_of("anchor", {{"block", "16"}, {"step", "2"}});

  const DumpStream stream({.device = "cpu"});
  const DumpReader a(prose.path()), b(code.path());
  const std::vector<FitSet> sets = fit_sets(FitSplit::together, {"prose", "code"}, 2);
  const Fit fit(stream, {&a, &b}, select_groups(a), sets, {.run = run, .target_recall = 0.9});
  std::vector<ChosenHead> heads;
  fit.run({.wanted = {}, .finish = [&](const FittedGroup& group) {
             for (const ChosenHead& head : fit.chosen(group)) heads.push_back(head);
           }});
  const Target target{"mass_recall", "mean", 0.9};
  const Thresholds made = make_thresholds(run, a.header().model, target, {a.path(), b.path()}, heads);

  REQUIRE(made.layers.size() == 2);
  CHECK(thresholds_text(made).find("anchor-thresholds") != std::string::npos);
  for (const Thresholds::Layer& layer : made.layers) {
    CHECK(layer.heads == std::vector<int>{0, 1, 2, 3});
    for (std::size_t h = 0; h < 4; ++h) {
      const int head = layer.heads[h];
      double recall = 0, density = 0;
      for (const SmallDump* dump : {&prose, &code}) {
        const HeadReplay kept = replay_of(*dump, run, layer.layer, head, layer.value[h]);
        recall += kept.recall.mean / 2;
        density += kept.stats.density() / 2;
      }
      CHECK(recall >= 0.9 - 1e-5);
      CHECK(layer.mass_recall[h] == doctest::Approx(recall).epsilon(1e-5));
      CHECK(layer.density[h] == doctest::Approx(density).epsilon(1e-9));
    }
  }
}

TEST_CASE("every set has its own knobs, and its plans are run on the texts that it looks at") {
  const SmallDump a(1), b(7), c(13);
  const MethodRun run = test::run_of("stripes", {{"block", "16"}});
  const DumpStream stream({.device = "cpu"});
  const std::vector<const DumpReader*> dumps{&a.reader(), &b.reader(), &c.reader()};
  const auto groups = select_groups(a.reader(), {.layers = {1}, .heads = {0, 3}});
  const auto sets = fit_sets(FitSplit::leave_one_out, {"a", "b", "c"}, 2);
  const Collected found = collect(
      Fit(stream, dumps, groups, sets, {.run = run, .target_recall = 0.8, .rule = {.on_each_text = true}}));
  const SmallDump* texts[] = {&a, &b, &c};
  REQUIRE(found.groups.size() == 2);
  for (const FittedGroup& group : found.groups) {
    const int head = groups[group.index].heads[0];
    REQUIRE(group.fits.size() == sets.size());
    for (std::size_t s = 0; s < sets.size(); ++s) {
      const FittedHead& fitted = group.fits[s];
      REQUIRE(fitted.measured.size() == sets[s].checked.size());
      for (std::size_t n = 0; n < sets[s].checked.size(); ++n) {
        const HeadReplay kept = replay_of(*texts[sets[s].checked[n]], run, 1, head, fitted.setting.knob);
        CHECK(fitted.measured[n].difference.relative_l2() == kept.difference.relative_l2());
        CHECK(fitted.kept[n].density == doctest::Approx(kept.stats.density()).epsilon(1e-9));
        CHECK(*fitted.at(n).out_rel_l2 == kept.difference.relative_l2());
        CHECK(fitted.at(n).mass_recall == fitted.kept[n].mass_recall);
      }
      const HeadReplay own = replay_of(*texts[sets[s].fitted[0]], run, 1, head, fitted.setting.knob);
      CHECK(own.recall.mean >= 0.8 - 1e-5);
    }
  }
  CHECK(found.heads.empty());  // the sets do not look at what they were fitted on
}

TEST_CASE("variants compete by density, and a bound of the output error holds on every fitted text") {
  const SmallDump a(1, 1), b(7, 1);
  const MethodRun run = test::run_of("stripes", {{"block", "16"}});
  const DumpStream stream({.device = "cpu"});
  const std::vector<const DumpReader*> dumps{&a.reader(), &b.reader()};
  const auto groups = select_groups(a.reader());
  const auto sets = fit_sets(FitSplit::together, {"a", "b"}, 2);
  FitRequest request{.run = run, .target_recall = 0.7, .rule = {.on_each_text = true}};
  const Collected plain = collect(Fit(stream, dumps, groups, sets, request));
  request.choices = {{"score", {{"pooled", 0}, {"rows", 0.01}}}};
  const Collected chosen = collect(Fit(stream, dumps, groups, sets, request));
  request.max_error = 0.1;
  const Collected bounded = collect(Fit(stream, dumps, groups, sets, request));
  REQUIRE(plain.heads.size() == 4);
  double largest = 0;
  for (std::size_t h = 0; h < 4; ++h) {
    CHECK(chosen.heads[h].params.contains("score"));
    const double price = chosen.heads[h].params.at("score") == Scalar(std::string("rows")) ? 0.01 : 0;
    CHECK(chosen.heads[h].at.density + price <= plain.heads[h].at.density + 1e-12);
    for (std::size_t n = 0; n < 2; ++n) {
      CHECK(*bounded.groups[h / 2].fits[h % 2].at(n).out_rel_l2 <= 0.1 + 1e-6);
      largest = std::max(largest, *chosen.groups[h / 2].fits[h % 2].at(n).out_rel_l2);
    }
  }
  CHECK(largest > 0.1);  // the bound was needed
}

TEST_CASE("an allocation meets the mean error of its scope") {
  const SmallDump a(1), b(7);
  const MethodRun run = test::run_of("stripes", {{"block", "16"}});
  const DumpStream stream({.device = "cpu"});
  const std::vector<const DumpReader*> dumps{&a.reader(), &b.reader()};
  const auto groups = select_groups(a.reader());
  for (const auto scope : {AllocationScope::layer, AllocationScope::model}) {
    const Fit fit(stream, dumps, groups, fit_sets(FitSplit::together, {"a", "b"}, 1),
                  {.run = run, .allocate = FitRequest::ErrorGoal{scope, 0.2}});
    std::map<int, std::vector<double>> errors;  // by layer, on the fitted text
    for (const FittedGroup& group : collect(fit).groups) {
      REQUIRE(group.fits.size() == 2);
      for (const FittedHead& head : group.fits) {
        CHECK(head.kept.empty());
        REQUIRE(head.measured.size() == 2);
        errors[scope == AllocationScope::layer ? groups[group.index].layer : 0].push_back(
            *head.at(0).out_rel_l2);
      }
    }
    CHECK(errors.size() == (scope == AllocationScope::layer ? 2 : 1));
    for (const auto& [layer, own] : errors) {
      double mean = 0;
      for (const double error : own) mean += error / static_cast<double>(own.size());
      CHECK(mean < 1.05 * 0.2);
      CHECK(mean > 0.7 * 0.2);
    }
  }
}

TEST_CASE("every method gets a knob per head from the same allocation, and its file is replayed and timed") {
  const SmallDump dump(1, 1, 1100);  // SALE is dense up to 1024 tokens
  const DumpStream stream({.device = "cpu"});
  const auto groups = select_groups(dump.reader());
  const test::Settings blocks{{"block", "32"}};
  const std::vector<double> grid{0.3, 0.6, 0.8, 0.9, 0.97, 1.1};
  for (const auto& [name, settings] :
       {std::pair<std::string, test::Settings>{"anchor", {{"block", "32"}, {"step", "2"}}},
        {"xattention", blocks},
        {"flashprefill", {{"block", "32"}, {"sink", "32"}, {"window", "32"}, {"correction", "0"}}},
        {"flexprefill", {{"block", "32"}, {"min_budget", "64"}}},
        {"sale", {}},
        {"stripes", blocks}}) {
    CAPTURE(name);
    const MethodRun run = with_own_knobs(test::run_of(name, settings));
    const Fit fit(
        stream, {&dump.reader()}, groups, fit_sets(FitSplit::together, {"a"}, 1),
        {.run = run, .grid = grid, .allocate = FitRequest::ErrorGoal{AllocationScope::layer, 0.15}});
    const Collected found = collect(fit);
    REQUIRE(found.heads.size() == 4);
    double mean = 0;
    std::set<double> knobs;
    for (const FittedGroup& group : found.groups)
      for (const FittedHead& head : group.fits) mean += *head.at(0).out_rel_l2 / 4;
    for (const ChosenHead& head : found.heads) knobs.insert(head.at.knob);
    CHECK(mean < 1.05 * 0.15);
    if (run.method->granularity) CHECK(knobs.size() > 1);  // heads differ; on a grid they may agree
    for (const double knob : knobs)
      CHECK((run.method->granularity || std::ranges::find(grid, knob) != grid.end()));

    TimingSettings timing{.seconds = 0.01, .relative_width = 0.5, .sampled_rows = 10};
    timing.thresholds = make_thresholds(run, "m", {"out_rel_l2", "mean", 0.15}, {dump.path()}, found.heads);
    timing.thresholds_path = "T.json";
    const auto engine = make_cpu_engine();
    const DumpLayers layers(dump.reader(), groups, {});
    LayerTiming timed(*engine, layers, {{.name = name, .method = run.method, .params = run.params}}, timing);
    std::vector<TimedRow> rows = timed.templates(layers.tasks()[0]);
    timed.run(layers.tasks()[0], rows);
    CHECK(rows[0].row.error == "");
    CHECK(rows[0].row.stats.has_value());
    double density = 0;
    for (const ChosenHead& head : found.heads) density += head.at.density / 4;
    REQUIRE(rows[0].row.density.has_value());
    CHECK(*rows[0].row.density == doctest::Approx(density).epsilon(1e-3));
  }
}

TEST_CASE("groups that nobody wants are not read; one that fails does not stop the others") {
  const SmallDump a(1), b(7, 2, 200, 16, {{1, 0}});  // the text b has a NaN in layer 1
  const MethodRun run = test::run_of("stripes", {{"block", "16"}});
  const DumpStream stream({.device = "cpu"});
  const std::vector<const DumpReader*> dumps{&a.reader(), &b.reader()};
  for (const bool allocates : {false, true}) {
    FitRequest request{.run = run};
    if (allocates) request.allocate = FitRequest::ErrorGoal{AllocationScope::model, 0.2};
    const Fit fit(stream, dumps, select_groups(a.reader()), fit_sets(FitSplit::together, {"a", "b"}, 2),
                  request);
    std::vector<std::size_t> asked, failed, fitted;
    fit.run({.wanted =
                 [&](std::size_t n) {
                   asked.push_back(n);
                   return n != 1;
                 },
             .finish =
                 [&](const FittedGroup& group) {
                   if (!group.error.empty()) failed.push_back(group.index);
                   if (!group.fits.empty()) fitted.push_back(group.index);
                 }});
    CHECK(asked == std::vector<std::size_t>{0, 1, 2, 3});
    CHECK(failed == std::vector<std::size_t>{2});
    CHECK(fitted == std::vector<std::size_t>{0, 3});
  }
}

TEST_CASE("requests that contradict themselves are refused") {
  const SmallDump a(1, 1);
  const MethodRun run = test::run_of("stripes");
  const DumpStream stream({.device = "cpu"});
  const auto make = [&](FitRequest request, FitSplit split) {
    const std::vector<const DumpReader*> dumps{&a.reader(), &a.reader()};
    Fit(stream, dumps, select_groups(a.reader()), fit_sets(split, {"a", "b"}, 2), std::move(request));
  };
  CHECK_THROWS_WITH_AS(make({.run = run, .max_error = 0.1}, FitSplit::together), doctest::Contains("each"),
                       Error);
  CHECK_THROWS_WITH_AS(make({.run = run, .allocate = FitRequest::ErrorGoal{}}, FitSplit::matrix),
                       doctest::Contains("one set"), Error);
  CHECK_THROWS_WITH_AS(make({.run = run, .choices = {{"block", {}}}}, FitSplit::together),
                       doctest::Contains("no such parameter"), Error);
}
