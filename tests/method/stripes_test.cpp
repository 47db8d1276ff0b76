#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/error.hpp"
#include "anchor/method/method.hpp"
#include "anchor/plan/listed.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/close.hpp"
#include "support/random.hpp"

using namespace anchor;
using test::check_close;
using test::random_inputs;
using test::square;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

constexpr const char* scores[] = {"pooled", "rows", "antidiagonal", "peak"};

PlanRequest request(double theta, const std::string& score, int window = 0, int block = 16) {
  PlanRequest made{default_params(find_method("stripes")), {}};
  made.params.set("theta", theta);
  made.params.set("block", double(block));
  made.params.set("window", double(window));
  made.params.set("score", score);
  return made;
}

SparsePlan plan(const AttentionInputs& inputs, const PlanRequest& asked) {
  SparsePlan made = find_method("stripes").plan_cpu(inputs, asked);
  REQUIRE(validate(made) == "");
  return made;
}

double score_of(const AttentionInputs& in, int head, std::int64_t i, std::int64_t j) {
  double dot = 0;
  for (int c = 0; c < in.geometry.head_dim; ++c)
    dot += double{in.q_row(head, i)[c]} * double{in.keys(head)[j * in.geometry.head_dim + c]};
  return dot * in.geometry.softmax_scale;
}

/// -ln of a key's weight, from the definition in double: its largest share of a row's whole softmax for
/// score=peak, else beside the region.
double critical(const AttentionInputs& in, int head, std::int64_t begin, std::int64_t end, std::int64_t sink,
                std::int64_t j, const std::string& score) {
  double arithmetic = 0, geometric = 0, peak = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    double region = 0, all = 0;
    for (std::int64_t k = 0; k < in.geometry.visible(i); ++k) {
      const double term = std::exp(score_of(in, head, i, k));
      all += term;
      if (k < sink || k >= in.geometry.q_start + begin) region += term;
    }
    peak = std::max(peak, std::exp(score_of(in, head, i, j)) / all);
    const double weight = std::exp(score_of(in, head, i, j)) / region;
    arithmetic += weight / double(end - begin);
    geometric += std::log(weight) / double(end - begin);
  }
  if (score == "peak") return -std::log(peak);
  return score == "rows" ? -std::log(arithmetic) : -geometric;
}

/// The same for score=antidiagonal: cells of 16 queries and keys, a softmax over a query cell's key cells.
double block_critical(const AttentionInputs& in, int head, std::int64_t begin, std::int64_t end,
                      std::int64_t block, std::int64_t j) {
  const Geometry& g = in.geometry;
  double share = 0, cells = 0;
  for (std::int64_t row = begin; row < end; row += 16, ++cells) {
    double total = 0, own = 0;
    for (std::int64_t key = 0; key <= g.q_start + row; key += 16) {
      double z = 0;
      for (std::int64_t a = 0; a < 16; ++a)
        if (row + 15 - a < g.q_len && key + a < g.kv_len) z += score_of(in, head, row + 15 - a, key + a) / 16;
      total += std::exp(z);
      if (key / block == j / block) own += std::exp(z);
    }
    share += own / total;
  }
  return -std::log(share / cells);
}

}  // namespace

TEST_CASE("stripes: the plan holds the region, the window, and exactly the keys of enough weight") {
  for (const std::int64_t length : {1, 15, 16, 17, 100, 131, 160}) {
    for (const std::int64_t q_start : {0, 32}) {
      if (q_start >= length) continue;
      const auto random = random_inputs(square(length, 16, 4, 2, q_start), unsigned(length), 3);
      const AttentionInputs in = random.view();
      for (const std::string score : scores) {
        const int block = score == "antidiagonal" ? 32 : 16;  // two cells
        for (const auto& [theta, window] : {std::pair{2., 0}, {4., 0}, {6., 0}, {2., 21}}) {
          const SparsePlan made = plan(in, request(theta, score, window, block));
          for (std::int64_t row = 0; row < made.rows(); ++row) {
            const int head = int(row / made.groups());
            const std::int64_t begin = row % made.groups() * block,
                               end = std::min(begin + block, random.geometry.q_len);
            const std::int64_t start = q_start + begin;
            CHECK(std::ranges::equal(made.blocks[row], std::vector<std::int32_t>{std::int32_t(start)}));
            const auto columns = made.columns[row];
            for (std::int64_t j = 0; j < start; ++j) {
              const bool listed = std::ranges::binary_search(columns, std::int32_t(j));
              if (j < 4 || j >= start - window) {
                CHECK(listed);
                continue;
              }
              const double exact = score == "antidiagonal" ? block_critical(in, head, begin, end, block, j)
                                                           : critical(in, head, begin, end, 4, j, score);
              if (std::abs(exact - theta) > 1e-4) CHECK(listed == (exact <= theta));  // float scores
            }
          }
        }
      }
    }
  }
}

