#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "anchor/model/device_model.hpp"
#include "anchor/model/gguf.hpp"
#include "model/random_gguf.hpp"

using namespace anchor;
using namespace anchor::random_gguf;

namespace {

using Settings = std::vector<std::pair<const char*, const char*>>;

constexpr std::int64_t tokens = 900, prompt = 850;

/// A text, and the rows of its answer and of one token before.
struct Reader {
  explicit Reader(const Variant& variant) : file(write_model(variant)), model(file) {
    for (std::int64_t i = 0; i < tokens; ++i) ids.push_back(static_cast<int>((i * i + 3 * i) % vocab));
    for (std::int64_t row = prompt - 1; row < tokens - 1; ++row) rows.push_back(row);
    rows.push_back(400);
    for (std::int64_t key = 0; key < prompt; key += 7) evidence.push_back(key);
  }

  TextResult read(ModelRunner& runner, const char* name, const Settings& settings, double* density = nullptr,
                  std::int64_t planned = prompt, std::set<int> whole = {}) const {
    std::optional<MethodAttention> attention;
    if (name) {
      const Method& method = find_method(name);
      Params params = default_params(method);
      for (const auto& [key, value] : settings) set_param(method, params, key, value);
      attention.emplace(method, params, MethodAttention::ChooseHeads());
    }
    const Ropes ropes = model.ropes(std::nullopt, tokens);
    TextResult result = runner.run({.tokens = ids,
                                    .ropes = &ropes,
                                    .attention = attention ? &*attention : nullptr,
                                    .prompt = planned,
                                    .whole_layers = std::move(whole),
                                    .of = rows,
                                    .evidence = evidence,
                                    .evidence_row = prompt - 1});
    if (density && attention) *density = attention->stats().density();
    return result;
  }

  GgufFile file;
  LanguageModel model;
  std::vector<int> ids;
  std::vector<std::int64_t> rows, evidence;
};

/// Mean KL(a || b) over rows of logits, nats.
double divergence(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  const auto norm = [](const float* row) {
    double sum = 0;
    for (int i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(row[i]));
    return std::log(sum);
  };
  double total = 0;
  for (std::size_t at = 0; at < a.size(); at += vocab) {
    const double na = norm(&a[at]), nb = norm(&b[at]);
    for (std::size_t i = at; i < at + vocab; ++i) {
      const double log_p = static_cast<double>(a[i]) - na;
      total += std::exp(log_p) * (log_p - (static_cast<double>(b[i]) - nb));
    }
  }
  return total / (static_cast<double>(a.size()) / vocab);
}

const Settings few{{"sink", "64"}, {"local", "256"}}, all{{"sink", "64"}, {"local", "100000"}};

}  // namespace

TEST_CASE("a text gives the CPU's logits on the device within bf16 rounding, and the same counts") {
  Variant variant;
  SUBCASE("Llama") { variant = {.name = "llama"}; }
  SUBCASE("experts") { variant = {.name = "qwen3moe", .head_norms = true, .experts = 4}; }
  SUBCASE("windows in some layers") {
    variant = {.name = "gemma3", .head_norms = true, .post_norms = true, .window = 100, .layers = 6};
  }
  CAPTURE(variant.name);
  const Reader reader(variant);
  const auto here = make_cpu_runner(reader.model);
  const auto there = make_cuda_model(reader.model, 0);
  for (const char* method : {static_cast<const char*>(nullptr), "streaming"}) {
    for (const std::int64_t planned : {prompt, tokens}) {
      CAPTURE(planned);
      double density = 0, device_density = 0;
      const TextResult expected = reader.read(*here, method, few, &density, planned);
      const TextResult got = reader.read(*there, method, few, &device_density, planned);
      CHECK(divergence(expected.logits, got.logits) < 0.01);
      CHECK(got.planned_layers == expected.planned_layers);
      CHECK(density == device_density);
      CHECK(got.evidence_kept == expected.evidence_kept);
      CHECK(!expected.attention_ms);
      REQUIRE(got.attention_ms);
      CHECK(*got.attention_ms > 0);
      const auto keys = static_cast<int>(reader.evidence.size());
      const bool drops = std::ranges::any_of(got.evidence_kept, [&](const std::vector<int>& layer) {
        return std::ranges::any_of(layer, [&](int kept) { return kept < keys; });
      });
      CHECK(drops == (method != nullptr));
    }
  }
}

TEST_CASE("on the device, a full plan of blocks is dense attention, and one of columns is nearly") {
  const Reader reader({.name = "llama"});
  const auto runner = make_cuda_model(reader.model, 0);
  for (const std::int64_t planned : {prompt, tokens}) {
    const std::vector<float> dense = reader.read(*runner, nullptr, {}, nullptr, planned).logits;
    double density = 0;
    CHECK(reader.read(*runner, "dense", {}, &density, planned).logits == dense);
    CHECK(density == 1);
    CHECK(divergence(dense, reader.read(*runner, "streaming", all, &density, planned).logits) < 1e-6);
    CHECK(density == 1);
    // Columns are gathered: sums in another order, rounded elsewhere.
    CHECK(divergence(dense, reader.read(*runner, "anchor", {{"theta", "inf"}}, &density, planned).logits) <
          1e-3);
    CHECK(density == 1);
  }
  const std::vector<float> dense = reader.read(*runner, nullptr, {}).logits;
  CHECK(reader.read(*runner, "streaming", few, nullptr, prompt, {0, 1, 2}).logits == dense);
  CHECK(divergence(dense, reader.read(*runner, "streaming", few).logits) > 0);
}

TEST_CASE("weights that come layer by layer give the bits of weights that stay") {
  for (const std::uint32_t layers : {3u, 4u}) {  // the slots of a text's first layer: the other, the same
    CAPTURE(layers);
    const Reader reader({.name = "qwen3moe", .head_norms = true, .layers = layers, .experts = layers});
    const auto resident = make_cuda_model(reader.model, 0, WeightMemory::resident);
    const auto streamed = make_cuda_model(reader.model, 0, WeightMemory::streamed);
    for (int time = 0; time < 3; ++time) {
      CAPTURE(time);
      CHECK(reader.read(*streamed, "streaming", few).logits ==
            reader.read(*resident, "streaming", few).logits);
    }
  }
}
