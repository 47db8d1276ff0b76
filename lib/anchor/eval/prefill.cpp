#include "anchor/eval/prefill.hpp"

#include <algorithm>

namespace anchor {
namespace {

Reading read(ModelRunner& runner, const Question& question, MethodAttention* attention,
             const PrefillOptions& options) {
  const auto tokens = static_cast<std::int64_t>(question.ids.size());
  const std::int64_t prompt = options.dense_decode ? question.prompt : tokens;
  const Ropes ropes = runner.model().ropes(options.rope_scaling, tokens);
  std::vector<std::int64_t> before;  // the rows that predict the tokens
  for (const auto* positions : {&question.answer, &question.inner})
    for (const std::int64_t position : *positions) before.push_back(position - 1);
  const TextResult result = runner.run({.tokens = question.ids,
                                        .ropes = &ropes,
                                        .attention = attention,
                                        .prompt = prompt,
                                        .whole_layers = options.dense_layers,
                                        .of = before,
                                        .evidence = question.evidence,
                                        .evidence_row = question.prompt - 1});
  const std::int64_t vocab = runner.model().config().vocab_size;
  const auto border =
      result.logits.begin() + static_cast<std::ptrdiff_t>(vocab) * std::ssize(question.answer);
  Reading reading;
  reading.answer = {vocab, {result.logits.begin(), border}};
  reading.inner = {vocab, {border, result.logits.end()}};
  reading.attention_ms = result.attention_ms;
  const ModelConfig& config = runner.model().config();
  if (attention) {
    std::int64_t dense_pairs = 0;
    for (const int layer : options.dense_layers)
      dense_pairs += config.q_heads * runner.model().geometry(layer, prompt).causal_pairs();
    const PlanStats& sparse = attention->stats();
    reading.density = static_cast<double>(dense_pairs + sparse.visible_pairs) /
                      static_cast<double>(dense_pairs + sparse.causal_pairs);
  }
  if (!attention || question.evidence.empty()) return reading;
  reading.evidence_by_head = {static_cast<int>(question.evidence.size()), result.evidence_kept};
  std::int64_t asked = 0, kept = 0;
  for (std::size_t layer = 0; layer < result.evidence_kept.size(); ++layer) {
    const std::int64_t first =
        runner.model().geometry(static_cast<int>(layer), question.prompt).first_visible(question.prompt - 1);
    const auto seen = std::ranges::count_if(question.evidence, [&](auto key) { return key >= first; });
    for (const int keys : result.evidence_kept[layer]) {
      asked += seen;
      kept += keys;
    }
  }
  if (asked > 0) reading.evidence_kept = static_cast<double>(kept) / static_cast<double>(asked);
  return reading;
}

}  // namespace

Reading read_dense(ModelRunner& runner, const Question& question, const PrefillOptions& options) {
  return read(runner, question, nullptr, options);
}

Reading read_sparse(ModelRunner& runner, const Question& question, MethodAttention& attention,
                    const PrefillOptions& options) {
  return read(runner, question, &attention, options);
}

}  // namespace anchor
