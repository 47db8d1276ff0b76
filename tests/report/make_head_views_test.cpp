#include "anchor/report/make_head_views.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "anchor/engine/cpu_engine.hpp"
#include "anchor/metrics/kept_map.hpp"
#include "anchor/replay/replay.hpp"
#include "support/temp_dump.hpp"

using namespace anchor;

namespace {

MethodRun small(const char* name) {
  const Method& method = find_method(name);
  MethodRun run{&method, default_params(method)};
  for (const auto& [key, value] :
       {std::pair{"block", "16"}, {"step", "1"}, {"local", "24"}, {"sink", "2"}, {"stride", "4"}})
    if (run.params.values().contains(key)) set_param(method, run.params, key, value);
  return run;
}

HeadViews views_of(Engine& engine, const DumpReader& reader, const MethodRun& run, KnobMarks marks = {}) {
  return make_head_views(engine, reader, select_groups(reader), run, std::move(marks), "the default", {},
                         [](auto...) {});
}

/// Density, row recalls and map of one head under the plan that the method makes at one knob, all by other
/// code.
struct Planned {
  double density = 0;
  std::vector<double> row_recall;
  std::vector<float> share;
};
Planned planned(Engine& engine, const Inputs& inputs, const MethodRun& run, double knob, int local,
                const HeadViews& views) {
  const Geometry& g = inputs.geometry();
  PlanRequest request{run.params, std::vector<double>(static_cast<std::size_t>(g.q_heads), knob)};
  const auto dense = engine.dense_reference(inputs);
  const PlanHandle plan = engine.plan(*run.method, request, inputs, 0, g.q_len);
  Geometry one = g;
  one.q_heads = one.kv_heads = 1;
  KeptMap kept(one, views.tile, views.tile);
  kept.add(plan->to_host(), local, 0);
  return {plan_stats(plan->to_host(), local).density(),
          dense->compare_heads(*plan, 0)[static_cast<std::size_t>(local)].row_recall, kept.share()};
}

void check_stop(const HeadViews& views, const HeadView& head, std::size_t stop, const Planned& expected) {
  CHECK(head.density[stop] == doctest::Approx(expected.density).epsilon(1e-12));
  const auto tiles = static_cast<std::size_t>(views.row_tiles());
  double all = 0;
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    const auto first = static_cast<std::ptrdiff_t>(tile) * views.row_tile,
               last = std::min<std::ptrdiff_t>(views.q_len, first + views.row_tile);
    const double sum =
        std::accumulate(expected.row_recall.begin() + first, expected.row_recall.begin() + last, 0.);
    all += sum;
    CHECK(static_cast<double>(head.row_recall[stop * tiles + tile]) ==
          doctest::Approx(sum / static_cast<double>(last - first)).epsilon(2e-5));
  }
  CHECK(head.mass_recall[stop] == doctest::Approx(all / static_cast<double>(views.q_len)).epsilon(2e-5));
  for (std::size_t cell = 0; cell < expected.share.size(); ++cell)
    CHECK((head.first[cell] <= stop) == (expected.share[cell] >= 0.5f));
}

/// An engine that keeps its critical values to itself, as a GPU does.
class PlansOnly final : public Engine {
 public:
  std::string device() const override { return cpu_->device(); }
  std::string path() const override { return cpu_->path(); }
  std::unique_ptr<Inputs> upload(const KvGroup& group) override { return cpu_->upload(group); }
  PlanHandle plan(const Method& method, const PlanRequest& request, const Inputs& inputs, std::int64_t begin,
                  std::int64_t end) override {
    return cpu_->plan(method, request, inputs, begin, end);
  }
  std::vector<PlanStats> stats(const DevicePlan& plan) override { return cpu_->stats(plan); }
  AttentionResult execute(const Inputs& inputs, const DevicePlan& plan) override {
    return cpu_->execute(inputs, plan);
  }
  MassMap mass(const Inputs& inputs, int head, const MassGranularity& grain) override {
    return cpu_->mass(inputs, head, grain);
  }
  RowMaxima row_maxima(const Inputs& inputs, int head, std::int64_t block, std::int64_t group) override {
    return cpu_->row_maxima(inputs, head, block, group);
  }
  std::string curves(const Method& method, const Params& params, const Inputs& inputs,
                     std::span<const int> heads, const UseCurve& use) override {
    return cpu_->curves(method, params, inputs, heads, use);
  }
  std::unique_ptr<Pipeline> pipeline(const Method& method, const PlanRequest& request,
                                     const Inputs& inputs) override {
    return cpu_->pipeline(method, request, inputs);
  }
  std::unique_ptr<Pipeline> library_pipeline(const Inputs& inputs) override {
    return cpu_->library_pipeline(inputs);
  }

