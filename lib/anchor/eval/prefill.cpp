#include "anchor/eval/prefill.hpp"

#include <algorithm>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/model/dense_attention.hpp"
#include "anchor/plan/listed.hpp"

namespace anchor {
namespace {

Logits logits_before(const LanguageModel& model, std::span<const float> hidden,
                     const std::vector<std::int64_t>& positions) {
  const auto width = static_cast<std::size_t>(model.config().hidden_size);
  std::vector<float> rows;
  for (const std::int64_t position : positions) {
    const auto row = hidden.subspan(static_cast<std::size_t>(position - 1) * width, width);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return {.vocab_size = model.config().vocab_size, .values = model.logits(rows)};
}

void read(const LanguageModel& model, const Question& question, const PrefillOptions& options,
          const AttentionFn& attention, Reading& into) {
  const auto tokens = static_cast<std::int64_t>(question.ids.size());
  const AlignedVector<float> hidden =
      model.forward(question.ids, model.ropes(options.rope_scaling, tokens), {attention, nullptr, nullptr});
  into.answer = logits_before(model, hidden, question.answer);
  into.inner = logits_before(model, hidden, question.inner);
}

/// The attention problem of the first `rows` tokens alone.
struct FirstRows {
  FirstRows(const AttentionInputs& all, std::int64_t rows) : inputs(all.rows(0, rows)) {
    const Geometry& g = all.geometry;
    const std::int64_t from = g.kv_len * g.head_dim, to = rows * g.head_dim;
    keys.resize(static_cast<std::size_t>(g.kv_heads * to));
    values.resize(keys.size());
    for (int head = 0; head < g.kv_heads; ++head) {
      std::copy_n(all.k + head * from, to, keys.begin() + head * to);
      std::copy_n(all.v + head * from, to, values.begin() + head * to);
    }
    inputs.geometry.kv_len = rows;
    inputs.k = keys.data();
    inputs.v = values.data();
  }
  AttentionInputs inputs;
  AlignedVector<float> keys, values;
};

/// How many of the keys a plan keeps for query row i of a head.
std::int64_t kept(const SparsePlan& plan, int head, std::int64_t i, const std::vector<std::int64_t>& keys) {
  const std::int64_t row = plan.row_of(head, i), position = plan.geometry.q_start + i;
  return std::count_if(keys.begin(), keys.end(), [&](std::int64_t key) {
    return lists_key(plan, row, key) && plan.allows(head, position, key);
  });
}

}  // namespace

Reading read_dense(const LanguageModel& model, const Question& question, const PrefillOptions& options) {
  Reading reading;
  read(
      model, question, options, [](int, const AttentionInputs& in) { return dense_attention(in); }, reading);
  return reading;
}

Reading read_sparse(const LanguageModel& model, const Question& question, MethodAttention& attention,
                    const PrefillOptions& options) {
  Reading reading;
  const std::int64_t prompt =
      options.dense_decode ? question.prompt : static_cast<std::int64_t>(question.ids.size());
  std::int64_t dense_pairs = 0, evidence = 0, evidence_kept = 0;
  attention.on_plan([&](int, const SparsePlan& plan) {
    const std::int64_t last = question.prompt - 1 - plan.geometry.q_start;
    if (last < 0 || last >= plan.geometry.q_len) return;
    const std::int64_t first = plan.geometry.first_visible(last);
    const auto visible = std::ranges::count_if(question.evidence, [&](auto key) { return key >= first; });
    for (int head = 0; head < plan.geometry.q_heads; ++head) {
      evidence += visible;
      evidence_kept += kept(plan, head, last, question.evidence);
    }
  });
  const AttentionFn layer_attention = [&](int layer, const AttentionInputs& in) {
    const Geometry& g = in.geometry;
    if (options.dense_layers.contains(layer)) {
      Geometry whole = g;
      whole.q_len = whole.kv_len = prompt;
      dense_pairs += g.q_heads * whole.causal_pairs();
      return dense_attention(in);
    }
    AttentionResult whole;
    whole.out.resize(static_cast<std::size_t>(g.q_heads * g.q_len * g.head_dim));
    whole.lse.resize(static_cast<std::size_t>(g.q_heads * g.q_len));
    const FirstRows first(in, prompt);
    copy_rows(attention.attend(layer, first.inputs), 0, prompt, g, whole);
    if (prompt < g.q_len)
      copy_rows(dense_attention(in.rows(prompt, g.q_len)), prompt, g.q_len - prompt, g, whole);
    return whole;
  };
  read(model, question, options, layer_attention, reading);
  attention.on_plan(nullptr);
  const PlanStats& sparse = attention.stats();
  reading.density = static_cast<double>(dense_pairs + sparse.visible_pairs) /
                    static_cast<double>(dense_pairs + sparse.causal_pairs);
  if (evidence > 0)
    reading.evidence_kept = static_cast<double>(evidence_kept) / static_cast<double>(evidence);
  return reading;
}

}  // namespace anchor
