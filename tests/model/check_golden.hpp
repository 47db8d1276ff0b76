#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/model/gguf.hpp"
#include "anchor/model/language_model.hpp"
#include "anchor/model/tokenizer.hpp"
#include "model/golden.hpp"

namespace anchor {

// Both sides compute in float32 and round differently; the agreed bound on relative error.
inline constexpr double tolerance = 2e-3;

inline AttentionResult dense(int, const AttentionInputs& inputs) {
  return cpu_attention(inputs, dense_plan(inputs.geometry));
}

/// Largest error relative to the largest expected value.
inline void check_close(std::span<const float> got, std::span<const float> expected) {
  REQUIRE(got.size() == expected.size());
  double error = 0, scale = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error = std::max(error, std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    scale = std::max(scale, std::abs(static_cast<double>(expected[i])));
    if (!std::isfinite(got[i])) error = INFINITY;
  }
  CHECK(error <= tolerance * scale);
}

/// Runs the model over a golden file's text and compares everything that the file keeps.
inline void check_golden(const std::string& model_path, const nlohmann::json& golden) {
  const GgufFile file(model_path);
  const LanguageModel model(file);
  const auto ids = golden["input_ids"].get<std::vector<int>>();
  std::vector<int> encoded = Tokenizer(file).encode(golden["text"].get<std::string>()).ids;
  encoded.resize(std::min(encoded.size(), ids.size()));
  REQUIRE(encoded == ids);

  std::optional<RopeScaling> scaling;
  if (golden["rope_scaling"].is_string())
    scaling = parse_rope_scaling(golden["rope_scaling"].get<std::string>());
  const auto positions = golden["positions"].get<std::vector<std::int64_t>>();
  std::size_t seen = 0;
  LanguageModel::Hooks hooks{dense, {}, {}};
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
  const Ropes rope = model.ropes(scaling, static_cast<std::int64_t>(ids.size()));
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

}  // namespace anchor
