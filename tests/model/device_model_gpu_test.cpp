#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "anchor/base/error.hpp"
#include "anchor/model/dense_attention.hpp"
#include "anchor/model/device_model.hpp"
#include "anchor/model/gguf.hpp"
#include "model/random_gguf.hpp"

using namespace anchor;
using namespace anchor::random_gguf;

namespace {

double relative_l2(std::span<const float> got, std::span<const float> expected) {
  double difference = 0, whole = 0;
  for (std::size_t n = 0; n < got.size(); ++n) {
    difference += std::pow(static_cast<double>(got[n]) - static_cast<double>(expected[n]), 2);
    whole += std::pow(static_cast<double>(expected[n]), 2);
  }
  return std::sqrt(difference / whole);
}

}  // namespace

TEST_CASE("the forward pass on the device is the CPU's within bf16 rounding, dense and sparse") {
  Variant variant;
  SUBCASE("Llama") { variant = {.name = "llama"}; }
  SUBCASE("biases") { variant = {.name = "qwen2", .biases = true}; }
  SUBCASE("norms of heads") { variant = {.name = "qwen3", .head_norms = true}; }
  SUBCASE("windows, post norms, GELU, two bases") {
    variant = {.name = "gemma3", .head_norms = true, .post_norms = true, .window = 100, .layers = 6};
  }
  SUBCASE("layers without rotation") { variant = {.name = "smollm3", .layers = 4}; }
  CAPTURE(variant.name);
  const GgufFile file(write_model(variant));
  const LanguageModel model(file);
  std::vector<int> tokens(700);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int>((i * i + 3 * i) % vocab);
  const Ropes rope = model.ropes(std::nullopt, 700);
  const auto device = make_cuda_model(model, 0);
  const Method& anchor = find_method("anchor");
  Params params = default_params(anchor);
  set_param(anchor, params, "step", "1");
  set_param(anchor, params, "theta", "2");

  for (const bool sparse : {false, true}) {
    CAPTURE(sparse);
    MethodAttention here(anchor, params, {}), there(anchor, params, {});
    std::vector<std::vector<float>> q, k, v, out;
    const auto copy = [](const float* from, std::int64_t count) {
      return std::vector<float>(from, from + count);
    };
    const auto keep = [&](auto& into_q, auto& into_k, auto& into_v, auto& into_out) {
      return [&](int, const AttentionInputs& in, const AttentionResult& result) {
        into_q.push_back(copy(in.q, q_heads * 700 * dim));
        into_k.push_back(copy(in.k, kv_heads * 700 * dim));
        into_v.push_back(copy(in.v, kv_heads * 700 * dim));
        into_out.push_back(result.out);
      };
    };
    const AttentionFn attention = [&](int layer, const AttentionInputs& in) {
      return sparse ? here.attend(layer, in) : dense_attention(in);
    };
    const AlignedVector<float> final = model.forward(tokens, rope, {attention, keep(q, k, v, out), {}});
    std::vector<std::vector<float>> dq, dk, dv, dout;
    const std::vector<double> nll = device->forward(
        tokens, rope,
        {sparse ? &there : nullptr, [](int) { return true; }, true, keep(dq, dk, dv, dout), {}});
    REQUIRE(dq.size() == variant.layers);
    for (std::size_t layer = 0; layer < variant.layers; ++layer) {
      // Each product rounds its inputs to 2^-9 of them; errors of several layers add up.
      const double bound = 0.01 * static_cast<double>(layer + 1);
      CHECK(relative_l2(dq[layer], q[layer]) < bound);
      CHECK(relative_l2(dk[layer], k[layer]) < bound);
      CHECK(relative_l2(dv[layer], v[layer]) < bound);
      CHECK(relative_l2(dout[layer], out[layer]) < (sparse ? 5 : 1) * bound);  // a stripe more or less
    }
    REQUIRE(nll.size() == 699);
    double mean = 0;
    for (const double one : nll) mean += one / 699;
    CHECK(std::abs(mean - model.mean_nll(tokens, final)) < 0.04);
    if (sparse) CHECK(there.stats().density() == doctest::Approx(here.stats().density()).epsilon(0.01));
  }
}
