#include <doctest/doctest.h>

#include <cmath>

#include "anchor/attention/reference.hpp"
#include "anchor/data/codebook_file.hpp"
#include "anchor/method/a2ats.hpp"
#include "anchor/method/quantizer_fit.hpp"
#include "model/golden.hpp"
#include "support/golden_inputs.hpp"
#include "support/params.hpp"
#include "support/rotated.hpp"
#include "support/temp_file.hpp"

using namespace anchor;
using test::RandomInputs;

namespace {

constexpr int dim = 32, codes = 24;
constexpr std::int64_t b = 64, window = 16, sink = 4;

/// Query heads 0 and 1 with their KV head, before RoPE.
RandomInputs first_group(std::int64_t length, unsigned seed) {
  RandomInputs inputs = test::golden_inputs(length, dim, 4, 2, seed);
  inputs.geometry.q_heads = 2;
  inputs.geometry.kv_heads = 1;
  inputs.q.resize(static_cast<std::size_t>(2 * length * dim));
  inputs.k.resize(static_cast<std::size_t>(length * dim));
  inputs.v.resize(inputs.k.size());
  return inputs;
}

/// The codebook of the calibration text, and the mean squared error of its scores there.
struct Calibrated {
  explicit Calibrated(bool query_metric) {
    const Rotation rotation = test::rotation_of(dim);
    const RandomInputs text = first_group(256, 3);
    AlignedVector<float> queries(text.q.begin(), text.q.end());
    queries = queries_at(queries, 512, dim, &rotation, b);
    const FittedQuantizer fitted =
        fit_quantizer(text.k.data(), 256, dim, second_moment(queries.data(), 512, dim),
                      {.codes = codes, .query_metric = query_metric, .stride_start = true});
    book = {.codes = codes, .b = b, .metric = query_metric ? "query" : "plain", .rope = "windowed"};
    book.layers[0] = {1, dim, fitted.centroids, fitted.factor, fitted.count};
    const auto ids = Quantizer(book, 0, 0, dim).assign(text.k.data(), 256);
    for (int i = 0; i < 512; ++i) {
      for (int j = 0; j < 256; ++j) {
        double off = 0;
        const float* centroid = fitted.centroids.data() + ids[static_cast<std::size_t>(j)] * dim;
        for (int c = 0; c < dim; ++c)
          off += static_cast<double>(queries[static_cast<std::size_t>(i * dim + c)]) *
                 (static_cast<double>(text.k[static_cast<std::size_t>(j * dim + c)]) -
                  static_cast<double>(centroid[c]));
        error += off * off / (512. * 256.);
      }
    }
  }
  Codebook book;
  double error = 0;
};

}  // namespace

TEST_CASE("codes, plans and their recall equal those of the independent tests/golden/make_a2ats_golden.py") {
  const auto golden = read_golden("a2ats.json");
  const Calibrated query(true), plain(false);
  CHECK(query.error == doctest::Approx(golden["error_query"].get<double>()).epsilon(1e-5));
  CHECK(plain.error == doctest::Approx(golden["error_plain"].get<double>()).epsilon(1e-5));

  const RandomInputs before = first_group(224, 9);
  const auto ids = Quantizer(query.book, 0, 0, dim).assign(before.k.data(), 224);
  for (std::size_t j = 0; j < ids.size(); ++j) CHECK(ids[j] == golden["codes"][j].get<int>());

  const test::TempFile file("a2ats_golden.h5");
  write_codebook(file.path, query.book);
  const test::RotatedInputs inputs(before, test::rotation_of(dim));
  const AttentionResult dense = reference_attention(inputs.view());
  const Method& method = find_method("a2ats");
  const std::vector<std::pair<std::string, test::Settings>> cases{
      {"one", {{"rank", "vq"}, {"codebook", file.path}}},
      {"buckets", {{"rank", "vq"}, {"codebook", file.path}, {"buckets", "2"}}},
      {"exact", {{"rank", "exact"}}}};
  for (const auto& [name, settings] : cases) {
    CAPTURE(name);
    test::Settings all{{"share", "head"}, {"topk", "0.1"}, {"window", "16"}, {"sink", "4"}, {"b", "64"}};
    all.insert(all.end(), settings.begin(), settings.end());
    const SparsePlan plan = method.plan_cpu(inputs.view(), {test::params_of(method, all), {}});
    CHECK(validate(plan) == "");
    const AttentionResult kept = reference_attention(inputs.view(), plan);
    double recall = 0;
    std::size_t at = 0;
    for (std::int64_t head = 0; head < 2; ++head) {
      for (std::int64_t row = 64; row < 224; row += 8, ++at) {
        const std::int64_t place = head * 224 + row;
        recall +=
            std::exp(kept.lse[static_cast<std::size_t>(place)] - dense.lse[static_cast<std::size_t>(place)]);
        std::vector<int> far;
        for (const std::int32_t key : plan.columns[place])
          if (key >= sink && key <= row - window) far.push_back(key);
        CHECK(far == golden["far"][name][at].get<std::vector<int>>());
      }
    }
    CHECK(recall / 40 == doctest::Approx(golden["recall"][name].get<double>()).epsilon(1e-5));
  }
}
