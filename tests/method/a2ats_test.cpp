#include "anchor/method/a2ats.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/attention/reference.hpp"
#include "anchor/base/error.hpp"
#include "anchor/data/codebook_file.hpp"
#include "anchor/mass/curve.hpp"
#include "anchor/method/quantizer_fit.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/params.hpp"
#include "support/rotated.hpp"
#include "support/temp_file.hpp"

using namespace anchor;
using test::random_inputs;
using test::RotatedInputs;
using test::Settings;
using test::square;

namespace {

constexpr int dim = 32;
const Settings small{{"window", "16"}, {"sink", "4"}, {"b", "64"}};

RotatedInputs two_heads(std::int64_t length = 200, std::int64_t q_start = 0) {
  return {random_inputs(square(length, dim, 2, 1, q_start), 11, 2), test::rotation_of(dim)};
}

PlanRequest asked(const Settings& settings) {
  Settings all = small;
  for (const auto& [name, value] : settings) {
    std::erase_if(all, [&](const auto& other) { return other.first == name; });
    all.emplace_back(name, value);
  }
  return {test::params_of(find_method("a2ats"), all), {}};
}

SparsePlan plan_of(const AttentionInputs& inputs, const Settings& settings) {
  return find_method("a2ats").plan_cpu(inputs, asked(settings));
}

bool holds(const SparsePlan& more, const SparsePlan& less) {
  for (std::int64_t row = 0; row < less.rows(); ++row)
    if (!std::ranges::includes(more.columns[row], less.columns[row])) return false;
  return true;
}

double recall_of(const AttentionInputs& inputs, const SparsePlan& plan) {
  const auto dense = reference_attention(inputs), kept = reference_attention(inputs, plan);
  double sum = 0;
  for (std::size_t i = 0; i < dense.lse.size(); ++i) sum += std::exp(kept.lse[i] - dense.lse[i]);
  return sum / static_cast<double>(dense.lse.size());
}

/// A codebook of these inputs' own keys.
struct OwnCodebook : test::TempFile {
  OwnCodebook(const RotatedInputs& inputs, const QuantizerFit& fit, const std::string& rope)
      : TempFile("a2ats_own.h5") {
    const Geometry& g = inputs.inputs.geometry;
    AlignedVector<float> keys(inputs.inputs.k.begin(), inputs.inputs.k.end());
    AlignedVector<float> queries(inputs.inputs.q.begin(), inputs.inputs.q.end());
    if (rope == "windowed") {
      unrotate_rows(&inputs.rotation, keys.data(), g.kv_len, dim, 0);
      for (int h = 0; h < g.q_heads; ++h)
        unrotate_rows(&inputs.rotation, queries.data() + h * g.q_len * dim, g.q_len, dim, g.q_start);
      queries = queries_at(queries, g.q_heads * g.q_len, dim, &inputs.rotation, 64);
    }
    const auto fitted = fit_quantizer(keys.data(), g.kv_len, dim,
                                      second_moment(queries.data(), g.q_heads * g.q_len, dim), fit);
    Codebook book{.codes = fit.codes, .parts = fit.parts, .b = 64, .metric = "query", .rope = rope};
    book.layers[0] = {1, dim, fitted.centroids, fitted.factor, fitted.count};
    write_codebook(path, book);
  }
};

}  // namespace

TEST_CASE("a row keeps sink, window and floor(topk (i + 1)) far keys; plans nest in topk") {
  const RotatedInputs inputs = two_heads();
  const OwnCodebook book(inputs, {.codes = 16}, "windowed");
  for (const std::string rank : {"vq", "keys", "exact", "quest", "random"}) {
    CAPTURE(rank);
    const Settings way{{"rank", rank}, {"codebook", book.path}, {"share", "head"}};
    const auto with = [&](const std::string& topk) {
      Settings all = way;
      all.emplace_back("topk", topk);
      return plan_of(inputs.view(), all);
    };
    const SparsePlan plan = with("0.1");
    CHECK(validate(plan) == "");
    for (std::int64_t i = 0; i < 200; ++i) {
      const std::int64_t far = std::max<std::int64_t>(0, i - 16 + 1 - 4);
      const std::int64_t near = std::min<std::int64_t>(i + 1, 4 + 16);
      CHECK(std::ssize(plan.columns[200 + i]) == near + std::min(far, (i + 1) / 10));
    }
    CHECK(holds(plan, with("0.04")));
    CHECK(holds(with("0.35"), plan));
    CHECK(plan_stats(with("1"), 1).density() == 1);
  }
  CHECK(plan_stats(plan_of(inputs.view(), {{"window", "200"}, {"topk", "0"}}), 0).density() == 1);
}

