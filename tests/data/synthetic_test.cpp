#include "anchor/data/synthetic.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/data/checksum.hpp"
#include "anchor/data/dump_reader.hpp"

using namespace anchor;

namespace {

SyntheticSpec small(const std::string& pattern, int dim = 64) {
  SyntheticSpec spec;
  spec.q_heads = 4;
  spec.kv_heads = 2;
  spec.head_dim = dim;
  spec.kv_len = 1024;
  spec.dtype = DType::f32;
  spec.pattern = pattern;
  return spec;
}

// Scaled scores of one head, from the stored tensors as any reader would compute them.
struct Scores {
  Scores(const KvGroup& group, int head) : g(group.geometry) {
    const auto q = group.q.to_float(), k = group.k.to_float();
    values.resize(static_cast<std::size_t>(g.q_len * g.kv_len));
    for (std::int64_t i = 0; i < g.q_len; ++i) {
      for (std::int64_t j = 0; j < g.visible(i); ++j) {
        double dot = 0;
        for (int c = 0; c < g.head_dim; ++c) {
          dot += static_cast<double>(q[(head * g.q_len + i) * g.head_dim + c]) * k[j * g.head_dim + c];
        }
        values[i * g.kv_len + j] = g.softmax_scale * dot;
      }
    }
  }
  // Mean score over the causal pairs that `planted(position, j)` picks, and their mean mass over the last
  // half of the rows.
  template <class Planted>
  std::pair<double, double> over(Planted planted) const {
    double sum = 0, count = 0, mass = 0;
    for (std::int64_t i = 0; i < g.q_len; ++i) {
      double all = 0, picked = 0;
      for (std::int64_t j = 0; j < g.visible(i); ++j) {
        const double s = values[i * g.kv_len + j];
        all += std::exp(s);
        if (!planted(g.q_start + i, j)) continue;
        picked += std::exp(s);
        sum += s;
        count += 1;
      }
      if (i >= g.q_len / 2) mass += picked / all / static_cast<double>(g.q_len - g.q_len / 2);
    }
    return {sum / count, mass};
  }
  Geometry g;
  std::vector<double> values;
};

bool among(const std::vector<std::int64_t>& sorted, std::int64_t x) {
  return std::binary_search(sorted.begin(), sorted.end(), x);
}

std::uint64_t hash(const KvGroup& group) {
  Checksum checksum;
  for (const Tensor* tensor : {&group.q, &group.k, &group.v}) checksum.add(tensor->bytes);
  return checksum.value();
}

}  // namespace

// A mean of m scores with noise of variance s^2 lies within 5 s / sqrt(m) of its expectation. Rows share key
// vectors, so m counts rows or keys, whichever are fewer.
TEST_CASE("planted keys score what the truth says") {
  for (const int dim : {64, 80, 128}) {
    for (const char* pattern : {"sink", "stripes:32", "stripes:@5/77/900:6", "slash:1:9", "slash:@100:7",
                                "local:64", "sink:2:5+stripes:16:4", "diffuse"}) {
      CAPTURE(pattern);
      CAPTURE(dim);
      const Synthetic synthetic(small(pattern, dim));
      for (const int head : {0, 3}) {
        const SyntheticTruth truth = synthetic.truth(0, head);
        const Scores scores(synthetic.group(0, head / 2), head % 2);
        const auto mean = [&](auto planted) { return scores.over(planted).first; };
        const double noise =
            1.5 + truth.pattern.local.weight.strength / 4 + truth.pattern.slash.weight.strength / 4;
        const auto close = [&](double value, double expected, double samples) {
          CHECK(std::abs(value - expected) < 5 * noise / std::sqrt(samples));
        };
        const auto& p = truth.pattern;
        const auto background = [&](std::int64_t i, std::int64_t j) {
          return j >= p.sink.tokens && !among(truth.columns, j) && !among(truth.offsets, i - j) &&
                 i - j >= p.local.width;
        };
        close(mean(background), 0, 500);
        if (p.sink.tokens) {
          close(mean([&](std::int64_t, std::int64_t j) {
                  return j < p.sink.tokens && !among(truth.columns, j);
                }),
                p.sink.weight.strength, 1024);
        }
        if (!truth.columns.empty()) {
          close(mean([&](std::int64_t, std::int64_t j) {
                  return among(truth.columns, j) && j >= p.sink.tokens;
                }),
                p.stripes.weight.strength, 500);
        }
        if (!truth.offsets.empty()) {
          close(mean([&](std::int64_t i, std::int64_t j) { return among(truth.offsets, i - j); }),
                p.slash.weight.strength, 500);
        }
        if (p.local.width) {
          close(mean([&](std::int64_t i, std::int64_t j) { return i == j; }), p.local.weight.strength, 1024);
        }
      }
    }
  }
}

