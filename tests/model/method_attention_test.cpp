#include "anchor/model/method_attention.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/model/language_model.hpp"
#include "model/check_golden.hpp"
#include "support/close.hpp"
#include "support/random.hpp"

using namespace anchor;

namespace {

Params params_of(const char* name, std::initializer_list<std::pair<const char*, const char*>> values) {
  const Method& method = find_method(name);
  Params params = default_params(method);
  for (const auto& [key, value] : values) set_param(method, params, key, value);
  return params;
}

}  // namespace

TEST_CASE("a layer's attention is the plan's, whole or in ranges of rows, and its pairs are counted") {
  const auto random = test::random_inputs(test::square(700, 32, 4, 2), 5, 2);
  for (const auto& [name, params] :
       {std::pair{"anchor", params_of("anchor", {{"block", "16"}, {"step", "2"}, {"theta", "2"}})},
        std::pair{"topk", params_of("topk", {{"k", "40"}})}}) {
    CAPTURE(name);
    const Method& method = find_method(name);
    MethodAttention attention(method, params, {});
    const AttentionResult got = attention.attend(3, random.view());
    const SparsePlan plan = method.plan_cpu(random.view(), {params, {}});
    const AttentionResult expected = cpu_attention(random.view(), plan);
    test::check_close(got.out, expected.out, 1e-6);
    test::check_close(got.lse, expected.lse, 1e-6);
    PlanStats stats;
    for (int head = 0; head < 4; ++head) stats += plan_stats(plan, head);
    CHECK(attention.stats().visible_pairs == stats.visible_pairs);
    CHECK(attention.stats().causal_pairs == stats.causal_pairs);
  }
}

TEST_CASE(
    "in a forward pass a full plan changes nothing, and the sparser the plan the worse the likelihood") {
  const GgufFile file(golden_path("tiny_llama.gguf"));
  const LanguageModel model(file);
  std::vector<int> tokens(200);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int>((i * i + 3 * i) % 290);
  const Ropes rope = model.ropes(std::nullopt, 200);
  const auto nll = [&](AttentionFn attention) {
    const AlignedVector<float> hidden = model.forward(tokens, rope, {std::move(attention), {}, {}});
    return model.mean_nll(tokens, hidden);
  };
  const double full = nll(dense);
  const auto with = [&](const char* theta, MethodAttention::ChooseHeads choose) {
    MethodAttention attention(find_method("anchor"),
                              params_of("anchor", {{"block", "16"}, {"step", "1"}, {"theta", theta}}),
                              std::move(choose));
    const double found =
        nll([&](int layer, const AttentionInputs& in) { return attention.attend(layer, in); });
    return std::pair(found, attention.stats().density());
  };
  const auto everything = with("inf", {});
  CHECK(everything.first == doctest::Approx(full).epsilon(1e-5));
  CHECK(everything.second == 1);
  const auto region = with("-inf", {});
  CHECK(region.second < 0.5);
  CHECK(std::abs(region.first - full) > 1e-4);
  const auto by_head =
      with("0", [](PlanRequest& made) { made.knobs.assign(4, made.layer == 1 ? -INFINITY : INFINITY); });
  CHECK(by_head.second == doctest::Approx((2 + region.second) / 3).epsilon(1e-9));
}
