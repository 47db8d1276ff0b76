#include "anchor/eval/prefill.hpp"

namespace anchor {
namespace {

Reading read(ModelRunner& runner, const Question& question, MethodAttention* attention,
             const PrefillOptions& options) {
  const auto tokens = static_cast<std::int64_t>(question.ids.size());
  const Ropes ropes = runner.model().ropes(options.rope_scaling, tokens);
  std::vector<std::int64_t> before;  // the rows that predict the tokens
  for (const auto* positions : {&question.answer, &question.inner})
    for (const std::int64_t position : *positions) before.push_back(position - 1);
  const TextResult result = runner.run({.tokens = question.ids,
                                        .ropes = &ropes,
                                        .attention = attention,
                                        .prompt = options.dense_decode ? question.prompt : tokens,
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
  if (attention) {
    const int layers = runner.model().config().layers;
    const double planned = result.planned_layers * attention->stats().density();
    reading.density = (layers - result.planned_layers + planned) / layers;
  }
  if (attention && !question.evidence.empty())
    reading.evidence_by_head = {static_cast<int>(question.evidence.size()), result.evidence_kept};
  std::int64_t heads = 0, kept = 0;
  for (const std::vector<int>& layer : result.evidence_kept) {
    heads += std::ssize(layer);
    for (const int keys : layer) kept += keys;
  }
  if (heads > 0 && !question.evidence.empty())
    reading.evidence_kept =
        static_cast<double>(kept) / static_cast<double>(heads * std::ssize(question.evidence));
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