 private:
  std::unique_ptr<Engine> cpu_ = make_cpu_engine();
};

}  // namespace

TEST_CASE("every stop of a view is what the plan at its knob keeps, row by row and cell by cell") {
  const auto engine = make_cpu_engine();
  for (const std::int64_t length : {96, 101}) {
    const test::TempDump dump("head_views.h5", {.layers = {0}, .length = length});
    const DumpReader reader(dump.path);
    for (const char* name : {"anchor", "stripes", "xattention", "flashprefill", "block-oracle",
                             "stripe-oracle", "block-sparse"}) {
      CAPTURE(name);
      CAPTURE(length);
      const MethodRun run = small(name);
      const HeadViews views = views_of(*engine, reader, run);
      CHECK_FALSE(views.params.contains(run.method->knob));
      REQUIRE(views.heads.size() == 4);
      for (const HeadView& head : views.heads) {
        REQUIRE(head.error == "");
        const std::vector<double> stops = views.stops_of(head);
        REQUIRE(head.density.size() == stops.size());
        CHECK(stops.size() >= 3);
        CHECK(std::is_sorted(head.density.begin(), head.density.end()));
        CHECK(head.marks.size() == 1);
        CHECK(head.marks[0].knob == run.params.real(run.method->knob));
        CHECK(std::accumulate(head.mass.begin(), head.mass.end(), 0.) ==
              doctest::Approx(static_cast<double>(length)).epsilon(1e-4));
        const auto inputs = engine->upload(reader.read_group(head.layer, head.head / 2));
        for (std::size_t stop = 0; stop < stops.size(); stop += 3)
          check_stop(views, head, stop, planned(*engine, *inputs, run, stops[stop], head.head % 2, views));
      }
    }
  }
}

TEST_CASE("lists of several tiles, and tiles of several lists") {
  const auto engine = make_cpu_engine();
  const test::TempDump dump("head_views_lists.h5",
                            {.layers = {0}, .q_heads = 2, .kv_heads = 1, .length = 300});
  const DumpReader reader(dump.path);
  for (const auto& [block, step] :
       {std::pair{"8", "1"}, {"1", "2"}, {"48", "2"}, {"50", "3"}, {"128", "16"}}) {
    CAPTURE(block);
    CAPTURE(step);
    MethodRun run = small("anchor");
    set_param(*run.method, run.params, "block", block);
    set_param(*run.method, run.params, "step", step);
    const HeadViews views = views_of(*engine, reader, run);
    const auto inputs = engine->upload(reader.read_group(0, 0));
    for (const HeadView& head : views.heads) {
      const std::vector<double> stops = views.stops_of(head);
      for (std::size_t stop = 0; stop < stops.size(); stop += 5)
        check_stop(views, head, stop, planned(*engine, *inputs, run, stops[stop], head.head, views));
    }
  }
}