TEST_CASE("stripes: theta nests plans from the region alone to dense attention, which means leave alone") {
  const auto random = random_inputs(square(200, 32, 2, 1), 5, 3);
  const AttentionInputs in = random.view();
  for (const char* score : scores) {
    std::int64_t before = 0;
    for (const double theta : {-infinity, 0., 2., 4., 8., infinity}) {
      const std::int64_t pairs = plan_stats(plan(in, request(theta, score)), 1).visible_pairs;
      CHECK(pairs >= before);
      before = pairs;
    }
    CHECK(before == random.geometry.causal_pairs());
    const SparsePlan region = plan(in, request(-infinity, score));
    CHECK(region.columns[region.groups() - 1].size() == 4);
    check_close(cpu_attention(in, plan(in, request(infinity, score))).out, reference_attention(in).out, 2e-5);
  }
}

TEST_CASE("stripes: a window adds its keys and nothing else; one as long as the text is dense attention") {
  const auto random = random_inputs(square(200, 16, 2, 1, 32), 6, 3);
  for (const char* score : scores) {
    const SparsePlan bare = plan(random.view(), request(2, score));
    for (const int window : {1, 16, 40, 200}) {
      const SparsePlan made = plan(random.view(), request(2, score, window));
      CHECK(made.blocks == bare.blocks);
      for (std::int64_t row = 0; row < made.rows(); ++row) {
        const std::int64_t start = 32 + row % made.groups() * 16;
        std::set<std::int32_t> expected(bare.columns[row].begin(), bare.columns[row].end());
        for (std::int64_t j = std::max<std::int64_t>(0, start - window); j < start; ++j)
          expected.insert(std::int32_t(j));
        CHECK(std::ranges::equal(made.columns[row], expected));
      }
    }
    CHECK(plan_stats(plan(random.view(), request(-infinity, score, 200)), 0).visible_pairs ==
          random.geometry.causal_pairs());
  }
}

TEST_CASE("stripes: chunks of queries plan like the whole, and keys that they do not see are not looked at") {
  const auto random = random_inputs(square(208, 16, 2, 1), 8, 3);
  for (const char* score : scores) {
    const SparsePlan whole = plan(random.view(), request(3, score, 20, 32));
    auto blind = random;
    std::fill(blind.k.begin() + 160 * 16, blind.k.end(), std::numeric_limits<float>::quiet_NaN());
    for (const auto& [begin, end] : {std::pair{0, 96}, {96, 160}, {160, 208}}) {
      const AttentionInputs seen = end <= 160 ? blind.view() : random.view();
      const SparsePlan chunk = plan(seen.rows(begin, end), request(3, score, 20, 32));
      for (int head = 0; head < 2; ++head) {
        for (std::int64_t i = 0; i < end - begin; i += 32)
          CHECK(std::ranges::equal(chunk.columns[chunk.row_of(head, i)],
                                   whole.columns[whole.row_of(head, begin + i)]));
      }
    }
  }
}

TEST_CASE("stripes: a pooled weight is a geometric mean, so rows keep at least as much at equal theta") {
  const auto random = random_inputs(square(300, 16, 2, 1), 7, 3);
  for (const double theta : {1., 3., 5.}) {
    const SparsePlan pooled = plan(random.view(), request(theta, "pooled"));
    const SparsePlan rows = plan(random.view(), request(theta + 1e-4, "rows"));
    for (std::int64_t row = 0; row < rows.rows(); ++row)
      CHECK(std::ranges::includes(rows.columns[row], pooled.columns[row]));
    CHECK(rows.columns.items.size() > pooled.columns.items.size());
  }
}

