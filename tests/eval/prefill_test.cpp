#include "anchor/eval/prefill.hpp"

#include <doctest/doctest.h>

#include "anchor/eval/make_tasks.hpp"
#include "anchor/model/gguf.hpp"
#include "model/golden.hpp"

using namespace anchor;

namespace {

/// Tasks are longer than the tiny model's context.
const RopeScaling longer = parse_rope_scaling("linear:4");

struct Tiny {
  GgufFile file{golden_path("tiny_llama.gguf")};
  LanguageModel model{file};
  Tokenizer tokenizer{file};
  std::unique_ptr<ModelRunner> runner = make_cpu_runner(model);
};

Task task_of(const Tiny& tiny, const char* kind) {
  const CountTokens count = [&](std::string_view text) {
    return static_cast<std::int64_t>(tiny.tokenizer.encode(text).ids.size());
  };
  Task made;
  make_tasks({.kinds = {kind}, .lengths = {1200}, .count = 1}, count, [&](const Task& task) { made = task; });
  return made;
}

Reading read(const Tiny& tiny, const Question& question, const char* method,
             const std::vector<std::pair<const char*, const char*>>& settings, PrefillOptions options = {}) {
  options.rope_scaling = longer;
  const Method& found = find_method(method);
  Params params = default_params(found);
  for (const auto& [name, value] : settings) set_param(found, params, name, value);
  MethodAttention attention(found, params, {});
  return read_sparse(*tiny.runner, question, attention, options);
}

/// A first key, and the nearest ones.
const std::vector<std::pair<const char*, const char*>> few{{"sink", "1"}, {"local", "128"}};

double divergence(const Reading& ours, const Reading& dense, const Question& question) {
  std::vector<int> tokens(question.ids.begin() + question.prompt, question.ids.end());
  double sum = 0;
  for (const double one : score_answer(ours.answer, dense.answer, tokens).divergence) sum += one;
  return sum / static_cast<double>(tokens.size());
}

}  // namespace

TEST_CASE("a question's tokens are the text's, and its positions where the task says") {
  const Tiny tiny;
  for (const char* kind : {"needle_middle", "key_value"}) {
    const Task task = task_of(tiny, kind);
    const Question question = make_question(tiny.tokenizer, task);
    CHECK(question.ids == tiny.tokenizer.encode(task.prompt + task.answer).ids);
    const std::vector<std::string> texts = tiny.tokenizer.token_texts();
    const auto text_at = [&](const std::vector<std::int64_t>& positions) {
      std::string text;
      for (const std::int64_t p : positions)
        text += texts[static_cast<std::size_t>(question.ids[static_cast<std::size_t>(p)])];
      return text;
    };
    CHECK(text_at(question.answer) == task.answer);
    std::string evidence;
    for (const auto& [begin, end] : task.evidence)
      evidence += task.prompt.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    CHECK(text_at(question.evidence).find(task.parts().front()) != std::string::npos);
    CHECK(text_at(question.evidence).size() >= evidence.size());
    CHECK(question.inner.empty() == task.inner.empty());
  }
}

TEST_CASE("a full plan changes nothing, a poor one does") {
  const Tiny tiny;
  const Question question = make_question(tiny.tokenizer, task_of(tiny, "needle"));
  const Reading dense = read_dense(*tiny.runner, question, {.rope_scaling = longer});
  for (const bool dense_decode : {true, false}) {
    const Reading full = read(tiny, question, "anchor", {{"theta", "inf"}}, {.dense_decode = dense_decode});
    CHECK(divergence(full, dense, question) < 1e-6);
    CHECK(full.density == doctest::Approx(1));
    CHECK(full.evidence_kept == 1);
  }
  const Reading poor = read(tiny, question, "streaming", few);
  CHECK(poor.density < 1);
  CHECK(divergence(poor, dense, question) > 1e-6);
  CHECK(*poor.evidence_kept < 1);
}

TEST_CASE("layers that stay dense do not count as sparse") {
  const Tiny tiny;
  const Question question = make_question(tiny.tokenizer, task_of(tiny, "needle"));
  const Reading sparse = read(tiny, question, "streaming", few);
  std::set<int> all;
  for (int layer = 0; layer < tiny.model.config().layers; ++layer) all.insert(layer);
  const Reading dense = read(tiny, question, "streaming", few, {.dense_layers = all});
  CHECK(dense.density == 1);
  CHECK(divergence(dense, read_dense(*tiny.runner, question, {.rope_scaling = longer}), question) == 0);
  const Reading mixed = read(tiny, question, "streaming", few, {.dense_layers = {0}});
  const double layers = tiny.model.config().layers;
  CHECK(mixed.density == doctest::Approx((1 + (layers - 1) * sparse.density) / layers).epsilon(0.02));
}
