#include "anchor/report/make_head_views.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "anchor/engine/cpu_engine.hpp"
#include "anchor/replay/replay.hpp"
#include "support/temp_dump.hpp"

using namespace anchor;

namespace {

MethodRun small(const char* name) {
  const Method& method = find_method(name);
  MethodRun run{&method, default_params(method)};
  for (const auto& [key, value] : {std::pair{"block", "16"}, {"step", "1"}, {"local", "24"}, {"sink", "2"}})
    if (run.params.values().contains(key)) set_param(method, run.params, key, value);
  return run;
}

}  // namespace

TEST_CASE("every level of a view is what replaying the head at its knob gives") {
  const test::TempDump dump("head_views.h5");
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  for (const char* name : {"anchor", "streaming"}) {
    CAPTURE(name);
    const MethodRun run = small(name);
    std::vector<int> layers;
    const auto groups = select_groups(reader, {.layers = {}, .heads = {1, 2}});
    const HeadViews views =
        make_head_views(*engine, reader, groups, run, {}, [&](std::size_t n, const GroupSelection& group) {
          CHECK(n == layers.size());
          layers.push_back(group.layer);
        });
    CHECK(layers == std::vector<int>{0, 0, 1, 1});
    REQUIRE(views.heads.size() == 4);
    const bool exact = run.method->granularity != nullptr;
    CHECK(views.params.contains(run.method->knob) == !exact);
    for (const HeadView& head : views.heads) {
      CHECK(head.error == "");
      CHECK((head.curve.size() > 0) == exact);
      CHECK(head.knob.size() == (exact ? 8 : 1));
      CHECK(std::accumulate(head.mass.begin(), head.mass.end(), 0.) == doctest::Approx(96).epsilon(1e-4));
      CHECK(std::is_sorted(head.density.begin(), head.density.end()));
      const int kv_head = head.head / 2;
      const auto inputs = engine->upload(reader.read_group(head.layer, kv_head));
      const auto dense = engine->dense_reference(*inputs);
      for (std::size_t level = 0; level < head.knob.size(); ++level) {
        MethodRun at = run;
        at.params.set(run.method->knob, head.knob[level]);
        const HeadReplay expected = replay(*engine, *inputs, *run.method, {at.params, {}}, *dense)
                                        .heads[static_cast<std::size_t>(head.head % 2)];
        CHECK(head.density[level] == expected.stats.density());
        CHECK(head.mass_recall[level] == doctest::Approx(expected.recall.mean).epsilon(1e-9));
      }
      if (exact) CHECK(head.mass_recall.back() == doctest::Approx(1).epsilon(1e-4));
    }
  }
}

TEST_CASE("the tokens of stripes are named, and a layer of another length is a view that says so") {
  const test::TempDump dump("head_views_stripes.h5", {.layers = {0}});
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  const HeadViews views =
      make_head_views(*engine, reader, select_groups(reader), small("anchor"), {}, [](auto...) {});
  bool any = false;
  for (const HeadView& head : views.heads) {
    for (const HeadView::Stripe& stripe : head.stripes) {
      any = true;
      CHECK((stripe.key >= 0 && stripe.key < 96));
      CHECK((stripe.lists > 0 && stripe.lists <= 1));
      CHECK((stripe.mass > 0 && stripe.mass <= 1));
      CHECK(stripe.text.empty());  // nobody knows the tokens
    }
  }
  CHECK(any);
}