TEST_CASE("stripes: score=peak keeps every pair of at least the weight exp(-theta)") {
  const auto random = random_inputs(square(260, 16, 2, 1), 11, 3);
  const AttentionInputs in = random.view();
  const double theta = std::log(8.);
  const SparsePlan made = plan(in, request(theta, "peak"));
  int peaks = 0;
  for (int head = 0; head < 2; ++head) {
    for (std::int64_t i = 0; i < 260; ++i) {
      double all = 0;
      for (std::int64_t j = 0; j <= i; ++j) all += std::exp(score_of(in, head, i, j));
      for (std::int64_t j = 0; j <= i; ++j) {
        if (std::exp(score_of(in, head, i, j)) / all < 0.125 * (1 + 1e-4)) continue;
        CHECK(lists_key(made, made.row_of(head, i), j));
        ++peaks;
      }
    }
  }
  CHECK(peaks > 100);
  CHECK(plan_stats(made, 0).density() < 0.9);
}

TEST_CASE("stripes: every head may have a score, a window and a theta of its own") {
  const auto random = random_inputs(square(150, 16, 4, 2), 9, 3);
  const PlanRequest alone[] = {request(3, "pooled"), request(4, "rows"), request(2, "antidiagonal", 24),
                               request(infinity, "pooled", 40)};
  PlanRequest mixed = request(0, "pooled");
  for (const PlanRequest& own : alone) {
    mixed.knobs.push_back(own.params.real("theta"));
    mixed.head_params.push_back(mixed.params);
    mixed.head_params.back().set("score", own.params.choice("score"));
    mixed.head_params.back().set("window", own.params.real("window"));
  }
  const SparsePlan all = plan(random.view(), mixed);
  for (int head = 0; head < 4; ++head) {
    const SparsePlan expected = plan(random.view(), alone[head]);
    for (std::int64_t g = 0; g < all.groups(); ++g) {
      const std::int64_t row = all.row_of(head, g * 16);
      CHECK(std::ranges::equal(all.columns[row], expected.columns[row]));
    }
  }
}

TEST_CASE("mean correction of single columns: executors agree, and blocks of equal keys lose nothing") {
  for (const std::int64_t length : {40, 200, 333}) {
    auto random = random_inputs(square(length, 32, 4, 2, length > 100 ? 64 : 0), unsigned(length), 2);
    const AttentionInputs in = random.view();
    const SparsePlan made = plan(in, request(2.5, "rows"));
    REQUIRE(made.mean_correction);
    const AttentionResult expected = reference_attention(in, made), actual = cpu_attention(in, made);
    check_close(actual.out, expected.out, 2e-5);
    check_close(actual.lse, expected.lse, 2e-5);
    check_close(actual.lse_corrected, expected.lse_corrected, 2e-5);
    // Whatever the plan lists, equal keys and values in a block are their own means.
    for (auto* x : {&random.k, &random.v}) {
      for (std::size_t row = 0; row < x->size() / 32; ++row) {
        const std::size_t in_head = row % std::size_t(length), first = row - in_head % 16;
        std::copy_n(x->begin() + std::ptrdiff_t(first * 32), 32, x->begin() + std::ptrdiff_t(row * 32));
      }
    }
    check_close(reference_attention(in, plan(in, request(2.5, "rows"))).out, reference_attention(in).out,
                2e-6);
    check_close(cpu_attention(in, plan(in, request(-infinity, "pooled"))).out, reference_attention(in).out,
                2e-5);
  }
}

TEST_CASE("stripes: a chunk that starts inside a tile is refused") {
  const auto random = random_inputs(square(100, 16, 1, 1, 20));
  CHECK_THROWS_AS(find_method("stripes").plan_cpu(random.view(), request(3, "pooled")), Error);
}

TEST_CASE("stripes: antidiagonals need tiles of whole cells") {
  const auto random = random_inputs(square(100, 16));
  try {
    plan(random.view(), request(3, "antidiagonal", 0, 24));
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    CHECK(std::string(error.what()).find("multiple of 16") != std::string::npos);
  }
}