TEST_CASE("no choice of as many keys keeps more mass than the exact one; a group keeps every head's keys") {
  const RotatedInputs inputs = two_heads();
  const OwnCodebook book(inputs, {.codes = 16}, "windowed");
  const Settings head{{"share", "head"}, {"topk", "0.1"}};
  const auto ranked = [&](const std::string& rank, const std::string& share) {
    return plan_of(inputs.view(),
                   {{"rank", rank}, {"share", share}, {"topk", "0.1"}, {"codebook", book.path}});
  };
  const double best = recall_of(inputs.view(), ranked("exact", "head"));
  for (const std::string rank : {"vq", "keys", "quest", "random"}) {
    CAPTURE(rank);
    const SparsePlan own = ranked(rank, "head"), shared = ranked(rank, "group");
    CHECK(recall_of(inputs.view(), own) <= best + 1e-9);
    CHECK(holds(shared, own));
    for (std::int64_t i = 0; i < 200; ++i)
      CHECK(std::ranges::equal(shared.columns[i], shared.columns[200 + i]));
  }
}

TEST_CASE("every distance its own bucket is RoPE itself, with an attention factor and partial heads too") {
  for (const int rotated : {32, 20}) {
    const RotatedInputs inputs(random_inputs(square(200, dim, 2, 1), 11, 2),
                               test::rotation_of(rotated, 1e4, 1.2));
    const Settings each{{"share", "head"}, {"topk", "0.1"}, {"rank", "keys"}, {"buckets", "each"}};
    const Settings exact{{"share", "head"}, {"topk", "0.1"}, {"rank", "exact"}};
    CHECK(plan_of(inputs.view(), each) == plan_of(inputs.view(), exact));
    const Settings one{{"share", "head"}, {"topk", "0.1"}, {"rank", "keys"}, {"buckets", "1"}};
    CHECK(plan_of(inputs.view(), one) != plan_of(inputs.view(), exact));
    const auto quality = ranking_quality(inputs.view(), 1, asked(each));
    CHECK(quality.at("topk_recall") == 1);
    CHECK(quality.at("relative_mass") == 1);
    CHECK(quality.at("score_nmse") < 1e-9);
  }
}

TEST_CASE("a code for every key finds every key, before RoPE and after it, whole and in parts") {
  const RotatedInputs inputs = two_heads();
  for (const std::string rope : {"windowed", "post"}) {
    for (const std::int64_t parts : {1, 4}) {
      CAPTURE(rope);
      CAPTURE(parts);
      const OwnCodebook book(inputs, {.codes = 200, .parts = parts}, rope);
      const Settings by_code{
          {"share", "head"}, {"topk", "0.1"}, {"rank", "vq"}, {"buckets", "each"}, {"codebook", book.path}};
      const auto quality = ranking_quality(inputs.view(), 0, asked(by_code));
      CHECK(quality.at("topk_recall") > 0.999);
      CHECK(quality.at("score_nmse") < 1e-6);
      CHECK(quality.at("bits_per_key") == doctest::Approx(static_cast<double>(parts) * std::log2(200.)));
    }
  }
}

TEST_CASE("rows at the end of a text are planned as in the whole text") {
  const RotatedInputs inputs = two_heads();
  const OwnCodebook book(inputs, {.codes = 16}, "windowed");
  for (const std::string rank : {"vq", "keys", "exact", "random"}) {
    for (const std::string buckets : {"1", "2"}) {
      CAPTURE(rank);
      const Settings way{{"rank", rank}, {"codebook", book.path}, {"buckets", buckets}, {"topk", "0.1"}};
      const SparsePlan whole = plan_of(inputs.view(), way);
      const SparsePlan part = plan_of(inputs.view().rows(133, 200), way);
      REQUIRE(part.geometry.q_start == 133);
      for (int head = 0; head < 2; ++head)
        for (std::int64_t i = 0; i < 67; ++i)
          CHECK(std::ranges::equal(part.columns[head * 67 + i], whole.columns[head * 200 + 133 + i]));
    }
  }
}

