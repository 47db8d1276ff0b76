#include "anchor/model/language_model.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "model/check_golden.hpp"

using namespace anchor;

namespace {

std::vector<int> some_tokens(std::size_t count) {
  std::vector<int> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = static_cast<int>((i * i + 3 * i) % 290);
  return tokens;
}

}  // namespace

TEST_CASE("the tiny model computes what transformers computes") {
  for (const char* name :
       {"tiny_llama.json", "tiny_llama_linear.json", "tiny_llama_dynamic.json", "tiny_llama_yarn.json"}) {
    CAPTURE(name);
    check_golden(golden_path("tiny_llama.gguf"), read_golden(name));
  }
}

TEST_CASE("a text's beginning does not depend on its end, nor anything on the thread count") {
  const GgufFile file(golden_path("tiny_llama.gguf"));
  const LanguageModel model(file);
  const auto run = [&](std::size_t count, int thread_count) {
    set_threads(thread_count);
    const std::vector<int> tokens = some_tokens(count);
    AlignedVector<float> hidden =
        model.forward(tokens, model.ropes(std::nullopt, static_cast<std::int64_t>(count)), {dense, {}, {}});
    set_threads(0);
    return hidden;
  };
  const AlignedVector<float> full = run(300, 0);
  CHECK(full == run(300, 1));
  CHECK(full == run(300, 3));
  for (const std::size_t count : {1, 2, 127, 128, 129, 255, 256, 257}) {
    CAPTURE(count);
    const AlignedVector<float> part = run(count, 0);
    REQUIRE(part.size() == count * 64);
    check_close(part, std::span(full).first(part.size()));
  }
}

TEST_CASE("likelihoods agree with the logits") {
  const GgufFile file(golden_path("tiny_llama.gguf"));
  const LanguageModel model(file);
  const std::vector<int> tokens = some_tokens(40);
  const AlignedVector<float> hidden = model.forward(tokens, model.ropes(std::nullopt, 40), {dense, {}, {}});
  double total = 0;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    const std::vector<float> logits = model.logits(std::span(hidden).subspan(i * 64, 64));
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    total += std::log(sum) - static_cast<double>(logits[tokens[i + 1]]);
  }
  CHECK(model.mean_nll(tokens, hidden) == doctest::Approx(total / 39).epsilon(1e-5));
  CHECK(std::isnan(model.mean_nll(std::span(tokens).first(1), hidden)));
}

TEST_CASE("tokens outside the vocabulary are refused") {
  const GgufFile file(golden_path("tiny_llama.gguf"));
  const LanguageModel model(file);
  const std::vector<int> tokens{1, 5000};
  CHECK_THROWS_WITH_AS(model.forward(tokens, model.ropes(std::nullopt, 2), {dense, {}, {}}),
                       doctest::Contains("token 5000 at position 1"), Error);
}