TEST_CASE("an engine that has no critical values gives the same views, by a plan for every stop") {
  const test::TempDump dump("head_views_plans.h5", {.layers = {1}});
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  PlansOnly plans;
  for (const char* name : {"anchor", "flashprefill"}) {
    CAPTURE(name);
    KnobMarks marks;
    marks.add(1, 2, 0.35, "chosen");
    const HeadViews one = views_of(*engine, reader, small(name), marks),
                    other = views_of(plans, reader, small(name), marks);
    CHECK(one.stops == other.stops);
    for (std::size_t n = 0; n < one.heads.size(); ++n) {
      CHECK(one.heads[n].density == other.heads[n].density);
      CHECK(one.heads[n].mass_recall == other.heads[n].mass_recall);
      CHECK(one.heads[n].row_recall == other.heads[n].row_recall);
      CHECK(one.heads[n].first == other.heads[n].first);
      REQUIRE(one.heads[n].stripes.size() == other.heads[n].stripes.size());
      for (std::size_t s = 0; s < one.heads[n].stripes.size(); ++s)
        CHECK(one.heads[n].stripes[s].lists == other.heads[n].stripes[s].lists);
    }
  }
}

TEST_CASE("a method without an exact curve is shown at the run's parameters") {
  const test::TempDump dump("head_views_one.h5", {.layers = {0}, .length = 77});
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  const MethodRun run = small("streaming");
  const HeadViews views = views_of(*engine, reader, run);
  CHECK(views.stops.empty());
  CHECK(views.params.contains(run.method->knob));
  for (const HeadView& head : views.heads) {
    REQUIRE(head.density.size() == 1);
    const auto inputs = engine->upload(reader.read_group(0, head.head / 2));
    const auto dense = engine->dense_reference(*inputs);
    const HeadReplay expected = replay(*engine, *inputs, *run.method, {run.params, {}}, *dense)
                                    .heads[static_cast<std::size_t>(head.head % 2)];
    CHECK(head.density[0] == expected.stats.density());
    CHECK(head.mass_recall[0] == doctest::Approx(expected.recall.mean).epsilon(1e-9));
  }
}

TEST_CASE("marks are stops of their heads; what all have in common is a stop of all, and the start") {
  const test::TempDump dump("head_views_marks.h5", {.layers = {0}});
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  KnobMarks marks;
  for (int head = 0; head < 4; ++head) {
    marks.add(0, head, 1.2345, "of a run");
    marks.add(0, head, 2 + 0.01 * head, "fitted");
  }
  marks.add_for_all(3.21, "one for all");
  const HeadViews views = views_of(*engine, reader, small("anchor"), marks);
  REQUIRE(views.start);
  CHECK(views.start->knob == 1.2345);
  CHECK(views.why[static_cast<std::size_t>(views.start->why)] == "of a run");
  for (const double knob : {1.2345, 3.21})
    CHECK(std::find(views.stops.begin(), views.stops.end(), knob) != views.stops.end());
  for (const HeadView& head : views.heads) {
    CHECK(head.marks.size() == 2);
    const std::vector<double> stops = views.stops_of(head);
    CHECK(std::is_sorted(stops.begin(), stops.end()));
    CHECK(std::find(stops.begin(), stops.end(), 2 + 0.01 * head.head) != stops.end());
  }
}

TEST_CASE("stripes are counted at every stop") {
  const test::TempDump dump("head_views_stripes.h5", {.layers = {0}});
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  const MethodRun run = small("anchor");
  const HeadViews views = views_of(*engine, reader, run);
  bool any = false;
  for (const HeadView& head : views.heads) {
    const std::vector<double> stops = views.stops_of(head);
    const auto inputs = engine->upload(reader.read_group(0, head.head / 2));
    for (const HeadView::Stripe& stripe : head.stripes) {
      any = true;
      CHECK((stripe.mass > 0 && stripe.mass <= 1));
      CHECK(stripe.text.empty());  // nobody knows the tokens
      CHECK(stripe.lists.back().second <= stripe.possible);
      for (const auto& [stop, count] : stripe.lists) {
        PlanRequest request{run.params, std::vector<double>(2, stops[static_cast<std::size_t>(stop)])};
        const SparsePlan plan = engine->plan(*run.method, request, *inputs, 0, 96)->to_host();
        int found = 0;
        for (std::int64_t n = 0; n < plan.groups(); ++n) {
          const auto columns = plan.columns[(head.head % 2) * plan.groups() + n];
          found += static_cast<int>(std::count(columns.begin(), columns.end(), stripe.key));
        }
        CHECK(found == count);
      }
    }
  }
  CHECK(any);
}
