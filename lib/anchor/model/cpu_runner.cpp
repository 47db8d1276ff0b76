#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/model/dense_attention.hpp"
#include "anchor/model/model_runner.hpp"
#include "anchor/model/row_ops.hpp"
#include "anchor/plan/listed.hpp"

namespace anchor {
namespace {

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
std::int64_t kept(const SparsePlan& plan, int head, std::int64_t i, std::span<const std::int64_t> keys) {
  const std::int64_t row = plan.row_of(head, i), position = plan.geometry.q_start + i;
  return std::ranges::count_if(
      keys, [&](std::int64_t key) { return lists_key(plan, row, key) && plan.allows(head, position, key); });
}

class CpuRunner final : public ModelRunner {
 public:
  explicit CpuRunner(const LanguageModel& model) : model_(model) {}

  const LanguageModel& model() const override { return model_; }
  std::string device() const override { return "cpu"; }
  std::string path() const override { return "cpu"; }

  TextResult run(const TextRun& text) override {
    TextResult result;
    result.evidence_kept.resize(static_cast<std::size_t>(model_.config().layers));
    const AttentionFn attention = [&](int layer, const AttentionInputs& in) {
      const bool planned = text.attention && !text.whole_layers.contains(layer);
      result.planned_layers += planned;
      return planned ? planned_attention(text, layer, in) : dense_attention(in);
    };
    if (text.attention)
      text.attention->on_plan([&](int layer, const SparsePlan& plan) {
        look(text, plan, result.evidence_kept[static_cast<std::size_t>(layer)]);
      });
    const AlignedVector<float> hidden =
        model_.forward(text.tokens, *text.ropes, {attention, nullptr, nullptr});
    if (text.attention) text.attention->on_plan(nullptr);
    const auto width = static_cast<std::size_t>(model_.config().hidden_size);
    std::vector<float> rows;
    for (const std::int64_t row : text.of) {
      const float* from = hidden.data() + static_cast<std::size_t>(row) * width;
      rows.insert(rows.end(), from, from + width);
    }
    result.logits = model_.logits(rows);
    if (!all_finite(result.logits)) fail("{}: the logits are NaN or infinite: they overflow", model_.path());
    return result;
  }

 private:
  static AttentionResult planned_attention(const TextRun& text, int layer, const AttentionInputs& in) {
    const Geometry& g = in.geometry;
    AttentionResult whole;
    whole.out.resize(static_cast<std::size_t>(g.q_heads * g.q_len * g.head_dim));
    whole.lse.resize(static_cast<std::size_t>(g.q_heads * g.q_len));
    const FirstRows first(in, text.prompt);
    copy_rows(text.attention->attend(layer, first.inputs), 0, text.prompt, g, whole);
    if (text.prompt < g.q_len) {
      copy_rows(dense_attention(in.rows(text.prompt, g.q_len)), text.prompt, g.q_len - text.prompt, g, whole);
    }
    return whole;
  }

  static void look(const TextRun& text, const SparsePlan& plan, std::vector<int>& heads) {
    const std::int64_t row = text.evidence_row - plan.geometry.q_start;
    if (row < 0 || row >= plan.geometry.q_len) return;
    if (text.evidence.empty()) return;
    for (int head = 0; head < plan.geometry.q_heads; ++head)
      heads.push_back(static_cast<int>(kept(plan, head, row, text.evidence)));
  }

  const LanguageModel& model_;
};

}  // namespace

std::unique_ptr<ModelRunner> make_cpu_runner(const LanguageModel& model) {
  return std::make_unique<CpuRunner>(model);
}

}  // namespace anchor
