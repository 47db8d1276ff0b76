#include "anchor/metrics/kept_map.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "anchor/method/method.hpp"
#include "support/random.hpp"

using namespace anchor;

TEST_CASE("kept shares equal a count over every pair, for blocks, columns, windows and row ranges") {
  for (const auto& [name, window] : {std::pair{"dense", 0},
                                     {"anchor", 0},
                                     {"streaming", 0},
                                     {"tri-shape", 0},
                                     {"topk", 0},
                                     {"dense", 40},
                                     {"anchor", 70},
                                     {"tri-shape", 25},
                                     {"topk", 50}}) {
    CAPTURE(name);
    CAPTURE(window);
    const Method& method = find_method(name);
    auto random = test::random_inputs(test::square(150, 64, 2, 1, 64));
    random.geometry.sliding_window = window;
    PlanRequest request{default_params(method), {}};
    for (const auto& [key, value] :
         {std::pair{"block", 16.}, {"step", 2.}, {"theta", 1.}, {"sink", 5.}, {"local", 20.}, {"k", 9.}}) {
      if (request.params.values().contains(key)) request.params.set(key, value);
    }
    const Geometry head = random.view().head(1).geometry;
    KeptMap map(head, 32, 16);
    std::vector<double> kept(std::size_t(3 * 10)), causal(kept.size());
    for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 32}, {32, 86}}) {
      const SparsePlan plan = method.plan_cpu(random.view().rows(begin, end), request);
      map.add(plan, 1, begin);
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = plan.row_of(1, i - begin);
        const auto blocks = plan.blocks[row], columns = plan.columns[row];
        for (std::int64_t j = 0; j <= 64 + i; ++j) {
          const bool listed = std::any_of(blocks.begin(), blocks.end(),
                                          [&](auto b) { return b <= j && j < b + plan.block_width(b); }) ||
                              std::find(columns.begin(), columns.end(), j) != columns.end();
          const auto cell = static_cast<std::size_t>(i / 32 * 10 + j / 16);
          kept[cell] += listed && plan.allows(1, 64 + i, j);
          causal[cell] += window == 0 || 64 + i - j < window;
        }
      }
    }
    const std::vector<float> share = map.share();
    REQUIRE(share.size() == kept.size());
    for (std::size_t n = 0; n < kept.size(); ++n) {
      CHECK(share[n] == doctest::Approx(causal[n] > 0 ? kept[n] / causal[n] : 0));
    }
  }
}
