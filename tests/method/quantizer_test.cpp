#include "anchor/method/quantizer.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/quantizer_fit.hpp"
#include "support/rotated.hpp"

using namespace anchor;
using test::random_inputs;
using test::square;

namespace {

constexpr int dim = 16;

struct Text {
  AlignedVector<float> keys, queries;
  std::int64_t count = 0;
};

/// Keys and queries whose variance differs much from dimension to dimension, and between the two.
Text text_of(std::int64_t count, unsigned seed) {
  const auto random = random_inputs(square(count, dim), seed);
  Text text{{random.k.begin(), random.k.end()}, {random.q.begin(), random.q.end()}, count};
  for (std::int64_t n = 0; n < count; ++n) {
    for (int c = 0; c < dim; ++c) {
      text.keys[static_cast<std::size_t>(n * dim + c)] *= 1 + static_cast<float>(c % 4);
      text.queries[static_cast<std::size_t>(n * dim + c)] *= c < 4 ? 3.f : 0.25f;
    }
  }
  return text;
}

std::vector<double> moment_of(const Text& text) {
  return second_moment(text.queries.data(), text.count, dim);
}

Codebook book_of(const FittedQuantizer& fitted, const QuantizerFit& fit) {
  Codebook book{.codes = fit.codes, .parts = fit.parts, .metric = "query", .rope = "post"};
  book.layers[0] = {1, dim, fitted.centroids, fitted.factor, fitted.count};
  return book;
}

FittedQuantizer fitted_on(const Text& text, const QuantizerFit& fit) {
  return fit_quantizer(text.keys.data(), text.count, dim, moment_of(text), fit);
}

/// Mean over queries and keys of (q . (k - c))^2.
double score_error(const Text& text, const FittedQuantizer& fitted, const QuantizerFit& fit) {
  const Codebook book = book_of(fitted, fit);
  const Quantizer quantizer(book, 0, 0, dim);
  const auto ids = quantizer.assign(text.keys.data(), text.count);
  double sum = 0;
  for (std::int64_t j = 0; j < text.count; ++j) {
    for (std::int64_t i = 0; i < text.count; ++i) {
      double dot = 0;
      for (std::int64_t c = 0; c < dim; ++c) {
        const std::int64_t id = ids[static_cast<std::size_t>(j * fit.parts + c / (dim / fit.parts))];
        const double off = static_cast<double>(text.keys[static_cast<std::size_t>(j * dim + c)]) -
                           static_cast<double>(fitted.centroids[static_cast<std::size_t>(id * dim + c)]);
        dot += static_cast<double>(text.queries[static_cast<std::size_t>(i * dim + c)]) * off;
      }
      sum += dot * dot;
    }
  }
  return sum / static_cast<double>(text.count * text.count);
}

}  // namespace

TEST_CASE("a code stands for the plain mean of its keys, in any metric") {
  const Text text = text_of(300, 3);
  for (const bool query_metric : {false, true}) {
    const QuantizerFit fit{.codes = 12, .query_metric = query_metric, .most_steps = 500};
    const FittedQuantizer fitted = fitted_on(text, fit);
    const Codebook book = book_of(fitted, fit);
    const auto ids = Quantizer(book, 0, 0, dim).assign(text.keys.data(), text.count);
    for (std::int64_t n = 0; n < fit.codes; ++n) {
      std::vector<double> sum(dim, 0);
      double keys = 0;
      for (std::int64_t j = 0; j < text.count; ++j) {
        if (ids[static_cast<std::size_t>(j)] != n) continue;
        ++keys;
        for (std::size_t c = 0; c < dim; ++c)
          sum[c] += static_cast<double>(text.keys[static_cast<std::size_t>(j * dim) + c]);
      }
      CHECK(keys == fitted.count[static_cast<std::size_t>(n)]);
      REQUIRE(keys > 0);
      for (std::size_t c = 0; c < dim; ++c)
        CHECK(static_cast<double>(fitted.centroids[static_cast<std::size_t>(n * dim) + c]) ==
              doctest::Approx(sum[c] / keys).epsilon(1e-4));
    }
  }
}