TEST_CASE(
    "without a given strength the planted keys hold about 90 % of the mass, with a share about that share") {
  const auto mass = [](const std::string& pattern, auto planted) {
    const Synthetic synthetic(small(pattern, 128));
    const SyntheticTruth truth = synthetic.truth(0, 1);
    return Scores(synthetic.group(0, 0), 1)
        .over([&](std::int64_t i, std::int64_t j) { return planted(truth, i, j); })
        .second;
  };
  const auto sink = [](const SyntheticTruth& t, std::int64_t, std::int64_t j) {
    return j < t.pattern.sink.tokens;
  };
  const auto stripes = [](const SyntheticTruth& t, std::int64_t, std::int64_t j) {
    return among(t.columns, j);
  };
  const auto local = [](const SyntheticTruth& t, std::int64_t i, std::int64_t j) {
    return i - j < t.pattern.local.width;
  };
  const auto slash = [](const SyntheticTruth& t, std::int64_t i, std::int64_t j) {
    return among(t.offsets, i - j);
  };
  CHECK(mass("sink", sink) == doctest::Approx(0.92).epsilon(0.05));
  CHECK(mass("stripes", stripes) == doctest::Approx(0.9).epsilon(0.03));
  CHECK(mass("stripes:16:50%", stripes) == doctest::Approx(0.5).epsilon(0.1));
  CHECK(mass("local:64", local) > 0.85);
  CHECK(mass("slash", slash) >
        0.75);  // position vectors overlap a little: some rows lose more than the average
  CHECK(mass("diffuse", [](const SyntheticTruth&, std::int64_t i, std::int64_t j) { return i - j < 100; }) <
        0.2);
}

TEST_CASE("equal specs give equal bits, whatever the number of threads; this hash holds on every machine") {
  SyntheticSpec spec = small("mixed");
  spec.dtype = DType::bf16;
  const std::uint64_t all_cores = hash(Synthetic(spec).group(3, 1));
  CHECK(all_cores == 9032560358739540828u);
  set_threads(1);
  CHECK(hash(Synthetic(spec).group(3, 1)) == all_cores);
  set_threads(0);
  CHECK(hash(Synthetic(spec).group(3, 0)) != all_cores);
  CHECK(hash(Synthetic(spec).group(2, 1)) != all_cores);
  spec.seed = 2;
  CHECK(hash(Synthetic(spec).group(3, 1)) != all_cores);
}

TEST_CASE("fewer query rows are the last rows of all") {
  SyntheticSpec spec = small("sink+local+slash");
  const KvGroup whole = Synthetic(spec).group(0, 1);
  spec.q_len = 100;
  const KvGroup part = Synthetic(spec).group(0, 1);
  CHECK(part.geometry.q_start == 924);
  CHECK(part.k.bytes == whole.k.bytes);
  const auto all = whole.q.to_float(), last = part.q.to_float();
  CHECK(std::equal(last.end() - 100 * 64, last.end(), all.end() - 100 * 64));
}

TEST_CASE("any shape from one token and one dimension on is made, and is finite") {
  for (const int dim : {1, 3, 16, 64, 256}) {
    for (const std::int64_t tokens : {1, 2, 127, 300}) {
      SyntheticSpec spec = small(dim < 64 ? "diffuse" : "mixed", dim);
      spec.q_heads = 9;
      spec.kv_heads = 1;
      spec.kv_len = tokens;
      for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
        spec.dtype = dtype;
        CHECK(first_non_finite(Synthetic(spec).group(0, 0)).empty());
      }
    }
  }
}

TEST_CASE("heads follow the patterns in proportion to the weights, equal ones in turn") {
  const PatternMix mix = parse_pattern("mixed");
  std::map<std::string, int> count;
  for (int i = 0; i < 270; ++i) ++count[mix.of(i).text];
  REQUIRE(mix.patterns.size() == 4);
  for (int p = 0; p < 4; ++p) {
    CHECK(std::abs(count[mix.patterns[p].text] - mix.weights[p] * 2.7) <= 1);
  }
  const PatternMix turns = parse_pattern("sink,local,diffuse");
  for (int i = 0; i < 9; ++i) CHECK(turns.of(i).text == turns.patterns[i % 3].text);
}

TEST_CASE("patterns that make no sense are usage errors") {
  for (const char* pattern :
       {"", "stripe", "sink:0", "sink:1.5", "local:1", "stripes:-3", "stripes:8:x", "sink:1:2:3", "sink*0",
        "sink,", "sink++local", "stripes:4,stripes:8", "sink:4:100%", "slash:@0", "diffuse:3",
        "stripes:@1024", "stripes:2k", "slash:64:90%"}) {
    CAPTURE(pattern);
    try {
      Synthetic{small(pattern)};
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
    }
  }
}