TEST_CASE("the exact curve is that of the plans at each of its points") {
  for (const std::int64_t q_start : {0, 90}) {
    const RotatedInputs inputs = two_heads(160, q_start);
    for (const std::string share : {"head", "group"}) {
      const Settings way{{"rank", "keys"}, {"share", share}};
      const Params params = asked(way).params;
      const MassMap mass =
          cpu_mass_map(inputs.view().head(1), {.group_rows = 0, .tile_rows = 128, .block_keys = 128});
      const Curve curve = exact_curve(critical_topk(inputs.view(), 1, params, mass));
      REQUIRE(curve.size() > 100);
      CHECK(curve.density.back() == doctest::Approx(1));
      for (std::size_t n = 1; n < curve.size(); n += 37) {
        PlanRequest request{params, {curve.knob[n], curve.knob[n]}};
        const SparsePlan plan = find_method("a2ats").plan_cpu(inputs.view(), request);
        CAPTURE(curve.knob[n]);
        CHECK(plan_stats(plan, 1).density() == doctest::Approx(curve.density[n]).epsilon(1e-12));
        const auto dense = reference_attention(inputs.view()),
                   kept = reference_attention(inputs.view(), plan);
        const std::int64_t rows = 160 - q_start;
        double recall = 0;
        for (std::int64_t i = rows; i < 2 * rows; ++i)
          recall += std::exp(kept.lse[static_cast<std::size_t>(i)] - dense.lse[static_cast<std::size_t>(i)]);
        CHECK(recall / static_cast<double>(rows) == doctest::Approx(curve.mass_recall[n]).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("buckets cover all distances, each of one factor, seen inside of it") {
  const RetrievalRule rule{.window = 64, .buckets = 2};
  const auto buckets = distance_buckets(rule, 4095);
  REQUIRE(buckets.size() == 6);
  CHECK(buckets[0].from == 64);
  CHECK(buckets[0].seen_at == 91);  // 64 sqrt 2
  for (std::size_t n = 1; n < buckets.size(); ++n) {
    CHECK(buckets[n].from == buckets[n - 1].to);
    CHECK(buckets[n].from == 2 * buckets[n - 1].from);
    CHECK(buckets[n].seen_at > buckets[n].from);
    CHECK(buckets[n].seen_at < 2 * buckets[n].from);
  }
  CHECK(distance_buckets({.window = 64, .b = 2048}, 4095).size() == 1);
  CHECK(distance_buckets({.window = 64, .buckets = 0}, 99).size() == 36);
}

TEST_CASE("what a rank needs and does not have is one line") {
  RotatedInputs inputs = two_heads(60);
  const auto error_of = [&](const Settings& settings) -> std::string {
    try {
      plan_of(inputs.view(), settings);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(error_of({{"rank", "vq"}}).find("--set codebook=FILE") != std::string::npos);
  CHECK(error_of({{"codebook", ANCHOR_SOURCE_DIR "/data/smollm2.h5"}}).find("not a codebook") !=
        std::string::npos);
  CHECK(error_of({{"codebook", "/nowhere.h5"}}).find("/nowhere.h5") != std::string::npos);
  const OwnCodebook book(inputs, {.codes = 4}, "windowed");
  CHECK(error_of({{"codebook", book.path}}) == "");
  inputs.rotation.unknown = "rope_inv_freq is missing";
  CHECK(error_of({{"rank", "keys"}}) == "rope_inv_freq is missing");
  CHECK(error_of({{"codebook", book.path}}) == "rope_inv_freq is missing");
  CHECK(error_of({{"rank", "exact"}}) == "");
  AttentionInputs other = inputs.view();
  other.origin = {.layer = 5, .first_kv_head = 0, .rotation = nullptr};
  CHECK_THROWS_WITH_AS(plan_of(other, {{"codebook", book.path}}), "the codebook has no layer 5", Error);
}

TEST_CASE("auto becomes the rank that it stands for") {
  const Method& method = find_method("a2ats");
  Params params = default_params(method);
  method.settle(params);
  CHECK(params.choice("rank") == "keys");
  params = test::params_of(method, {{"codebook", "C.h5"}});
  method.settle(params);
  CHECK(params.choice("rank") == "vq");
  params = test::params_of(method, {{"codebook", "C.h5"}, {"rank", "quest"}});
  method.settle(params);
  CHECK(params.choice("rank") == "quest");
}
