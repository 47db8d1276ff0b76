#include "anchor/model/rope.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"

using namespace anchor;

namespace {

ModelConfig small_config() {
  ModelConfig config;
  config.head_dim = 64;
  config.context_length = 2048;
  config.rope_theta = 10000;
  return config;
}

}  // namespace

TEST_CASE("scaling requests are parsed strictly") {
  CHECK(parse_rope_scaling("yarn:4").kind == RopeScaling::Kind::yarn);
  CHECK(parse_rope_scaling("linear:1.5").factor == 1.5);
  for (const char* text : {"", "linear", "linear:", "linear:0.5", "linear:-2", "linear:inf", "linear:nan",
                           "linear:2x", "ntk:2", ":2"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_rope_scaling(text), Error);
  }
}

TEST_CASE("a text beyond the context is refused with the limit, unless scaling makes room") {
  const ModelConfig config = small_config();
  CHECK_NOTHROW(make_rope(config, std::nullopt, 2048));
  CHECK_THROWS_WITH_AS(make_rope(config, std::nullopt, 2049), doctest::Contains("context of 2048"), Error);
  CHECK_NOTHROW(make_rope(config, parse_rope_scaling("linear:2"), 4096));
  CHECK_THROWS_WITH_AS(make_rope(config, parse_rope_scaling("linear:2"), 4097),
                       doctest::Contains("context of 4096"), Error);
  CHECK_THROWS_AS(make_rope(config, parse_rope_scaling("yarn:2"), 4097), Error);
  CHECK_NOTHROW(make_rope(config, parse_rope_scaling("dynamic:1"), 100000));
}

TEST_CASE("every scaling by 1 within the context changes nothing") {
  const ModelConfig config = small_config();
  const Rope plain = make_rope(config, std::nullopt, 100);
  CHECK(plain.inv_freq[0] == 1);
  for (const char* text : {"linear:1", "dynamic:1", "yarn:1", "dynamic:4"}) {
    CAPTURE(text);
    const Rope scaled = make_rope(config, parse_rope_scaling(text), 100);
    CHECK(scaled.inv_freq == plain.inv_freq);
    CHECK(scaled.attention_factor == 1);
  }
}

TEST_CASE("yarn keeps the fast pairs, divides the slow ones, and warms the softmax") {
  const ModelConfig config = small_config();
  const Rope plain = make_rope(config, std::nullopt, 1),
             yarn = make_rope(config, parse_rope_scaling("yarn:4"), 1);
  CHECK(yarn.inv_freq.front() == plain.inv_freq.front());
  CHECK(yarn.inv_freq.back() == doctest::Approx(plain.inv_freq.back() / 4));
  CHECK(yarn.attention_factor == doctest::Approx(0.1 * std::log(4.0) + 1));
  for (std::size_t i = 1; i < yarn.inv_freq.size(); ++i) CHECK(yarn.inv_freq[i] < yarn.inv_freq[i - 1]);
}

TEST_CASE("divisors act on the frequencies") {
  const ModelConfig config = small_config();
  const Rope plain = make_rope(config, std::nullopt, 1),
             divided = make_rope(config, std::nullopt, 1, std::vector<float>(32, 8.0f));
  for (std::size_t i = 0; i < 32; ++i) CHECK(divided.inv_freq[i] == doctest::Approx(plain.inv_freq[i] / 8));
}
