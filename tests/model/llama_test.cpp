#include "anchor/model/llama.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/model/tokenizer.hpp"
#include "model/golden.hpp"

using namespace anchor;

namespace {

// Both sides compute in float32 and round differently; the agreed bound on relative error.
constexpr double tolerance = 2e-3;

AttentionResult dense(const AttentionInputs& inputs) {
  return cpu_attention(inputs, dense_plan(inputs.geometry));
}

/// Largest error relative to the largest expected value.
void check_close(std::span<const float> got, std::span<const float> expected) {
  REQUIRE(got.size() == expected.size());
  double error = 0, scale = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error = std::max(error, std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    scale = std::max(scale, std::abs(static_cast<double>(expected[i])));
    if (!std::isfinite(got[i])) error = INFINITY;
  }
  CHECK(error <= tolerance * scale);
}

void check_golden(const std::string& model_path, const nlohmann::json& golden) {
  const GgufFile file(model_path);
  const LlamaModel model(file);
  const auto ids = golden["input_ids"].get<std::vector<int>>();
  std::vector<int> encoded = Tokenizer(file).encode(golden["text"].get<std::string>()).ids;
  encoded.resize(std::min(encoded.size(), ids.size()));
  REQUIRE(encoded == ids);

  std::optional<RopeScaling> scaling;
  if (golden["rope_scaling"].is_string())
    scaling = parse_rope_scaling(golden["rope_scaling"].get<std::string>());
  const auto positions = golden["positions"].get<std::vector<std::int64_t>>();
  std::size_t seen = 0;
  LlamaModel::Hooks hooks{dense, {}, {}};
  hooks.on_layer = [&](int layer, const AttentionInputs& in, const AttentionResult& result) {
    for (const auto& entry : golden["layers"]) {
      if (entry["layer"] != layer) continue;
      for (const auto& slice : entry["slices"]) {
        const std::map<std::string, const float*> tensors{
            {"q", in.q}, {"k", in.k}, {"v", in.v}, {"out", result.out.data()}};
        const Geometry& g = in.geometry;
        const std::string tensor = slice["tensor"];
        const float* head = tensors.at(tensor) + slice["head"].get<std::int64_t>() * g.q_len * g.head_dim;
        std::vector<float> got;
        for (const std::int64_t p : positions)
          got.insert(got.end(), head + p * g.head_dim, head + (p + 1) * g.head_dim);
        CAPTURE(layer);
        CAPTURE(tensor);
        check_close(got, slice["values"].get<std::vector<float>>());
        ++seen;
      }
    }
  };
  const Rope rope = model.rope(scaling, static_cast<std::int64_t>(ids.size()));
  const AlignedVector<float> hidden = model.forward(ids, rope, hooks);
  CHECK(seen == 3 * 4 * 2);
  CHECK(model.mean_nll(ids, hidden) == doctest::Approx(golden["mean_nll"].get<double>()).epsilon(1e-4));

  const std::vector<float> logits =
      model.logits(std::span(hidden).last(static_cast<std::size_t>(model.config().hidden_size)));
  std::vector<float> kept;
  for (std::size_t i = 0; i < logits.size(); i += golden["last_logits"]["step"].get<std::size_t>())
    kept.push_back(logits[i]);
  check_close(kept, golden["last_logits"]["values"].get<std::vector<float>>());
}

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

TEST_CASE("SmolLM2 computes what transformers computes") {
  if (smollm2_path().empty()) {
    MESSAGE("skipped: no model; ./dev test fetches it, or set ANCHOR_MODEL");
    return;
  }
  check_golden(smollm2_path(), read_golden("smollm2.json"));

  const GgufFile file(smollm2_path());
  const Tokenizer tokenizer(file);
  const auto golden = read_golden("tokenizer.json");
  for (std::size_t i = 0; i < golden["texts"].size(); ++i) {
    CAPTURE(i);
    CHECK(tokenizer.encode(from_hex(golden["texts"][i])).ids ==
          golden["ids"]["smollm2"][i].get<std::vector<int>>());
  }
}

TEST_CASE("a text's beginning does not depend on its end, nor anything on the thread count") {
  const GgufFile file(golden_path("tiny_llama.gguf"));
  const LlamaModel model(file);
  const auto run = [&](std::size_t count, int thread_count) {
    set_threads(thread_count);
    const std::vector<int> tokens = some_tokens(count);
    AlignedVector<float> hidden =
        model.forward(tokens, model.rope(std::nullopt, static_cast<std::int64_t>(count)), {dense, {}, {}});
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
  const LlamaModel model(file);
  const std::vector<int> tokens = some_tokens(40);
  const AlignedVector<float> hidden = model.forward(tokens, model.rope(std::nullopt, 40), {dense, {}, {}});
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
  const LlamaModel model(file);
  const std::vector<int> tokens{1, 5000};
  CHECK_THROWS_WITH_AS(model.forward(tokens, model.rope(std::nullopt, 2), {dense, {}, {}}),
                       doctest::Contains("token 5000 at position 1"), Error);
}