TEST_CASE("the factor is that of the second moment, by parts") {
  const Text text = text_of(200, 4);
  const std::vector<double> h = moment_of(text);
  for (const std::int64_t parts : {1, 4}) {
    const AlignedVector<float> factor = factor_of(h, dim, parts);
    const std::int64_t width = dim / parts;
    for (std::int64_t first = 0; first < dim; first += width) {
      double squares = 0;
      for (std::int64_t r = first; r < first + width; ++r)
        for (std::int64_t c = first; c < first + width; ++c)
          squares += h[static_cast<std::size_t>(r * dim + c)] * h[static_cast<std::size_t>(r * dim + c)];
      const double rms = std::sqrt(squares / static_cast<double>(width * width));
      for (std::int64_t r = 0; r < dim; ++r) {
        for (std::int64_t c = first; c < first + width; ++c) {
          double product = 0;
          for (std::int64_t l = 0; l < dim; ++l)
            product += static_cast<double>(factor[static_cast<std::size_t>(r * dim + l)]) *
                       static_cast<double>(factor[static_cast<std::size_t>(c * dim + l)]);
          const bool inside = r >= first && r < first + width;
          const double wanted =
              inside ? h[static_cast<std::size_t>(r * dim + c)] / rms + (r == c ? 1e-6 : 0) : 0;
          CHECK(product == doctest::Approx(wanted).epsilon(1e-4));
        }
      }
    }
  }
}

TEST_CASE("query-awareness lowers the error of scores, at the cost of the keys'") {
  const Text text = text_of(400, 5);
  const QuantizerFit aware{.codes = 16}, plain{.codes = 16, .query_metric = false};
  CHECK(score_error(text, fitted_on(text, aware), aware) <
        0.5 * score_error(text, fitted_on(text, plain), plain));
}

TEST_CASE("a vector added to all keys moves none to another code") {
  Text text = text_of(256, 6);
  const QuantizerFit fit{.codes = 16, .stride_start = true};
  const std::vector<double> moment = moment_of(text);
  const auto codes_of = [&] {
    const auto fitted = fit_quantizer(text.keys.data(), text.count, dim, moment, fit);
    const Codebook book = book_of(fitted, fit);
    return Quantizer(book, 0, 0, dim).assign(text.keys.data(), text.count);
  };
  const auto before = codes_of();
  for (std::size_t at = 0; at < text.keys.size(); ++at) text.keys[at] += static_cast<float>(at % dim) / 8 - 1;
  const auto after = codes_of();
  int moved = 0;
  for (std::size_t j = 0; j < before.size(); ++j) moved += before[j] != after[j];
  CHECK(moved <= 2);  // rounding may tip a tie
}

TEST_CASE(
    "as many codes as distinct keys stand for the keys themselves, and parts multiply what can be said") {
  Text text = text_of(64, 7);
  for (const bool stride : {false, true}) {
    const QuantizerFit fit{.codes = 64, .stride_start = stride};
    CHECK(score_error(text, fitted_on(text, fit), fit) < 1e-9);
  }
  const QuantizerFit one{.codes = 8}, four{.codes = 8, .parts = 4};
  CHECK(score_error(text, fitted_on(text, four), four) < score_error(text, fitted_on(text, one), one));
}

TEST_CASE("any number of threads fits the same bits") {
  const Text text = text_of(1500, 8);
  const QuantizerFit fit{.codes = 40};
  set_threads(1);
  const FittedQuantizer alone = fitted_on(text, fit);
  set_threads(3);
  const FittedQuantizer together = fitted_on(text, fit);
  set_threads(0);
  CHECK(alone.centroids == together.centroids);
  CHECK(alone.factor == together.factor);
  CHECK(alone.count == together.count);
}

TEST_CASE("of equally near codes the first is taken, and asking for nonsense is one line") {
  const Text text = text_of(32, 9);
  const QuantizerFit fit{.codes = 4};
  FittedQuantizer fitted = fitted_on(text, fit);
  std::copy_n(fitted.centroids.begin(), dim, fitted.centroids.begin() + 2 * dim);  // code 2 = code 0
  const Codebook book = book_of(fitted, fit);
  for (const auto id : Quantizer(book, 0, 0, dim).assign(text.keys.data(), text.count)) CHECK(id != 2);
  CHECK_THROWS_WITH_AS(Quantizer(book, 1, 0, dim), "the codebook has no layer 1", Error);
  CHECK_THROWS_AS(Quantizer(book, 0, 1, dim), Error);
  CHECK_THROWS_AS(Quantizer(book, 0, 0, 2 * dim), Error);
  CHECK_THROWS_AS(fitted_on(text, {.codes = 4, .parts = 3}), Error);
  CHECK_THROWS_AS(fitted_on(text, {.codes = 33}), Error);
}
