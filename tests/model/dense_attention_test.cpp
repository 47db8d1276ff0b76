#include "anchor/model/dense_attention.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/plan/plan_stats.hpp"
#include "support/close.hpp"
#include "support/random.hpp"

using namespace anchor;

namespace {

// Straight from the definition: key j of row i iff i - window < j <= i.
std::vector<float> windowed(const AttentionInputs& in, std::int64_t window) {
  const Geometry& g = in.geometry;
  std::vector<float> out;
  for (int head = 0; head < g.q_heads; ++head) {
    for (std::int64_t i = 0; i < g.q_len; ++i) {
      std::vector<double> row(static_cast<std::size_t>(g.head_dim), 0);
      double sum = 0;
      for (std::int64_t j = window > 0 ? std::max<std::int64_t>(0, i - window + 1) : 0; j <= i; ++j) {
        double score = 0;
        for (int c = 0; c < g.head_dim; ++c)
          score += static_cast<double>(in.q_row(head, i)[c]) *
                   static_cast<double>(in.keys(head)[j * g.head_dim + c]);
        const double weight = std::exp(score * g.softmax_scale);
        sum += weight;
        for (int c = 0; c < g.head_dim; ++c)
          row[static_cast<std::size_t>(c)] +=
              weight * static_cast<double>(in.values(head)[j * g.head_dim + c]);
      }
      for (const double value : row) out.push_back(static_cast<float>(value / sum));
    }
  }
  return out;
}

}  // namespace

TEST_CASE("a layer's attention sees the window and nothing else, whatever the tiles") {
  const auto random = test::random_inputs(test::square(300, 16, 4, 2), 3, 2);
  for (const std::int64_t window : {0, 1, 2, 17, 128, 129, 299, 300, 5000}) {
    CAPTURE(window);
    AttentionInputs in = random.view();
    in.geometry.sliding_window = window;
    test::check_close(dense_attention(in).out, windowed(in, window), 1e-5);
  }
}

TEST_CASE("the plan of a windowed layer is valid and grows with the window, not with the text") {
  Geometry g = test::square(4096, 16, 2, 1);
  g.sliding_window = 200;
  const SparsePlan plan = whole_plan(g);
  CHECK(validate(plan).empty());
  CHECK(plan_stats(plan, 1).density() == 1);
  CHECK(plan_stats(plan, 1).work_density() < 2);
  g.sliding_window = 0;
  CHECK(plan_stats(plan, 1).work_pairs < g.causal_pairs() / 5);
}
